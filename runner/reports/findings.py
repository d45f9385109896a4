"""What a run has to tell: broken claims and missing answers, grouped so that one cause is one finding."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from runner.model import ClaimVerdict, KnownIssue, Outcome, State, Verdict
from runner.results.availability import Availability, places
from runner.results.model import JudgedCell
from runner.text import counted, plain

_PROBES = 4  # named in one finding


class Kind(StrEnum):
    """In the order in which they matter."""

    CRASHED = "crashed the kernel"
    BOOT_FAILED = "did not boot"
    BROKEN = "broken"
    KNOWN = "known issue"
    GONE = "known issue that is gone"
    CELL = "cell without an answer"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` happened, `where`, the `details` (word, text), and the command that shows the evidence."""

    kind: Kind
    what: str
    where: str
    details: tuple[tuple[str, str], ...]
    command: str


def findings(grid: Availability, issues: Iterable[KnownIssue] = (), run_id: str = "") -> tuple[Finding, ...]:
    """Empty when everything was answered and every claim holds. All texts are plain. `issues` are the run's.

    The commands look at the last run, or at `run_id`.
    """
    found = [
        *_cells(grid, run_id),
        *_broken(grid, run_id),
        *_known(grid, issues, run_id),
        *_unanswered(grid, run_id),
    ]
    return tuple(sorted(found, key=lambda finding: list(Kind).index(finding.kind)))


def show_command(cell_id: str, probe: str = "", run_id: str = "", *, every: bool = False) -> str:
    """The command that shows a cell, with `every` kfunc that it was asked about, or one probe's raw observation in it.

    Of the last run, when none is named.
    """
    command = ["runner", "cell", "show", cell_id]
    command += ["--probe", plain(probe)] if probe else []
    command += ["--run", run_id] if run_id else []
    command += ["--all"] if every and not probe else []
    return shlex.join(command)


def _cells(grid: Availability, run_id: str) -> Iterator[Finding]:
    """Cells that did not run: one finding per outcome and cause, not one per claim."""
    groups: dict[tuple[Outcome, str], list[JudgedCell]] = defaultdict(list)
    for cell in _in_order(grid):
        if cell.result.outcome is not Outcome.RAN:
            groups[cell.result.outcome, plain(cell.result.cause)].append(cell)
    for (outcome, cause), cells in groups.items():
        open_claims = sum(claim.verdict is Verdict.NO_ANSWER for cell in cells for claim in cell.claims)
        yield Finding(
            kind=Kind.BOOT_FAILED if outcome is Outcome.BOOT_FAILED else Kind.CELL,
            what=str(outcome) + (f": {counted(open_claims, 'claim')} without an answer" if open_claims else ""),
            where=places(grid, {cell.id for cell in cells}),
            details=(("cause", cause or "not recorded"),),
            command=show_command(cells[0].id, run_id=run_id),
        )
    for cell in _in_order(grid):
        judged_probes = {claim.probe for claim in cell.claims if claim.crashed}
        for probe in (probe for probe in cell.result.crashed if probe not in judged_probes):
            yield Finding(Kind.CRASHED, plain(probe), places(grid, {cell.id}), (), show_command(cell.id, run_id=run_id))


def _broken(grid: Availability, run_id: str) -> Iterator[Finding]:
    groups: dict[tuple[bool, str, str, str], list[JudgedCell]] = defaultdict(list)
    for cell in _in_order(grid):
        for claim in cell.claims:
            if (claim.verdict is Verdict.BROKEN and not claim.known_issue) or claim.crashed:
                groups[claim.crashed, claim.probe, plain(claim.expected), plain(claim.observed)].append(cell)
    for (crashed, probe, expected, observed), cells in groups.items():
        yield Finding(
            kind=Kind.CRASHED if crashed else Kind.BROKEN,
            what=plain(probe),
            where=places(grid, {cell.id for cell in cells}),
            details=(("expected", expected), ("observed", observed)),
            command=show_command(cells[0].id, probe, run_id),
        )


def _known(grid: Availability, issues: Iterable[KnownIssue], run_id: str) -> Iterator[Finding]:
    """One finding per issue: what it explains, or that it is gone."""
    for issue in issues:
        explains = [(cell, claim) for cell in _in_order(grid) for claim in cell.claims if claim.known_issue == issue.id]
        details = [("reason", issue.reason), ("see", issue.link)]
        if issue.gone:
            todo = ("to do", "it did not happen on any kernel that was run: delete its entry in bpf/known-issues.yaml")
            yield Finding(Kind.GONE, issue.id, "no kernel", (todo, *details), "runner report verdicts")
        elif explains:
            probes = list(dict.fromkeys(claim.probe for _, claim in explains))
            first_cell, first_claim = explains[0]
            yield Finding(
                kind=Kind.KNOWN,
                what=issue.id,
                where=places(grid, {cell.id for cell, _ in explains}),
                details=(("what", issue.what), *details, ("explains", ", ".join(plain(probe) for probe in probes))),
                command=show_command(first_cell.id, first_claim.probe, run_id),
            )


def _unanswered(grid: Availability, run_id: str) -> Iterator[Finding]:
    """Claims and kfuncs without an answer in cells that ran, by their cause."""
    groups: dict[tuple[str, tuple[str, ...], bool], list[JudgedCell]] = defaultdict(list)
    for cell in _in_order(grid):
        if cell.result.outcome is Outcome.RAN:
            for cause, probes in _open_claims(cell).items():
                groups[cause, tuple(probes), True].append(cell)
            for cause, kfuncs in _open_kfuncs(cell).items():
                groups[cause, tuple(kfuncs), False].append(cell)
    for (cause, names, are_claims), cells in groups.items():
        yield Finding(
            kind=Kind.NO_ANSWER,
            what=_some([plain(name) for name in names]),
            where=places(grid, {cell.id for cell in cells}),
            details=(("cause", cause),),
            command=show_command(cells[0].id, names[0] if are_claims else "", run_id, every=True),
        )


def _open_claims(cell: JudgedCell) -> dict[str, list[str]]:
    causes: dict[str, list[str]] = defaultdict(list)
    for claim in cell.claims:
        if claim.verdict is Verdict.NO_ANSWER and not claim.crashed:
            causes[plain(claim.cause) or "not recorded"].append(claim.probe)
    return causes


def _open_kfuncs(cell: JudgedCell) -> dict[str, list[str]]:
    """Kfuncs whose state is open although no claim about them is: the census alone did not get an answer."""
    told = {(claim.kfunc, claim.prog_type) for claim in cell.claims if _is_open(claim)}
    causes: dict[str, list[str]] = defaultdict(list)
    for state in cell.states:
        if state.state is State.NO_ANSWER and (state.kfunc, state.prog_type) not in told:
            cause = plain(state.cause).replace(state.kfunc, "<kfunc>")
            causes[cause or "not recorded"].append(f"{state.kfunc} ({state.prog_type})")
    return causes


def _is_open(claim: ClaimVerdict) -> bool:
    return claim.verdict is Verdict.NO_ANSWER or claim.crashed


def _in_order(grid: Availability) -> Iterator[JudgedCell]:
    return (column.cell for column in grid.columns)


def _some(names: list[str]) -> str:
    if len(names) <= _PROBES:
        return ", ".join(names)
    return f"{len(names)}: {', '.join(names[: _PROBES - 1])} and {len(names) - _PROBES + 1} more"
