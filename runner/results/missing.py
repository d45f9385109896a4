"""What a run still lacks: the cells that `runner matrix run --resume` boots. Pure."""

from __future__ import annotations

from runner.model import Cell, Outcome
from runner.results.model import Run

# a busy host can make a boot fail: a kernel is blamed for the second one, so a first one alone is not yet an answer
_BOOTS_THAT_COUNT = 2


def missing_cells(run: Run) -> tuple[Cell, ...]:
    """Those without a result, those that the machine failed, and those whose boot failed and was not repeated."""
    return tuple(cell for cell in run.cells if _is_missing(run, cell))


def _is_missing(run: Run, cell: Cell) -> bool:
    attempts = run.attempts(cell.id)
    if not attempts or attempts[-1].outcome in {Outcome.LOST, Outcome.INFRA_FAILED}:
        return True
    return attempts[-1].outcome is Outcome.BOOT_FAILED and len(attempts) < _BOOTS_THAT_COUNT
