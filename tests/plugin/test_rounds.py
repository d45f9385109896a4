"""Real xdist workers, fake guests: what comes back, whatever happens to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.execution.controller import run_rounds
from runner.execution.orders import Phase, Progress
from runner.model import CellResult, Outcome
from tests import fakes


def run(tmp_path: Path, *behaviours: str, slots: int = 2) -> tuple[list[CellResult], list[Progress]]:
    orders = [fakes.cell_order(behaviour, number=number) for number, behaviour in enumerate(behaviours)]
    results: list[CellResult] = []
    progress: list[Progress] = []
    assert run_rounds(
        fakes.worker_orders(tmp_path, *orders), slots=slots, on_result=results.append, on_progress=progress.append
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


def test_a_killed_worker_costs_one_attempt_of_one_cell(tmp_path: Path) -> None:
    results, _ = run(tmp_path, "fine", "kills-worker-once", "fine", "fine")
    by_id: dict[str, list[CellResult]] = {}
    for result in results:
        by_id.setdefault(result.cell.id, []).append(result)
    assert len(by_id) == 4
    lost, repeated = by_id.pop("6.12.1-x86_64")
    assert (lost.outcome, lost.attempts) == (Outcome.LOST, 1)
    assert "crashed" in lost.cause
    assert set(lost.unasked) == {"claim-0:tc", "claim-1:tc", "claim-2:tc"}
    assert (repeated.outcome, repeated.attempts, len(repeated.observations)) == (Outcome.RAN, 2, 3)
    assert all([result.outcome for result in others] == [Outcome.RAN] for others in by_id.values())


def test_a_cell_that_always_kills_its_worker_is_lost_twice_and_then_left(tmp_path: Path) -> None:
    results, _ = run(tmp_path, "kills-worker", "fine")
    killed = [result for result in results if result.cell.id == "6.12.0-x86_64"]
    assert [(result.outcome, result.attempts) for result in killed] == [(Outcome.LOST, 1), (Outcome.LOST, 2)]


@pytest.mark.parametrize(
    ("behaviour", "outcomes"),
    [
        ("panic-at-boot", [Outcome.BOOT_FAILED, Outcome.BOOT_FAILED]),
        ("no-qemu", [Outcome.INFRA_FAILED, Outcome.INFRA_FAILED]),
        ("no-disk", [Outcome.INFRA_FAILED, Outcome.INFRA_FAILED]),
        ("drops-in-probe", [Outcome.LOST, Outcome.LOST]),
    ],
)
def test_faults_keep_their_names(tmp_path: Path, behaviour: str, outcomes: list[Outcome]) -> None:
    results, _ = run(tmp_path, behaviour, slots=1)
    assert [result.outcome for result in results] == outcomes
    assert all(result.cause for result in results)
