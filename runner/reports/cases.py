# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run as test systems see it: a suite per cell, a case per probe, each passed, failed, skipped or in error.

An error is the absence of an answer. Failures and errors are there exactly when the exit status of the run is 1 and 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from runner.model import Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.reports.findings import is_open, named, show_command
from runner.results.model import JudgedCell, JudgedRun
from runner.text import lines, plain, printable, some

_LOG_LINES = 40  # of a load, kept with a case that failed; the whole is in the store
_NAMED = 12  # subjects without an answer, by name
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

    group: str  # the subject that it is about, or `cell`
    name: str
    status: Status
    why: str = ""
    details: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def passed(self) -> bool:
        return self.status in (Status.PASS, Status.SKIP)


@dataclass(frozen=True, slots=True)
class CaseSuite:
    """`stable` is the name that the cell has in the matrix: it stays when a new build of its kernel comes."""

    cell: JudgedCell
    run: str
    started: str
    stable: str
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        return self.cell.id

    @property
    def passed(self) -> bool:
        return all(case.passed for case in self.cases)


def suites(judged: JudgedRun) -> tuple[CaseSuite, ...]:
    """In the order of the matrix; every cell that was to run is one, and none is empty."""
    names = {cell.id: f"{cell.result.cell.name}-{cell.result.cell.arch}" for cell in judged.cells}
    counts = Counter(names.values())
    kinds = [kind for kind in KINDS if any(_is_state(row, kind) for cell in judged.cells for row in cell.rows)]
    return tuple(
        CaseSuite(
            cell,
            run=judged.run_of(cell.id),
            started=judged.started_of(cell.id).isoformat(),
            stable=names[cell.id] if counts[names[cell.id]] == 1 else cell.id,
            cases=tuple(_cases(cell, kinds, judged.run_of(cell.id))),
        )
        for cell in judged.cells
    )


def _cases(cell: JudgedCell, kinds: Sequence[str], run_id: str) -> Iterator[Case]:
    """`kinds`: those of which the run has states."""
    yield _boot(cell)
    yield from _splats(cell)
    for row in cell.rows:
        if row.verdict is not None:
            yield _verdict(cell, row, run_id)
    yield from _other_probes(cell)
    for kind in kinds:
        yield _states(kind, [row for row in cell.rows if _is_state(row, kind)])
    if not cell.rows:
        yield Case("cell", "probes", Status.ERROR, "nothing was asked")


def _is_state(row: Row, kind: str) -> bool:
    """Has it a state alone?"""
    return row.kind == kind and row.verdict is None


def _boot(cell: JudgedCell) -> Case:
    result = cell.result
    status = _OUTCOME.get(result.outcome, Status.ERROR)
    why = "" if status is Status.PASS else f"{result.outcome}: {plain(result.cause, _CAUSE_WIDTH)}"
    tail = () if status is Status.PASS else _tail(result.console)
    return Case("cell", "boot", status, why, tail, result.timings.boot_s)


def _splats(cell: JudgedCell) -> Iterator[Case]:
    """A case for each: what the kernel reports by itself is a failure of the cell; a guest that is stuck, an error."""
    for number, splat in enumerate(cell.splats, start=1):
        status = Status.FAIL if splat.blames_kernel else Status.ERROR
        why = plain(splat.title, _CAUSE_WIDTH)
        why += f", while {plain(splat.probe)} was asked" if splat.probe else ""
        if splat.known_issue:
            status, why = Status.SKIP, f"known issue: {plain(splat.known_issue)}"
        yield Case("cell", f"splat-{number}", status, why, tuple(map(printable, splat.lines)))


def _verdict(cell: JudgedCell, row: Row, run_id: str) -> Case:
    status = _STATUS[row.verdict or Verdict.NO_ANSWER]
    status = Status.FAIL if row.crashed else Status.SKIP if row.known_issue else status
    details: tuple[str, ...] = ()
    if status in (Status.FAIL, Status.ERROR):
        said = (f"expected: {plain(row.expected)}", f"observed: {plain(row.observed) or 'nothing'}")
        details = (*said, *_tail(row.log), f"evidence: {show_command(cell.id, row.probe, run_id)}")
    return Case(plain(row.subject), plain(row.probe), status, _why(row, status), details)


def _why(row: Row, status: Status) -> str:
    if status is Status.PASS:
        return ""
    if row.crashed:
        return "crashed the kernel"
    if row.known_issue:
        return f"known issue: {plain(row.known_issue)}"
    if status is Status.FAIL:
        return f"expected {plain(row.expected, 200)}, observed {plain(row.observed, 200)}"
    return plain(row.cause, _CAUSE_WIDTH) or "cause not recorded"


def _other_probes(cell: JudgedCell) -> Iterator[Case]:
    """Probes that no verdict is about."""
    judged = {row.probe for row in cell.rows if row.verdict is not None}
    for probe in (probe for probe in cell.result.crashed if probe not in judged):
        yield Case("cell", plain(probe), Status.FAIL, "crashed the kernel", _tail(cell.result.console))
    for probe in (probe for probe in cell.result.unasked if probe not in judged):
        yield Case("cell", plain(probe), Status.ERROR, "never asked")


def _states(kind: str, states: Sequence[Row]) -> Case:
    """The states of all subjects as one case: which state it is, is an answer and no failure."""
    unknown = [named(row) for row in states if is_open(row)]
    details = tuple(f"{named(row)}: {row.state}" for row in states)
    if unknown:
        return Case("cell", kind, Status.ERROR, f"no answer for {some(unknown, _NAMED)}", details)
    if not states:
        return Case("cell", kind, Status.SKIP, f"no {KINDS[kind].subject} was asked about")
    return Case("cell", kind, Status.PASS, details=details)


def _tail(text: str) -> tuple[str, ...]:
    kept = [line for line in lines(text) if line]
    return tuple(kept[-_LOG_LINES:])
