"""What a run means to a script: the exit status of `runner matrix run` and `runner report`."""

from __future__ import annotations

from runner.model import NETWORK_TYPES, KfuncState, Outcome, State, Verdict
from runner.results.model import JudgedCell, JudgedRun

ANSWERED, BROKEN, NO_ANSWER = 0, 1, 2


def exit_code(judged: JudgedRun) -> int:
    """0: every cell ran, everything has an answer, and it is the expected one.

    1: a claim is broken and no known issue explains it, a probe crashed a kernel, or a kernel did not boot. This wins
    over 2: it is known to be wrong, whatever else is not known.
    2: something has no answer: a cell that never finished or was lost, a claim, a kfunc's state; also a run or a
    cell in which nothing was asked.

    A state that is `hidden` is no reason for 2: the kernel did answer, the same words on every run, but with a refusal
    that comes before the one that was asked about. Nothing that the user or the runner can repair is missing.
    Nor are the states of program types besides TC and XDP: no claim is about those, and some kernels lack some of them.
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
        or any(claim.crashed or (claim.verdict is Verdict.BROKEN and not claim.known_issue) for claim in cell.claims)
    )


def _is_open(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is not Outcome.RAN
        or bool(cell.result.unasked)
        or not (cell.claims or cell.states)
        or any(claim.verdict is Verdict.NO_ANSWER for claim in cell.claims)
        or any(is_open(state) for state in cell.states)
    )


def is_open(state: KfuncState) -> bool:
    """Is there no answer where there could be one?"""
    return state.state is State.NO_ANSWER and not state.hidden and state.prog_type in NETWORK_TYPES
