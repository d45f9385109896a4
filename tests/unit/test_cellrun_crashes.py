# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Who is said to have crashed a kernel: what did it twice, the second time alone. All others keep their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.engine.cellrun import run_cell
from runner.engine.plan import CellOrder
from runner.errors import BootError, GuestSilent
from runner.guest.interface import BootOrder, Guest
from runner.model import Ask, CellResult, Outcome
from runner.model.deadline import Deadline
from tests import fakes

NAMES = tuple(f"bpf_{n}" for n in range(10))
CENSUS = tuple(Ask(kind="census", probe=f"census:{it}", items=True) for it in ("tc", "xdp"))
ASKS = (*CENSUS, *(ask.model_copy(update={"programs": (f"tc_prog_{n}",)}) for n, ask in enumerate(fakes.asks(4))))
DIED = BootError("the kernel died: Kernel panic", console_tail=fakes.PANIC)
SILENT = GuestSilent("the guest sent nothing for 5 s")
OOPS = "[    9.000000] BUG: kernel NULL pointer dereference, address: 0\n[    9.000000] Call Trace:\n"
WARNING = (
    "[    8.000000] WARNING: CPU: 0 PID: 7 at net/core/filter.c:1 f+0x1/0x2\n[    8.000000] ---[ end trace 0 ]---\n"
)
PANIC = "[    9.000000] Kernel panic - not syncing: Fatal exception\n"
TRACE = "[    9.000000]  bpf_prog_0123456789abcdef_tc_prog_0+0x1/0x2\n"
UNPROVEN = "the kernel died: Kernel panic, while this was asked; it did not when this was asked alone"
STALL = "[    8.000000] rcu: INFO: rcu_sched self-detected stall on CPU\n"


@dataclass
class Guests:
    """Boots guests in which `fault(place, boots, asked)` tells what happens at a place: an error, or console text."""

    fault: Callable[[str, int, int], BootError | GuestSilent | str]
    lost: int = 0  # the last lines that never leave the first guest when it dies
    marks: bool = True  # does the console name what begins?
    boots: int = 0
    asked: list[list[str]] = field(default_factory=list)

    @contextmanager
    def boot(self, order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        self.boots += 1
        with order.console.open("a") as file:
            file.write("[    0.000000] Linux version 6.12.0\n")
        yield Scripted("", order.console, guests=self)


@dataclass
class Scripted(fakes.FakeGuest):
    guests: Guests = field(default_factory=lambda: Guests(lambda *_: ""))

    said: list[str] = field(default_factory=list)

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        asks = json.loads(files["asks.json"])["asks"]
        self.said = [json.dumps({"event": "hello", "facts": {"release": "6.12.0-amd64"}})]
        self.guests.asked.append([ask["probe"] for ask in asks])
        try:
            for ask in asks:
                self._begin(ask["probe"], "", len(asks))
                for name in self._items(ask):
                    self._begin(ask["probe"], name, len(asks), aloud=ask["careful"])
                    self._answer(ask["probe"], name)
                self._answer(ask["probe"])
        except (BootError, GuestSilent) as error:
            lost = self.guests.lost if self.guests.boots == 1 else 0
            yield from self.said[: max(0, len(self.said) - lost)]
            if error is DIED:
                self._print(PANIC)
            raise
        yield from self.said
        yield json.dumps({"event": "end", "asked": len(asks)})

    def _items(self, ask: dict[str, Any]) -> tuple[str, ...]:
        names = NAMES if ask["items"] else ()
        return tuple(name for name in names if name not in ask["skip"] and name == (ask["only"] or name))

    def _begin(self, probe: str, item: str, count: int, *, aloud: bool = True) -> None:
        place = f"{probe}:{item}" if item else probe
        if aloud and self.guests.marks:
            self._print(f"[    1.000000] runner: begin {place}\n")
        elif aloud:
            self.said.append(json.dumps({"event": "begin", "probe": probe, "item": item}))
        fault = self.guests.fault(place, self.guests.boots, count)
        if not isinstance(fault, str):
            raise fault
        self._print(fault)

    def _answer(self, probe: str, item: str = "") -> None:
        self.said.append(json.dumps({"event": "answer", "probe": probe, "item": item, "body": {"load_errno": 0}}))

    def _print(self, text: str) -> None:
        with self.console.open("a") as file:
            file.write(text)


def run(folder: Path, guests: Guests) -> CellResult:
    order = CellOrder(cell=fakes.cell(), asks=ASKS, modules=())
    return run_cell(order, {}, fakes.FakeMachine(boot=guests.boot), folder, lambda phase, note: None)


def failed(result: CellResult) -> dict[str, str]:
    return {":".join(filter(None, (it.probe, it.item))): it.failed for it in result.answers if it.failed}


def answered(result: CellResult) -> set[str]:
    return {":".join(filter(None, (it.probe, it.item))) for it in result.answers if not it.failed}


EVERYTHING = {ask.probe for ask in ASKS} | {f"{ask.probe}:{name}" for ask in CENSUS for name in NAMES}


@pytest.mark.parametrize("lost", [0, 1, 3, 99])
def test_what_crashes_the_kernel_twice_is_convicted_whatever_of_its_last_lines_was_lost(
    tmp_path: Path, lost: int
) -> None:
    guests = Guests(lambda place, *_: DIED if place == "claim-2:tc" else "", lost=lost)
    result = run(tmp_path, guests)
    assert result.outcome is Outcome.RAN
    assert result.crashed == ("claim-2:tc",)
    assert (answered(result), failed(result)) == (EVERYTHING - {"claim-2:tc"}, {})
    assert result.splats == (), "its crash tells it"
    assert guests.asked[1] == ["claim-2:tc"], "asked again alone"
    assert (guests.boots, result.unasked) == (3, ())


@pytest.mark.parametrize("lost", [0, 1, 99])
def test_what_was_named_last_is_what_hangs_whatever_lines_were_lost(tmp_path: Path, lost: int) -> None:
    guests = Guests(lambda place, *_: SILENT if place == "claim-2:tc" else "", lost=lost)
    result = run(tmp_path, guests)
    assert (result.outcome, guests.boots) == (Outcome.RAN, 2)
    assert failed(result) == {"claim-2:tc": SILENT.what}
    assert answered(result) == EVERYTHING - {"claim-2:tc"}


def test_without_marks_on_the_console_no_innocent_one_is_convicted(tmp_path: Path) -> None:
    """The last line that arrived is of claim-1; claim-2 did it."""
    guests = Guests(lambda place, *_: DIED if place == "claim-2:tc" else "", lost=2, marks=False)
    result = run(tmp_path, guests)
    assert result.crashed == ("claim-2:tc",)
    assert failed(result) == {"claim-1:tc": UNPROVEN}
    assert answered(result) == EVERYTHING - {"claim-1:tc", "claim-2:tc"}


def test_what_does_not_repeat_alone_has_no_answer_and_its_splat_is_kept(tmp_path: Path) -> None:
    guests = Guests(lambda place, boots, _: DIED if place == "claim-1:tc" and boots == 1 else "")
    result = run(tmp_path, guests)
    assert result.crashed == ()
    assert failed(result) == {"claim-1:tc": UNPROVEN}
    assert answered(result) == EVERYTHING - {"claim-1:tc"}
    assert [(splat.kind, splat.probe) for splat in result.splats] == [("panic", "claim-1:tc")]
    assert "Kernel panic" in result.console


def test_the_program_in_the_trace_is_suspected_first(tmp_path: Path) -> None:
    """The program of claim-0 stays attached, and ends the kernel while claim-1 is asked."""

    def fault(place: str, boots: int, count: int) -> BootError | str:
        if place == "claim-0:tc" and count == 1:
            return DIED
        if place == "claim-1:tc" and boots == 1:
            log.write_text(log.read_text() + OOPS + TRACE)
            return DIED
        return ""

    log = tmp_path / "console.log"
    guests = Guests(fault)
    result = run(tmp_path, guests)
    assert guests.asked[1] == ["claim-0:tc"]
    assert result.crashed == ("claim-0:tc",)
    assert (answered(result), failed(result)) == (EVERYTHING - {"claim-0:tc"}, {})


def test_a_named_program_that_does_nothing_alone_keeps_its_answer(tmp_path: Path) -> None:
    def fault(place: str, boots: int, count: int) -> BootError | str:
        if place == "claim-1:tc" and count > 1:
            log.write_text(log.read_text() + OOPS + TRACE)
            return DIED
        return ""

    log = tmp_path / "console.log"
    result = run(tmp_path, Guests(fault))
    assert result.crashed == ()
    assert failed(result).keys() == {"claim-1:tc"}
    assert answered(result) == EVERYTHING - {"claim-1:tc"}


@pytest.mark.parametrize(("error", "crashed"), [(DIED, ("census:tc:bpf_4",)), (SILENT, ())])
def test_of_a_probe_with_items_only_the_one_that_did_it_has_no_answer(
    tmp_path: Path, error: BootError | GuestSilent, crashed: tuple[str, ...]
) -> None:
    guests = Guests(lambda place, *_: error if place == "census:tc:bpf_4" else "")
    result = run(tmp_path, guests)
    assert result.outcome is Outcome.RAN
    assert result.crashed == crashed
    assert failed(result) == ({} if crashed else {"census:tc:bpf_4": SILENT.what})
    assert answered(result) == EVERYTHING - {"census:tc:bpf_4"}
    assert result.unasked == ()


def test_a_death_that_no_item_repeats_is_a_splat(tmp_path: Path) -> None:
    guests = Guests(lambda place, boots, _: DIED if place == "census:tc:bpf_4" and boots == 1 else "")
    result = run(tmp_path, guests)
    assert result.crashed == ()
    assert (answered(result), failed(result)) == (EVERYTHING, {})
    assert [(splat.kind, splat.probe) for splat in result.splats] == [("panic", "census:tc")]


def test_what_the_kernel_reports_is_kept_with_the_probe_in_flight(tmp_path: Path) -> None:
    guests = Guests(lambda place, *_: WARNING if place == "claim-1:tc" else "")
    result = run(tmp_path, guests)
    assert [(splat.kind, splat.probe) for splat in result.splats] == [("WARNING", "claim-1:tc")]
    assert (answered(result), guests.boots) == (EVERYTHING, 1)


def test_an_answer_of_a_kernel_that_is_stuck_does_not_count(tmp_path: Path) -> None:
    guests = Guests(lambda place, *_: STALL if place == "claim-1:tc" else "")
    result = run(tmp_path, guests)
    assert failed(result) == {"claim-1:tc": "the kernel hangs: rcu: INFO: rcu_sched self-detected stall on CPU"}
    assert [(splat.kind, splat.probe) for splat in result.splats] == [("stuck", "claim-1:tc")]
    assert answered(result) == EVERYTHING - {"claim-1:tc"}


def test_of_what_is_asked_item_by_item_the_answers_count_when_the_time_is_over(tmp_path: Path) -> None:
    cell = fakes.cell()
    cell = cell.model_copy(update={"limits": cell.limits.model_copy(update={"cell_s": 0.05})})

    def slow(place: str, *_: int) -> GuestSilent | str:
        time.sleep(0.02)
        return SILENT if place == "census:tc:bpf_5" else ""

    def ran(*, careful: bool) -> CellResult:
        asks = tuple(ask.model_copy(update={"careful": careful}) for ask in CENSUS)
        machine = fakes.FakeMachine(boot=Guests(slow).boot)
        return run_cell(CellOrder(cell=cell, asks=asks, modules=()), {}, machine, tmp_path, lambda phase, note: None)

    result = ran(careful=True)
    assert (result.outcome, result.cause) == (Outcome.RAN, "its 0.05 s were over (limits: cell_s)")
    assert answered(result) == {f"census:tc:bpf_{n}" for n in range(5)}
    assert ran(careful=False).outcome is Outcome.LOST
