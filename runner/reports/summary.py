"""What a person reads after the grid: cells that are not clean, what is broken or unanswered, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.model import Mark, Outcome, Verdict
from runner.probes.kinds import KINDS
from runner.reports.drawing import KNOWN_ISSUE, VERDICTS, Trimmed, columns, entry
from runner.reports.findings import About, Finding, findings
from runner.reports.grid import Grid
from runner.results.availability import availability
from runner.results.model import JudgedCell, JudgedRun, RunInfo
from runner.text import counted, plain, some

_SOURCES = 6  # runs that are named
_Key = TypeVar("_Key", Outcome, Verdict)

_TITLES = {
    About.CRASHED: "Crashed the kernel",
    About.BOOT_FAILED: "Did not boot",
    About.SPLAT: "Reported by the kernel itself",
    About.BROKEN: "Broken",
    About.KNOWN: "Known issues",
    About.GONE: "Known issues that are gone",
    About.CELL: "Cells without an answer",
    About.STUCK: "Guests that were stuck or short of memory",
    About.NO_ANSWER: "No answer",
}
_MARKS = {
    About.CELL: VERDICTS[Verdict.NO_ANSWER],
    About.STUCK: VERDICTS[Verdict.NO_ANSWER],
    About.NO_ANSWER: VERDICTS[Verdict.NO_ANSWER],
    About.KNOWN: KNOWN_ISSUE,
    About.GONE: KNOWN_ISSUE,
}


def run_report(judged: JudgedRun, *, every: bool = False, every_hint: str = "", is_last: bool = True) -> RenderableType:
    """What `runner matrix run` ends with: the grid, then the summary.

    `every_hint`: how to see the other subjects. Unless `is_last`, the commands that show evidence name the run.
    """
    grid = Grid(availability(judged, every=every), every_hint)
    return Group(grid, Text(), summary(judged, is_last=is_last))


def summary(judged: JudgedRun, *, is_last: bool = True) -> RenderableType:
    """Short when all is well."""
    grid = availability(judged)
    parts: list[RenderableType] = []
    unclean = columns("", "", "", no_wrap=frozenset({0}))
    for cell in (column.cell for column in grid.columns):
        if remarks := _remarks(cell):
            outcome = Text(str(cell.result.outcome), "" if cell.result.outcome is Outcome.RAN else "bold")
            unclean.add_row(Text(cell.id), outcome, Text("; ".join(remarks)))
    if unclean.row_count:
        parts += [Text("Cells that are not clean", "bold"), Trimmed(unclean, indent=2), Text()]
    found = findings(grid, judged.known_issues, "" if is_last else judged.run.id)
    for about, group in groupby(found, key=lambda it: it.about):
        mark = _MARKS.get(about, VERDICTS[Verdict.BROKEN])
        parts += [Text(_TITLES[about], mark.style), *(_finding(finding, mark) for finding in group), Text()]
    parts += [Text(sentence) for sentence in (*sentences(judged), covers(judged))]
    return Trimmed(Group(*parts))


def _remarks(cell: JudgedCell) -> list[str]:
    """Why the cell is not clean; nothing when it is."""
    result = cell.result
    remarks = [plain(result.cause, 120) or "cause not recorded"] if result.outcome is not Outcome.RAN else []
    if result.outcome is Outcome.RAN:
        counts = Counter(row.verdict for row in cell.rows if not row.known_issue)
        remarks += [f"{counts[it]} {it}" for it in (Verdict.BROKEN, Verdict.NO_ANSWER) if counts[it]]
        if result.unasked:
            remarks.append(f"{len(result.unasked)} never asked")
    if result.crashed:
        remarks.append(f"{len(result.crashed)} crashed the kernel")
    if splats := [it for it in cell.splats if not it.known_issue]:
        remarks.append(counted(len(splats), "splat"))
    if result.attempts > 1:
        remarks.append(f"{result.attempts} attempts")
    return remarks


def _finding(finding: Finding, mark: Mark) -> RenderableType:
    what = Text.assemble((f"{mark.sign} ", mark.style), (finding.what, "bold"), f"  {finding.where}")
    return entry(what, ((word, plain(text, 300) or "nothing") for word, text in finding.details), finding.command)


def runs_table(found: Sequence[RunInfo]) -> Table:
    """The runs of a store, in their order."""
    table = Table("run", "started", "cells", "seconds", "runner", box=None, pad_edge=False)
    for info in found:
        took = f"{info.wall_s:.1f}" if info.wall_s is not None else "not finished"
        cells = f"{info.finished_cells}/{info.cells}"
        table.add_row(info.id, f"{info.started:%Y-%m-%d %H:%M:%S}", cells, took, info.runner_version)
    return table


def covers(judged: JudgedRun) -> str:
    """Which runs a report covers: one, or those that have the newest answers of the cells; and that one is partial."""
    if not judged.sources:
        return f"run {judged.run.id} of {moment(judged.run.started)}"
    parts = []
    for it in judged.sources:
        what = "partial run" if it.partial else "run"
        parts.append(f"{what} {it.run.id} of {moment(it.run.started)}: {counted(len(it.cells), 'cell')}")
    missing = len(judged.cells) - sum(len(it.cells) for it in judged.sources)
    parts += [f"never run: {counted(missing, 'cell')}"] if missing else []
    return ("each cell's newest answer, from " if len(parts) > 1 else "") + some(parts, _SOURCES, "; ")


def moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# --- totals: how many cells and rows ended how, and how well the slots were used -------------------------------------


@dataclass(frozen=True, slots=True)
class Totals:
    cells: Mapping[Outcome, int]
    verdicts: Mapping[str, Mapping[Verdict, int]]  # by the kind of probe
    known: int  # of the broken ones, those that a known issue explains
    crashed: int  # probes that took a guest down
    splats: int  # that no known issue allows
    wall_s: float | None  # None while the run goes on, and when it was killed
    cells_s: float  # the seconds of all cells, repeated ones included
    slots: int | None
    runs: int  # that the cells come from

    @property
    def all_verdicts(self) -> Mapping[Verdict, int]:
        """The verdicts of all kinds together."""
        return sum((Counter(each) for each in self.verdicts.values()), Counter())


def totals(judged: JudgedRun) -> Totals:
    verdicts: dict[str, Counter[Verdict]] = {}
    for row in (row for cell in judged.cells for row in cell.rows):
        if row.verdict is not None:
            verdicts.setdefault(row.kind, Counter())[row.verdict] += 1
    return Totals(
        cells=Counter(cell.result.outcome for cell in judged.cells),
        verdicts=verdicts,
        known=sum(bool(row.known_issue) for cell in judged.cells for row in cell.rows),
        crashed=sum(len(cell.result.crashed) for cell in judged.cells),
        splats=sum(not splat.known_issue for cell in judged.cells for splat in cell.splats),
        wall_s=judged.run.wall_s,
        cells_s=sum(result.timings.total_s or 0.0 for result in judged.run.results),
        slots=judged.run.slots,
        runs=len(judged.sources) or 1,
    )


def sentences(judged: JudgedRun) -> tuple[str, str, str]:
    """Three lines: cells, verdicts, time."""
    figures = totals(judged)
    cells = f"{counted(sum(figures.cells.values()), 'cell')}: {_counts(figures.cells, list(Outcome))}"
    words = {Verdict.HOLDS: "hold"}
    each = [
        f"{counted(sum(counts.values()), KINDS[kind].noun)}: {_counts(counts, list(Verdict), words)}"
        for kind, counts in figures.verdicts.items()
    ]
    if figures.known:
        each.append(f"{figures.known} of the broken ones by known issues")
    if figures.crashed:
        each.append(f"{figures.crashed} crashed the kernel")
    if figures.splats:
        each.append(f"{counted(figures.splats, 'splat')}")
    return cells, "; ".join(each) or "nothing was expected", _time(figures)


def _counts(counts: Mapping[_Key, int], order: Sequence[_Key], words: Mapping[_Key, str] | None = None) -> str:
    named = [f"{counts[key]} {(words or {}).get(key, key)}" for key in order if counts.get(key)]
    return ", ".join(named) or "none"


def _time(figures: Totals) -> str:
    if figures.runs > 1:
        return f"the cells took {figures.cells_s:.1f} s"
    wall = "the run did not come to its end" if figures.wall_s is None else f"{figures.wall_s:.1f} s in all"
    spent = f"the cells took {figures.cells_s:.1f} s"
    if not figures.slots:
        return f"{wall}; {spent}"
    per_slot = figures.cells_s / figures.slots
    spent += f", {per_slot:.1f} s on each of {figures.slots} slots" if figures.slots > 1 else " on one slot"
    used = f" ({per_slot / figures.wall_s:.0%} of the run)" if figures.wall_s else ""
    return f"{wall}; {spent}{used}"
