"""A census that takes its guest down costs the kfunc that did it, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.engine.cellrun import run_cell
from runner.engine.orders import CellOrder
from runner.errors import BootError, GuestSilent
from runner.guest.interface import BootOrder, Guest
from runner.model import Ask, CellResult, Outcome, ProgType
from runner.model.deadline import Deadline
from tests import fakes

NAMES = tuple(f"bpf_{n}" for n in range(10))
DEADLY = "bpf_4"
DIED = BootError("the kernel died: Kernel panic", console_tail=fakes.PANIC)
SILENT = GuestSilent("the guest said nothing for 5 s")


@dataclass
class Deadly(fakes.FakeGuest):
    """Its kernel dies, or falls silent, at DEADLY: what was said just before never leaves it."""

    error: BootError | GuestSilent = field(default_factory=lambda: DIED)
    always: bool = True
    deaths: list[str] = field(default_factory=list)

    def lines(self, command: str, *, silence_s: float, deadline: Deadline) -> Iterator[str]:
        yield json.dumps({"event": "hello", "facts": {"release": "6.12.0-amd64"}})
        for ask in self.pushed["asks"]:
            yield json.dumps({"event": "begin", "probe": ask["probe"]})
            yield from self._census(ask) if ask["kind"] == "census" else self._claim(ask)
        yield json.dumps({"event": "end", "asked": len(self.pushed["asks"])})

    def _census(self, ask: dict[str, Any]) -> Iterator[str]:
        about = {"event": "answer", "probe": ask["probe"]}
        for name in (name for name in NAMES if name not in ask["skip"]):
            if ask["careful"]:
                yield json.dumps({"event": "begin", "probe": ask["probe"], "item": name})
            if name == DEADLY and ask["probe"] == "census:tc" and (self.always or not self.deaths):
                self.deaths.append(name)
                raise self.error
            yield json.dumps({**about, "item": name, "body": {"load_errno": 13}})
        yield json.dumps({**about, "body": {"missing": []}})

    def _claim(self, ask: dict[str, Any]) -> Iterator[str]:
        yield json.dumps({"event": "answer", "probe": ask["probe"], "body": {"load_errno": 0}})


def run(folder: Path, error: BootError | GuestSilent, *, always: bool = True) -> CellResult:
    deaths: list[str] = []

    @contextmanager
    def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        yield Deadly("deadly", order.console, error=error, always=always, deaths=deaths)

    census = tuple(Ask(kind="census", probe=f"census:{it}", items=True) for it in (ProgType.TC, ProgType.XDP))
    order = CellOrder(cell=fakes.cell(), asks=(*census, *fakes.asks(2)), modules=())
    return run_cell(order, fakes.EMPTY_TAR, fakes.FakeMachine(boot=boot), folder, lambda phase, note: None)


def asked(result: CellResult, prog_type: ProgType) -> set[str]:
    return {it.kfunc for it in result.census if it.prog_type is prog_type and it.load_errno == 13}


@pytest.mark.parametrize(("error", "crashed"), [(DIED, (f"census:tc:{DEADLY}",)), (SILENT, ())])
def test_only_the_kfunc_that_did_it_has_no_answer(
    tmp_path: Path, error: BootError | GuestSilent, crashed: tuple[str, ...]
) -> None:
    result = run(tmp_path, error)
    assert result.outcome is Outcome.RAN
    assert result.crashed == crashed
    assert asked(result, ProgType.TC) == set(NAMES) - {DEADLY}
    assert asked(result, ProgType.XDP) == set(NAMES)
    assert result.unasked == ()
    assert result.census_ended == {ProgType.TC: "", ProgType.XDP: ""}
    assert len(result.observations) == 2
    failed = [it.failed for it in result.census if it.kfunc == DEADLY and it.prog_type is ProgType.TC]
    assert failed == ([] if crashed else [SILENT.what])


def test_a_death_that_did_not_happen_again_is_still_told(tmp_path: Path) -> None:
    result = run(tmp_path, DIED, always=False)
    assert result.crashed == ("census:tc",)
    assert asked(result, ProgType.TC) == set(NAMES)
    assert result.census_ended[ProgType.TC] == ""
