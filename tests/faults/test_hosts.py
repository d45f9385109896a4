"""What can happen to workers, with real xdist workers; guests are fakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.execution import watchdog
from runner.execution.controller import run_rounds
from runner.execution.fleet import this_machine_alone
from runner.execution.orders import Phase
from runner.execution.watchdog import Watchdog
from runner.model import CellResult, Limits, Outcome
from tests.faults.leftovers import Place, nothing_left
from tests.faults.project import cells, orders

RAN, LOST, INFRA, DEAD = Outcome.RAN, Outcome.LOST, Outcome.INFRA_FAILED, Outcome.BOOT_FAILED
# what a cell does -> how its attempts end, and a word of the cause of the last one that failed
TABLE: dict[str, tuple[list[Outcome], str]] = {
    "fine": ([RAN], ""),
    "kills-worker-once": ([LOST, RAN], "crashed"),
    "kills-worker": ([LOST, LOST], "crashed"),
    "stops-worker-once": ([LOST, RAN], "nothing was heard of it within cell_s"),
    "full-disk": ([INFRA, INFRA], "No space left on device"),
    "broken-disk": ([INFRA, INFRA], "Input/output error"),
    "boot-silent": ([INFRA, INFRA], "the console stayed empty"),
    "drops": ([LOST, LOST], "the ssh connection broke"),
    "drops-once": ([LOST, RAN], "the ssh connection broke"),
    "boot-panics": ([DEAD, DEAD], "Kernel panic"),
    "ends-early-once": ([INFRA, RAN], "the agent ended too early"),
    "nonsense": ([RAN], ""),
}


def test_every_cell_ends_as_it_must_beside_all_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "GRACE_S", 0.5)
    wanted = cells(list(TABLE), Limits(cell_s=4))
    results: list[CellResult] = []
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        assert run_rounds(
            orders(wanted, tmp_path), fleet=this_machine_alone(2), on_result=results.append, on_progress=lambda _: None
        )
    for cell in wanted:
        outcomes, word = TABLE[cell.name]
        mine = [result for result in results if result.cell.id == cell.id]
        assert [result.outcome for result in mine] == outcomes, (cell.name, [result.cause for result in mine])
        assert [result.attempts for result in mine] == list(range(1, len(outcomes) + 1))
        assert word in next((result.cause for result in reversed(mine) if result.outcome is not RAN), "")
        if outcomes[-1] is RAN:
            assert len(mine[-1].observations) == 6
            assert mine[-1].unasked == ()


def test_whoever_takes_the_results_fails_and_that_ends_the_run_in_its_own_words(tmp_path: Path) -> None:
    def keep(result: CellResult) -> None:
        raise InfraError("results.db: database or disk is full", hint="is the disk full?")

    wanted = cells(["fine"] * 3)
    with (
        nothing_left(Place(tmp_path, tmp_path / "scratch")),
        pytest.raises(InfraError, match=r"^results.db: database or disk is full\n  is the disk full\?$"),
    ):
        run_rounds(orders(wanted, tmp_path), fleet=this_machine_alone(1), on_result=keep, on_progress=lambda _: None)


def test_the_watchdog_knows_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "GRACE_S", 5.0)
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    killed: list[str] = []
    dog = Watchdog()
    (cell,) = cells(["fine"], Limits(prepare_s=50, cell_s=20, start_s=10))
    dog.starting("gw0", cell.limits, lambda: killed.append("gw0"))
    dog.starting("gw1", cell.limits, lambda: killed.append("gw1"))
    dog.done("gw1")
    dog.entered(cell, Phase.PREPARING, lambda: killed.append("while preparing"))
    now = 111.0
    dog.look()
    assert killed == ["gw0"]
    now = 150.0
    dog.look()
    dog.entered(cell, Phase.BOOTING, lambda: killed.append("while asking"))
    now = 165.0
    dog.entered(cell, Phase.BOOTING, lambda: killed.append("a second boot has no time of its own"))
    now = 176.0
    dog.look()
    assert killed == ["gw0", "while asking"]
    assert "cell_s and 5 s: in all of 25 s" in dog.overdue[cell.id]
