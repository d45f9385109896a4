"""What a run means to a script: the exit status of `runner matrix run` and `runner report`."""

from __future__ import annotations

from runner.model import NO_ANSWER, Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell, JudgedRun

ANSWERED, BROKEN, UNANSWERED = 0, 1, 2


def exit_code(judged: JudgedRun) -> int:
    """0: every cell ran, everything has an answer, and it is the expected one.

    1: an expectation is broken and no known issue explains it, a probe crashed a kernel, a kernel did not boot or
    reported a splat that no known issue allows. This wins over 2: it is wrong, whatever else is not known.
    2: something has no answer: a cell that never finished or was lost, an expectation, a state of which an answer is
    due; a guest that was stuck; also a run or a cell in which nothing was asked.

    A state that is `hidden` is no reason for 2: the kernel did answer, the same words on every run, but with a refusal
    that comes before the one that was asked about. Nor is one that is not due, see Kind.due: nothing is expected there.
    """
    if any(_is_broken(cell) for cell in judged.cells):
        return BROKEN
    if incomplete(judged):
        return UNANSWERED
    return ANSWERED


def incomplete(judged: JudgedRun) -> bool:
    """Has something no answer, whatever else is known to be broken?"""
    return not judged.cells or any(_is_open(cell) for cell in judged.cells)


def _is_broken(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is Outcome.BOOT_FAILED
        or bool(cell.result.crashed)
        or any(row.crashed or (row.verdict is Verdict.BROKEN and not row.known_issue) for row in cell.rows)
        or any(splat.blames_kernel and not splat.known_issue for splat in cell.splats)
    )


def _is_open(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is not Outcome.RAN
        or bool(cell.result.unasked)
        or not cell.rows
        or any(is_open(row) for row in cell.rows)
        or any(not splat.blames_kernel and not splat.known_issue for splat in cell.splats)
    )


def is_open(row: Row) -> bool:
    """Is there no answer where one is due?"""
    if row.verdict is Verdict.NO_ANSWER:
        return True
    return row.state == NO_ANSWER and KINDS[row.kind].is_due(row)
