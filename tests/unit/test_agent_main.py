"""The agent's protocol: a probe that goes wrong is that probe's failure alone."""

from __future__ import annotations

import json
import sys

import pytest

from runner.agent.__main__ import LOG_CHARS, Agent, bounded, say
from runner.agent.census import program
from runner.agent.kernelbtf import Kfunc
from runner.agent.libbpf import PACKET, errno_name, instruction
from runner.engine.transcript import Transcript
from runner.model import CensusAsk, ClaimAsk, ProgType
from runner.model.errnos import errno_name as host_errno_name

CLAIM = ClaimAsk(probe="a:tc", object="o", program="tc_p", prog_type=ProgType.TC)
OTHER = ClaimAsk(probe="b:tc", object="o", program="tc_p", prog_type=ProgType.TC)
CENSUS = CensusAsk(probe="census:tc", prog_type=ProgType.TC, kfuncs=("f", "g"))


class FakeAgent(Agent):
    """Answers OTHER only."""

    def __init__(self) -> None:
        pass

    def claim(self, ask):  # type: ignore[no-untyped-def]
        if ask["probe"] != OTHER.probe:
            raise KeyError("a bug, in one probe: \N{SNOWMAN}")
        return {"load_errno": 0, "log": "", "run_errno": 0, "retval": 0, "fields": {"error": -22}}

    def census(self, ask):  # type: ignore[no-untyped-def]
        raise OSError("no BTF")


def test_failures_stay_with_their_probe(capsys: pytest.CaptureFixture[str]) -> None:
    asks = (CLAIM, CENSUS, OTHER)
    agent = FakeAgent()
    for ask in asks:
        agent.ask(ask.model_dump(mode="json"))  # type: ignore[arg-type]
    output = capsys.readouterr().out
    assert output.isascii()
    transcript = Transcript(asks)
    for line in output.splitlines():
        transcript.feed(line)
    assert transcript.noise == []
    assert transcript.unanswered(asks) == ()
    assert "a bug, in one probe: \N{SNOWMAN}" in transcript.observations["a:tc"].failed
    assert transcript.observations["b:tc"].fields == {"error": -22}
    assert transcript.observations["b:tc"].failed == ""
    assert transcript.done == {"census:tc": "OSError: no BTF"}


def test_a_probe_is_named_before_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    FakeAgent().ask(OTHER.model_dump(mode="json"))  # type: ignore[arg-type]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["probe"]) for event in events] == [("ask", "b:tc"), ("observation", "b:tc")]


def test_events_are_flushed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only in a buffer when the kernel dies was never said."""
    calls: list[str] = []

    class Out:
        def write(self, text: str) -> None:
            calls.append(text)

        def flush(self) -> None:
            calls.append("flush")

    monkeypatch.setattr(sys, "stdout", Out())
    say("ask", {"probe": "a:tc"})
    assert calls == ['{"event": "ask", "probe": "a:tc"}\n', "flush"]


def test_logs_keep_both_ends() -> None:
    assert bounded("short") == "short"
    long = "first line\n" + "x" * 10 * LOG_CHARS + "\nlast line"
    assert bounded(long).startswith("first line")
    assert bounded(long).endswith("last line")
    assert len(bounded(long)) < LOG_CHARS + 100


def test_the_census_program() -> None:
    """r2 to r5 = 0, call, r0 = 0, exit; a module's function by way of fd_array[1], vmlinux's without."""
    module, vmlinux = program(Kfunc("f", "nf_nat", 7, 5)), program(Kfunc("f", "vmlinux", 7, 0))
    assert len(module) == 7 * 8
    assert module[32:40] == instruction(0x85, 0, 2, 1, 7)
    assert vmlinux[32:40] == instruction(0x85, 0, 2, 0, 7)
    assert module[40:48] == instruction(0xB7, 0, 0, 0, 0)
    assert module[48:56] == instruction(0x95, 0, 0, 0, 0)


def test_the_packet_suits_every_kernel() -> None:
    """Some stable kernels refuse IPv4 frames shorter than 34 bytes."""
    assert len(PACKET) == 64
    assert PACKET[12:14] == b"\x08\x00"
    assert PACKET[14] == 0x45


@pytest.mark.parametrize(("number", "name"), [(22, "EINVAL"), (524, "ENOTSUPP"), (64, "ENONET"), (9999, "9999")])
def test_errno_names(number: int, name: str) -> None:
    assert errno_name(number) == name == host_errno_name(number)
