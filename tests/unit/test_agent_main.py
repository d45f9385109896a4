# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The agent's protocol: a probe that goes wrong is that probe's failure alone."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.agent import NoAnswer, bounded
from runner.agent import __main__ as main
from runner.agent.__main__ import Agent
from runner.agent.guest import KernelLog
from runner.agent.libbpf import PACKET, errno_name
from runner.engine.transcript import ProbeItem, Transcript
from runner.guest.splats import ConsoleParser
from runner.model import Ask, Trace
from runner.model.words import errno_name as host_errno_name

ASKS = tuple(Ask(kind=kind, probe=f"{kind}:tc") for kind in ("failing", "lacking", "working"))
ITEMS = Ask(kind="listing", probe="listing:tc", items=True)
NAMES = [f"bpf_{n:03}" for n in range(100)]


class Fake:
    """A prober of some kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def ask(self, body: dict[str, Any]) -> Any:
        match self.kind:
            case "failing":
                raise KeyError("a bug, in one probe: \N{SNOWMAN}")
            case "lacking":
                raise NoAnswer("the kernel does not know this")
            case "listing":
                return self._items()
        return {"load_errno": 0}

    def _items(self) -> Generator[Any, None, dict[str, Any]]:
        for name in NAMES:
            yield name, lambda name=name: {"name": name, "long": 1 // (name != "bpf_098")}
        return {"missing": ["bpf_gone"]}


def said(capsys: pytest.CaptureFixture[str], *asks: Ask) -> list[dict[str, Any]]:
    agent = Agent(Fake)
    for ask in asks:
        agent.ask(ask.model_dump(mode="json"))  # type: ignore[arg-type]
    output = capsys.readouterr().out
    assert output.isascii()
    return [json.loads(line) for line in output.splitlines()]


def test_failures_stay_with_their_probe(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = Transcript((*ASKS, ITEMS))
    for event in said(capsys, *ASKS, ITEMS):
        transcript.feed(json.dumps(event))
    assert transcript.noise == []
    assert transcript.unanswered(transcript.asks) == ()
    failed, lacking, worked = (transcript.answers[ProbeItem(ask.probe)] for ask in ASKS)
    assert failed.failed == "KeyError: 'a bug, in one probe: \N{SNOWMAN}'"
    assert lacking.failed == "the kernel does not know this"
    assert (worked.failed, worked.body) == ("", {"load_errno": 0})
    items = {answer.item: answer for answer in transcript.answers.values() if answer.probe == ITEMS.probe}
    assert list(items) == [*NAMES, ""]
    assert [name for name, answer in items.items() if answer.failed] == ["bpf_098"]
    assert items[""].body == {"missing": ["bpf_gone"]}


def test_a_probe_is_named_before_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    events = said(capsys, ASKS[2])
    assert [(event["event"], event["probe"]) for event in events] == [("begin", "working:tc"), ("answer", "working:tc")]


def test_a_careful_ask_names_each_item_before_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    careful = ITEMS.model_copy(update={"careful": True, "skip": tuple(NAMES[:98])})
    events = [(event["event"], event.get("item")) for event in said(capsys, careful)]
    each = [(event, name) for name in NAMES[98:] for event in ("begin", "answer")]
    assert events == [("begin", ""), *each, ("answer", None)]


def test_an_item_alone(capsys: pytest.CaptureFixture[str]) -> None:
    alone = ITEMS.model_copy(update={"careful": True, "only": "bpf_007"})
    assert [event.get("item") for event in said(capsys, alone)] == ["", "bpf_007", "bpf_007", None]


def test_what_begins_is_on_the_console_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = tmp_path / "kmsg"
    kmsg = os.open(console, os.O_WRONLY | os.O_CREAT)
    Agent(Fake, kmsg=kmsg).ask(ITEMS.model_copy(update={"careful": True, "only": "bpf_007"}).model_dump(mode="json"))  # type: ignore[arg-type]
    os.close(kmsg)
    lines = console.read_text().splitlines()
    assert lines == ["<9>runner: begin listing:tc", "<9>runner: begin listing:tc:bpf_007"]
    parser = ConsoleParser()
    for line in lines:
        parser.feed(f"[    1.500000] {line.removeprefix('<9>')}\n")
    assert parser.begun == "listing:tc:bpf_007"


class Out:
    """In place of the output."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def write(self, text: str) -> None:
        self.calls.append(text)

    def flush(self) -> None:
        self.calls.append("flush")


def test_what_the_console_names_needs_no_line_and_answers_leave_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(main, "BATCH_S", 1000)
    kmsg = os.open(tmp_path / "kmsg", os.O_WRONLY | os.O_CREAT)
    agent = Agent(Fake, kmsg=kmsg)
    for ask in ASKS:
        agent.ask(ask.model_dump(mode="json"))  # type: ignore[arg-type]
    assert out.calls == []
    agent.say("end", {"asked": len(ASKS)})
    os.close(kmsg)
    said = [json.loads(line) for line in out.calls[0].splitlines()]
    assert [event["event"] for event in said] == [*["answer"] * len(ASKS), "end"]
    assert (tmp_path / "kmsg").read_text().count("begin") == len(ASKS)


def test_answers_do_not_wait_longer_than_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    kmsg = os.open(tmp_path / "kmsg", os.O_WRONLY | os.O_CREAT)
    agent = Agent(Fake, kmsg=kmsg)
    agent.ask(ASKS[0].model_dump(mode="json"))  # type: ignore[arg-type]
    time.sleep(main.BATCH_S)
    agent.ask(ASKS[1].model_dump(mode="json"))  # type: ignore[arg-type]
    os.close(kmsg)
    assert [text.count("\n") for text in out.calls if text != "flush"] == [2]


def test_events_are_flushed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only in a buffer when the kernel dies was never said."""
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    Agent(Fake).say("begin", {"probe": "a:tc"})
    assert out.calls == ['{"event": "begin", "probe": "a:tc"}\n', "flush"]


def test_the_answers_of_items_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    Agent(Fake).ask(ITEMS.model_dump(mode="json"))  # type: ignore[arg-type]
    assert [text.count("\n") for text in out.calls if text != "flush"] == [1, main.BATCH, main.BATCH, 5]


LIMIT = 1000


def test_logs_keep_both_ends() -> None:
    assert bounded("short") == "short"
    long = "first line\n" + "x" * 10 * LIMIT + "\nlast line"
    assert bounded(long, LIMIT).startswith("first line")
    assert bounded(long, LIMIT).endswith("last line")
    assert len(bounded(long, LIMIT)) < LIMIT + 100


def test_the_packet_suits_every_kernel() -> None:
    """Some stable kernels refuse IPv4 frames shorter than 34 bytes."""
    assert len(PACKET) == 64
    assert PACKET[12:14] == b"\x08\x00"
    assert PACKET[14] == 0x45


@pytest.mark.parametrize(("number", "name"), [(22, "EINVAL"), (524, "ENOTSUPP"), (64, "ENONET"), (9999, "9999")])
def test_errno_names(number: int, name: str) -> None:
    assert errno_name(number) == name == host_errno_name(number)


def test_only_the_words_of_a_record_of_the_kernels_log_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.touch()
    listening = KernelLog(str(path))
    path.write_text("4,900,123456,-;eth0: renamed; twice\n SUBSYSTEM=net\n")
    assert listening.lines() == ["eth0: renamed; twice"]


def test_a_trace_follows_the_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Traced(Fake):
        def trace(self, body: dict[str, Any]) -> dict[str, Any]:
            return {"log": "0: R1=ctx()\n"}

    monkeypatch.setattr(main, "KernelLog", lambda: SimpleNamespace(lines=lambda: ["eth0: renamed"]))
    agent, transcript = Agent(Traced, trace=True), Transcript(ASKS)
    for ask in ASKS:
        agent.ask(ask.model_dump(mode="json"))  # type: ignore[arg-type]
    for line in capsys.readouterr().out.splitlines():
        transcript.feed(line)
    assert transcript.noise == []
    assert transcript.traces["working:tc"] == Trace(probe="working:tc", log="0: R1=ctx()\n", kernel=("eth0: renamed",))
    assert transcript.unanswered(ASKS) == ()
