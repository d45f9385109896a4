"""Real xdist workers, fake guests: what comes back when nothing happens to them. tests/faults has the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from runner.engine.controller import run_rounds
from runner.engine.fleet import this_machine_alone
from runner.engine.orders import Phase, Progress
from runner.model import CellResult, Outcome
from tests import fakes


def run(tmp_path: Path, *behaviours: str, slots: int = 2) -> tuple[list[CellResult], list[Progress]]:
    orders = [fakes.cell_order(behaviour, number=number) for number, behaviour in enumerate(behaviours)]
    results: list[CellResult] = []
    progress: list[Progress] = []
    assert run_rounds(
        fakes.worker_orders(tmp_path, *orders),
        fleet=this_machine_alone(slots),
        on_result=results.append,
        on_progress=progress.append,
    )
    return results, progress


def test_every_cell_comes_back_with_all_its_answers(tmp_path: Path) -> None:
    results, progress = run(tmp_path, *["fine"] * 6)
    assert sorted(result.cell.id for result in results) == [f"6.12.{n}-x86_64" for n in range(6)]
    assert {result.outcome for result in results} == {Outcome.RAN}
    assert all(len(result.observations) == 3 and not result.unasked for result in results)
    assert all("Linux version" in result.console for result in results)
    assert Counter(event.phase for event in progress) == {
        Phase.PREPARING: 6,
        Phase.BOOTING: 6,
        Phase.PROBING: 6,
        Phase.DONE: 6,
    }
