"""A run as test systems see it: a suite per cell, a case per probe, each passed, failed, skipped or in error.

An error is the absence of an answer. Failures and errors are there exactly when the exit status of the run is 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from runner.model import ClaimVerdict, Outcome, Verdict
from runner.reports.exitcode import is_open
from runner.reports.findings import show_command
from runner.results.model import JudgedCell, JudgedRun
from runner.text import lines, plain

_LOG_LINES = 40  # of a load, kept with a case that failed; the whole is in the store
_NAMED = 12  # kfuncs without an answer, by name
_CAUSE_WIDTH = 400


class Status(StrEnum):
    PASS = "pass"  # noqa: S105  a verdict, not a secret
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


_STATUS = {
    Verdict.HOLDS: Status.PASS,
    Verdict.BROKEN: Status.FAIL,
    Verdict.NOT_APPLICABLE: Status.SKIP,
    Verdict.NO_ANSWER: Status.ERROR,
}
_OUTCOME = {Outcome.RAN: Status.PASS, Outcome.BOOT_FAILED: Status.FAIL}  # any other: Status.ERROR


@dataclass(frozen=True, slots=True)
class Case:
    """All texts are plain; `why` is one line, empty when the case passed; `details` are lines."""

    group: str  # the kfunc that it is about, or `cell`
    name: str
    status: Status
    why: str = ""
    details: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    cell: JudgedCell
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        return self.cell.id

    @property
    def passed(self) -> bool:
        return all(case.status in (Status.PASS, Status.SKIP) for case in self.cases)


def suites(judged: JudgedRun) -> tuple[Suite, ...]:
    """In the order of the matrix; every cell that was to run is one, and none is empty."""
    return tuple(
        Suite(cell, (_boot(cell), *_claims(cell, judged.run.id), *_other_probes(cell), _census(cell)))
        for cell in judged.cells
    )


def _boot(cell: JudgedCell) -> Case:
    result = cell.result
    status = _OUTCOME.get(result.outcome, Status.ERROR)
    why = "" if status is Status.PASS else f"{result.outcome}: {plain(result.cause, _CAUSE_WIDTH)}"
    tail = () if status is Status.PASS else _tail(result.console)
    return Case("cell", "boot", status, why, tail, result.timings.boot_s)


def _claims(cell: JudgedCell, run_id: str) -> Iterator[Case]:
    logs = {seen.probe: seen.log for seen in cell.result.observations}
    for claim in cell.claims:
        status = Status.FAIL if claim.crashed else Status.SKIP if claim.known_issue else _STATUS[claim.verdict]
        details: tuple[str, ...] = ()
        if status in (Status.FAIL, Status.ERROR):
            command = show_command(cell.id, claim.probe, run_id)
            details = (*_said(claim), *_tail(logs.get(claim.probe, "")), f"evidence: {command}")
        yield Case(plain(claim.kfunc), plain(claim.probe), status, _why(claim, status), details)


def _why(claim: ClaimVerdict, status: Status) -> str:
    if status is Status.PASS:
        return ""
    if claim.crashed:
        return "crashed the kernel"
    if claim.known_issue:
        return f"known issue: {plain(claim.known_issue)}"
    if status is Status.FAIL:
        return f"expected {plain(claim.expected, 200)}, observed {plain(claim.observed, 200)}"
    return plain(claim.cause, _CAUSE_WIDTH) or "cause not recorded"


def _said(claim: ClaimVerdict) -> Iterator[str]:
    yield f"expected: {plain(claim.expected)}"
    yield f"observed: {plain(claim.observed) or 'nothing'}"


def _other_probes(cell: JudgedCell) -> Iterator[Case]:
    """Probes that no claim is about: those of the census."""
    judged = {claim.probe for claim in cell.claims}
    for probe in (probe for probe in cell.result.crashed if probe not in judged):
        yield Case("cell", plain(probe), Status.FAIL, "crashed the kernel", _tail(cell.result.console))
    for probe in (probe for probe in cell.result.unasked if probe not in judged):
        yield Case("cell", plain(probe), Status.ERROR, "never asked")


def _census(cell: JudgedCell) -> Case:
    """The states of all kfuncs as one case: which state it is, is an answer and no failure."""
    unknown = [f"{plain(it.kfunc)} ({it.prog_type})" for it in cell.states if is_open(it)]
    details = tuple(f"{plain(it.kfunc)} ({it.prog_type}): {it.state}" for it in cell.states)
    if unknown:
        return Case("cell", "census", Status.ERROR, f"no answer for {_some(unknown)}", details)
    if not cell.states:
        asked = bool(cell.claims)
        return Case("cell", "census", Status.SKIP if asked else Status.ERROR, "no kfunc was asked about")
    return Case("cell", "census", Status.PASS, details=details)


def _tail(text: str) -> tuple[str, ...]:
    kept = [line for line in lines(text) if line]
    return tuple(kept[-_LOG_LINES:])


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")
