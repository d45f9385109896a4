"""What a run has to tell: what is broken and what has no answer, grouped so that one cause is one finding."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from runner.model import NO_ANSWER, KnownIssue, Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.results.availability import Availability, places
from runner.results.model import JudgedCell, JudgedRun
from runner.text import counted, plain, some

_PROBES = 4  # named in one finding
_LINES = 12  # of a splat


class About(StrEnum):
    """What a finding is about, in the order in which they matter."""

    CRASHED = "crashed the kernel"
    BOOT_FAILED = "did not boot"
    SPLAT = "reported by the kernel"
    BROKEN = "broken"
    KNOWN = "known issue"
    GONE = "known issue that is gone"
    CELL = "cell without an answer"
    STUCK = "stuck"
    NO_ANSWER = "no answer"


WRONG = frozenset({About.CRASHED, About.BOOT_FAILED, About.SPLAT, About.BROKEN})  # exit status 1


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` happened, `where`, the `details` (word, text), and the command that shows the evidence."""

    about: About
    what: str
    where: str
    details: tuple[tuple[str, str], ...]
    command: str


def findings(grid: Availability, issues: Iterable[KnownIssue] = (), run_id: str = "") -> tuple[Finding, ...]:
    """Empty when everything was answered as expected. All texts are plain. `issues` are the run's.

    The commands look at the last run, or at `run_id`.
    """
    found = [
        *_cells(grid, run_id),
        *_crashes(grid, run_id),
        *_splats(grid, run_id),
        *_broken(grid, run_id),
        *_known(grid, issues, run_id),
        *_unanswered(grid, run_id),
    ]
    return tuple(sorted(found, key=lambda finding: list(About).index(finding.about)))


def show_command(cell_id: str, probe: str = "", run_id: str = "", *, every: bool = False) -> str:
    """The command that shows a cell, with `every` subject that it was asked about, or one probe's raw answer in it.

    Of the last run, when none is named.
    """
    command = ["runner", "cell", "show", cell_id]
    command += ["--probe", plain(probe)] if probe else []
    command += ["--run", run_id] if run_id else []
    command += ["--all"] if every and not probe else []
    return shlex.join(command)


def _cells(grid: Availability, run_id: str) -> Iterator[Finding]:
    """Cells that did not run: one finding per outcome and cause, not one per probe."""
    groups: dict[tuple[Outcome, str], list[JudgedCell]] = defaultdict(list)
    for cell in _in_order(grid):
        if cell.result.outcome is not Outcome.RAN:
            groups[cell.result.outcome, plain(cell.result.cause)].append(cell)
    for (outcome, cause), cells in groups.items():
        left = Counter(row.kind for cell in cells for row in cell.rows if row.verdict is Verdict.NO_ANSWER)
        nouns = ", ".join(counted(number, KINDS[kind].noun) for kind, number in left.items())
        yield Finding(
            about=About.BOOT_FAILED if outcome is Outcome.BOOT_FAILED else About.CELL,
            what=str(outcome) + (f": {nouns} without an answer" if nouns else ""),
            where=places(grid, {cell.id for cell in cells}),
            details=(("cause", cause or "not recorded"),),
            command=show_command(cells[0].id, run_id=run_id),
        )


def _crashes(grid: Availability, run_id: str) -> Iterator[Finding]:
    """Probes that took a guest down and that have no verdict, which would say so."""
    for cell in _in_order(grid):
        judged = {row.probe for row in cell.rows if row.crashed}
        for probe in (probe for probe in cell.result.crashed if probe not in judged):
            where, command = places(grid, {cell.id}), show_command(cell.id, run_id=run_id)
            yield Finding(About.CRASHED, plain(probe), where, (), command)


def _splats(grid: Availability, run_id: str) -> Iterator[Finding]:
    """What kernels reported by themselves and no known issue allows: one finding per kind, text and probe."""
    groups: dict[tuple[bool, str, str, str], list[JudgedCell]] = defaultdict(list)
    lines: dict[tuple[bool, str, str, str], tuple[str, ...]] = {}
    for cell in _in_order(grid):
        for splat in (it for it in cell.splats if not it.known_issue):
            key = (splat.blames_kernel, plain(splat.title), plain(splat.text), splat.probe)
            lines.setdefault(key, splat.lines)
            if cell not in groups[key]:
                groups[key].append(cell)
    for key, cells in groups.items():
        blames, title, text, probe = key
        told = [plain(line) for line in lines[key] if plain(line) != text][:_LINES]
        yield Finding(
            about=About.SPLAT if blames else About.STUCK,
            what=title,
            where=places(grid, {cell.id for cell in cells}),
            details=(("while", plain(probe) or "no probe was asked"), ("trace", " / ".join(told))),
            command=show_command(cells[0].id, run_id=run_id),
        )


def _broken(grid: Availability, run_id: str) -> Iterator[Finding]:
    groups: dict[tuple[bool, str, str, str], list[JudgedCell]] = defaultdict(list)
    for cell, row in _rows(grid):
        if (row.verdict is Verdict.BROKEN and not row.known_issue) or row.crashed:
            groups[row.crashed, row.probe, plain(row.expected), plain(row.observed)].append(cell)
    for (crashed, probe, expected, observed), cells in groups.items():
        yield Finding(
            about=About.CRASHED if crashed else About.BROKEN,
            what=plain(probe),
            where=places(grid, {cell.id for cell in cells}),
            details=(("expected", expected), ("observed", observed)),
            command=show_command(cells[0].id, probe, run_id),
        )


def _known(grid: Availability, issues: Iterable[KnownIssue], run_id: str) -> Iterator[Finding]:
    """One finding per issue: what it explains, or that it is gone."""
    for issue in issues:
        explains = [(cell, row.probe) for cell, row in _rows(grid) if row.known_issue == issue.id]
        allows = [(cell, it.probe) for cell in _in_order(grid) for it in cell.splats if it.known_issue == issue.id]
        details = [("reason", issue.reason), ("see", issue.link)]
        if issue.gone:
            todo = ("to do", "it did not happen on any kernel that was run: delete its entry in bpf/known-issues.yaml")
            yield Finding(About.GONE, issue.id, "no kernel", (todo, *details), "runner report verdicts")
        elif found := explains + allows:
            probes = list(dict.fromkeys(plain(probe) for _, probe in found if probe))
            yield Finding(
                about=About.KNOWN,
                what=issue.id,
                where=places(grid, {cell.id for cell, _ in found}),
                details=(("what", issue.what), *details, ("explains", ", ".join(probes) or "what the kernel reported")),
                command=show_command(found[0][0].id, explains[0][1] if explains else "", run_id),
            )


def _unanswered(grid: Availability, run_id: str) -> Iterator[Finding]:
    """What has no answer in cells that ran, by its cause."""
    groups: dict[tuple[str, tuple[str, ...], bool], list[JudgedCell]] = defaultdict(list)
    for cell in _in_order(grid):
        if cell.result.outcome is Outcome.RAN:
            for cause, probes in _open_probes(cell).items():
                groups[cause, tuple(probes), True].append(cell)
            for cause, subjects in _open_subjects(cell).items():
                groups[cause, tuple(subjects), False].append(cell)
    for (cause, names, are_probes), cells in groups.items():
        more = f"{len(names)}: " if len(names) > _PROBES else ""
        yield Finding(
            about=About.NO_ANSWER,
            what=more + some([plain(name) for name in names], _PROBES),
            where=places(grid, {cell.id for cell in cells}),
            details=(("cause", cause),),
            command=show_command(cells[0].id, names[0] if are_probes else "", run_id, every=True),
        )


def _open_probes(cell: JudgedCell) -> dict[str, list[str]]:
    causes: dict[str, list[str]] = defaultdict(list)
    for row in cell.rows:
        if row.verdict is Verdict.NO_ANSWER and not row.crashed:
            causes[plain(row.cause) or "not recorded"].append(row.probe)
    return causes


def _open_subjects(cell: JudgedCell) -> dict[str, list[str]]:
    """Subjects whose state is open although no verdict about them is."""
    told = {(row.subject, row.type) for row in cell.rows if row.verdict is Verdict.NO_ANSWER or row.crashed}
    causes: dict[str, list[str]] = defaultdict(list)
    for row in cell.rows:
        if row.state == NO_ANSWER and (row.subject, row.type) not in told:
            cause = plain(row.cause).replace(row.subject, f"<{KINDS[row.kind].subject}>")
            causes[cause or "not recorded"].append(f"{row.subject} ({row.type})" if row.type else row.subject)
    return causes


def _in_order(grid: Availability) -> Iterator[JudgedCell]:
    return (column.cell for column in grid.columns)


def _rows(grid: Availability) -> Iterator[tuple[JudgedCell, Row]]:
    return ((cell, row) for cell in _in_order(grid) for row in cell.rows)


# --- what a run means to a script; runner/cli has the exit status of each --------------------------------------------


class Ending(StrEnum):
    """How a run ended."""

    EXPECTED = "as expected"  # every cell ran, everything has an answer, and it is the expected one
    BROKEN = "broken"
    INCOMPLETE = "incomplete"


def ending(judged: JudgedRun) -> Ending:
    """BROKEN: an expectation is broken and no known issue explains it, a probe crashed a kernel, a kernel did not boot
    or reported a splat that no known issue allows. This wins over INCOMPLETE: it is wrong, whatever else is not known.

    INCOMPLETE: something has no answer: a cell that never finished or was lost, an expectation, a state of which an
    answer is due; a guest that was stuck; also a run or a cell in which nothing was asked.

    A state that is `hidden` does not make a run incomplete: the kernel did answer, the same words on every run, but
    with a refusal that comes before the one that was asked about. Nor does one that is not due, see Kind.due.
    """
    if any(_is_broken(cell) for cell in judged.cells):
        return Ending.BROKEN
    return Ending.INCOMPLETE if incomplete(judged) else Ending.EXPECTED


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
