"""Real xdist workers, fake guests that stay open."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.controller import run_rounds
from runner.engine.fleet import this_machine_alone
from runner.engine.orders import WayIn
from runner.model import CellResult, Outcome
from tests import fakes


@dataclass
class Keeper:
    """Keeps the first guest until `until` results are there; then calls `then` with what lets it go."""

    folder: Path
    until: int
    then: Callable[[Callable[[], None]], None]
    results: list[CellResult] = field(default_factory=list)
    seen: list[tuple[str, WayIn | None]] = field(default_factory=list)
    release: Callable[[], None] | None = None
    open_meanwhile: bool = False

    def run(self, *behaviours: str, slots: int) -> bool:
        orders = [fakes.cell_order(behaviour, number=number) for number, behaviour in enumerate(behaviours)]
        return run_rounds(
            fakes.worker_orders(self.folder, *orders),
            fleet=this_machine_alone(slots),
            on_result=self.results.append,
            on_progress=lambda _: None,
            on_guest=self,
        )

    def __call__(self, result: CellResult, way_in: WayIn | None, release: Callable[[], None]) -> None:
        self.seen.append((result.cell.id, way_in))
        if self.release is None:
            self.release = release
        else:
            release()
        if len(self.seen) == self.until:
            self.open_meanwhile = not self.ended(self.seen[0][0])
            self.then(self.release)

    def ended(self, cell_id: str) -> bool:
        return (self.folder / cell_id / "console.log").read_text().endswith(fakes.ENDED)


def test_a_guest_stays_while_the_others_are_asked(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, 4, lambda release: release())
    assert keeper.run(*["fine"] * 4, slots=2)
    assert keeper.open_meanwhile
    assert {way_in for _, way_in in keeper.seen} == {WayIn(ssh=("ssh", "fake"))}
    assert {(one.outcome, one.attempts, len(one.observations)) for one in keeper.results} == {(Outcome.RAN, 1, 3)}
    assert len(keeper.results) == 4
    assert all(keeper.ended(cell_id) for cell_id, _ in keeper.seen)


def test_where_no_guest_lives_there_is_none_to_keep(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, 3, lambda release: release())
    assert keeper.run("panic-at-boot", "ends-early", slots=1)
    assert [way_in for _, way_in in keeper.seen] == [None] * 4  # both were tried twice


def test_a_guest_of_which_a_probe_brought_down_the_first_boot_is_the_second(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, 1, lambda release: release())
    assert keeper.run("dies-in-probe", slots=1)
    ((_, way_in),) = keeper.seen
    assert way_in
    assert keeper.results[0].crashed == ("claim-1:tc",)


def test_an_interrupt_ends_what_is_kept_and_is_one_only_where_something_is_missing(tmp_path: Path) -> None:
    def interrupt(_: Callable[[], None]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    done = Keeper(tmp_path / "done", 1, interrupt)
    assert done.run("fine", slots=1)
    assert done.ended(done.seen[0][0])
    half = Keeper(tmp_path / "half", 1, interrupt)
    assert not half.run("fine", "fine", slots=1)
    assert half.ended(half.seen[0][0])
    assert len(half.results) == 1
