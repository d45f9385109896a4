"""How the agent takes a census: batches, care, and asking again; the kernel behind it is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from runner.agent import __main__ as main
from runner.agent import census
from runner.agent.census import Census, program, with_map
from runner.agent.kernelbtf import Kfunc
from runner.agent.libbpf import LoadOpts, instruction
from runner.agent.progtypes import PROG_TYPES
from runner.engine.transcript import Transcript
from runner.model import CensusAsk, ProgType

NAMES = [f"bpf_{n:03}" for n in range(100)]
ASK = CensusAsk(probe="census:tc", prog_type=ProgType.TC, kfuncs=("bpf_gone", *NAMES))
REFUSED = "calling kernel function is not allowed\n"


class FakeCensus(Census):
    """Every kfunc is refused; `untestable` as told."""

    def __init__(self, why: str = "") -> None:
        self.kfuncs = {name: Kfunc(name, "vmlinux", 1, 0, ("bpf_kfunc",)) for name in NAMES}
        self.missing = ["bpf_gone"]
        self._why = why

    def untestable(self, prog_type: str) -> str:
        return self._why

    def ask(self, kfunc: Kfunc, prog_type: str) -> dict[str, object]:
        return {"kfunc": kfunc.name, "load_errno": 13, "log": REFUSED}


class FakeAgent(main.Agent):
    def __init__(self, fake: FakeCensus) -> None:
        self._census = None
        self._fake = fake

    def _ready_census(self, names: list[str]) -> Census:
        if self._census is None:
            self._census = self._fake
            told = [{"kfunc": name, "object": "vmlinux", "tags": ["bpf_kfunc"]} for name in self._fake.kfuncs]
            main.say("kfuncs", {"kfuncs": told, "missing": self._fake.missing})
        return self._census


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "DELIVERY_S", 0)


def said(capsys: pytest.CaptureFixture[str], ask: CensusAsk, why: str = "") -> list[str]:
    FakeAgent(FakeCensus(why)).ask(ask.model_dump(mode="json"))  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_a_census_in_batches(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, ASK)
    assert [json.loads(line)["event"] for line in lines] == ["ask", "kfuncs", "census", "census", "census", "done"]
    transcript = Transcript((ASK,))
    for line in lines:
        transcript.feed(line)
    assert transcript.noise == []
    assert transcript.unanswered((ASK,)) == ()
    assert [name for name, _ in transcript.census] == NAMES
    first = transcript.census["bpf_000", "tc"]
    assert (first.object, first.load_errno, first.log, first.tags) == ("vmlinux", 13, REFUSED, ("bpf_kfunc",))
    assert transcript.missing == ("bpf_gone",)


def test_a_careful_census_names_each_before_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    careful = ASK.model_copy(update={"careful": True, "skip": tuple(NAMES[:97])})
    events = [json.loads(line) for line in said(capsys, careful)]
    asked = [event.get("kfunc") or [it["kfunc"] for it in event["answers"]] for event in events[2:-1]]
    assert asked == ["bpf_097", ["bpf_097"], "bpf_098", ["bpf_098"], "bpf_099", ["bpf_099"], []]


def test_a_type_of_which_nothing_loads_has_no_answers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, ASK, "the kernel does not know this program type")
    assert json.loads(lines[-1])["failed"] == "the kernel does not know this program type"
    assert not any('"census"' in line for line in lines)


class Kernel:
    """Answers loads from a list: (errno, log)."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers: Iterator[tuple[int, str]] = iter(answers)
        self.loads: list[tuple[int, int, bytes]] = []  # flags, ifindex, instructions

    def prog_load_logged(self, number: int, insns: bytes, opts: LoadOpts) -> tuple[int, int, str]:
        self.loads.append((opts.prog_flags, opts.prog_ifindex, insns))
        refused, log = next(self.answers)
        return -1, refused, log

    def map_create(self, *arguments: int) -> int:
        return 9


class Asking(Census):
    def __init__(self, kernel: Kernel) -> None:
        self._libbpf = kernel  # type: ignore[assignment]
        self._arena = None
        self._opts = {"xdp": LoadOpts()}


KFUNC = Kfunc("bpf_x", "vmlinux", 7, 0)
METADATA = "metadata kfuncs require device-bound program\n"


def test_asked_again_as_a_device_bound_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "devices", lambda: [("dummy0", 2), ("eth0", 3), ("eth1", 4)])
    kernel = Kernel((22, METADATA), (95, ""), (13, "Possibly NULL pointer"))
    answer = Asking(kernel).ask(KFUNC, "xdp")
    assert [(flags, index) for flags, index, _ in kernel.loads] == [(0, 0), (64, 2), (64, 3)]
    assert (answer["load_errno"], answer["log"]) == (22, METADATA)
    assert (answer["again"], answer["again_errno"], answer["again_log"]) == (
        "bound to eth0",
        13,
        "Possibly NULL pointer",
    )


def test_without_a_device_there_is_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "devices", list)
    answer = Asking(Kernel((22, METADATA))).ask(KFUNC, "xdp")
    assert "again" not in answer


def test_asked_again_with_an_arena() -> None:
    kernel = Kernel((22, "R1 arena pointer requires a program with an associated arena\n"), (13, REFUSED))
    answer = Asking(kernel).ask(KFUNC, "xdp")
    assert (answer["again"], answer["again_errno"], answer["again_log"]) == ("with an arena", 13, REFUSED)
    assert kernel.loads[1][2] == with_map(9, program(KFUNC))
    assert kernel.loads[1][2].startswith(instruction(0x18, 0, 1, 0, 9) + bytes(8))


def test_every_program_type_of_the_host_is_known() -> None:
    assert set(PROG_TYPES) == {str(prog_type) for prog_type in ProgType}
    assert len({it.number for it in PROG_TYPES.values()}) == len(PROG_TYPES)


def test_load_opts_are_not_shared() -> None:
    asking = Asking(Kernel())
    asking._load_opts("xdp").prog_ifindex = 5
    assert asking._load_opts("xdp").prog_ifindex == 0
