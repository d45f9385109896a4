"""What a run means to a script: the exit status of `runner matrix run` and `runner report`."""

from __future__ import annotations

from runner.model import Outcome, State, Verdict
from runner.results.model import JudgedCell, JudgedRun

ANSWERED, BROKEN, NO_ANSWER = 0, 1, 2


def exit_code(judged: JudgedRun) -> int:
    """0: every cell ran, everything has an answer, and it is the expected one.

    1: a claim is broken, a probe crashed a kernel, or a kernel did not boot. This wins over 2: it is known to be wrong,
    whatever else is not known.
    2: something has no answer: a cell that never finished or was lost, a claim, a kfunc's state; also a run or a
    cell in which nothing was asked.
    """
    if any(_is_broken(cell) for cell in judged.cells):
        return BROKEN
    if incomplete(judged):
        return NO_ANSWER
    return ANSWERED


def incomplete(judged: JudgedRun) -> bool:
    """Has something no answer, whatever else is known to be broken?"""
    return not judged.cells or any(_is_open(cell) for cell in judged.cells)


def _is_broken(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is Outcome.BOOT_FAILED
        or bool(cell.result.crashed)
        or any(claim.crashed or claim.verdict is Verdict.BROKEN for claim in cell.claims)
    )


def _is_open(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is not Outcome.RAN
        or bool(cell.result.unasked)
        or not (cell.claims or cell.states)
        or any(claim.verdict is Verdict.NO_ANSWER for claim in cell.claims)
        or any(state.state is State.NO_ANSWER for state in cell.states)
    )
