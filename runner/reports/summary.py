# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a person reads after the grid: cells that are not clean, what is broken or unanswered, the totals, and what
tests printed that did not end as expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import CellResult, Kept, Mark, Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.reports.changes import builds_report
from runner.reports.drawing import KNOWN_ISSUE, VERDICTS, Trimmed, columns, entry, section, whole
from runner.reports.findings import About, Finding, alike, findings
from runner.reports.grid import Brief, Grid
from runner.results.availability import availability
from runner.results.diff import builds_compared
from runner.results.model import JudgedCell, JudgedRun, RunInfo, of_rows
from runner.text import counted, held, plain, some

_SOURCES = 6  # runs that are named
_LINES = 30  # of what one test printed
_Key = TypeVar("_Key", Outcome, Verdict)

_UNANSWERED, _EXPLAINED = (About.CELL, About.STUCK, About.NO_ANSWER), (About.KNOWN, About.GONE)


def run_report(
    judged: JudgedRun, *, every: bool = False, every_hint: str = "", is_last: bool = True, stats: str = ""
) -> RenderableType:
    """What `runner matrix run` ends with: the grid, then the summary.

    `every_hint`: how to see the other subjects; `stats`: the number that the grid shows of what kernels counted. Unless
    `is_last`, the commands that show evidence name the run.
    """
    grid = Grid(availability(judged, every=every), every_hint, stats)
    first = grid if every or stats else Brief(grid)
    compared = builds_compared(judged)
    against = [builds_report(compared, grid.grid)] if compared else []
    return Group(first, Text(), *against, summary(judged, is_last=is_last))


def summary(judged: JudgedRun, *, is_last: bool = True) -> RenderableType:
    """Short when all is well."""
    grid = availability(judged)
    parts: list[RenderableType] = []
    unclean = []
    for cell in (column.cell for column in grid.columns):
        if remarks := _remarks(cell):
            outcome = Text(str(cell.result.outcome), "" if cell.result.outcome is Outcome.RAN else "bold")
            unclean.append((cell.id, outcome, "; ".join(remarks)))
    if unclean:
        parts.append(section("Cells that are not clean", columns(unclean, no_wrap=(0,))))
    every = findings(grid, judged.known_issues, "" if is_last else judged.run.id)
    told = [
        it for it in every if it.kind and KINDS[it.kind].judged_states and it.about in (About.BROKEN, About.NO_ANSWER)
    ]
    found = [it for it in every if it not in told]
    parts += [whole(f"the kernel's words: {told[0].command}"), Text()] if told else []
    for about, group in groupby(found, key=lambda it: it.about):
        mark = VERDICTS[Verdict.NO_ANSWER if about in _UNANSWERED else Verdict.BROKEN]
        mark = KNOWN_ISSUE if about in _EXPLAINED else mark
        parts += [Text(about.capitalize(), mark.style), *(_finding(finding, mark) for finding in group), Text()]
    parts += [Text(sentence) for sentence in (*sentences(judged), *reused(cell.result for cell in judged.cells))]
    parts.append(Text(covers(judged)))
    return Trimmed(Group(*parts))


def _remarks(cell: JudgedCell) -> list[str]:
    """Why the cell is not clean; nothing when it is."""
    result = cell.result
    remarks = [plain(result.cause, 120) or "cause not recorded"] if result.outcome is not Outcome.RAN else []
    if result.outcome is Outcome.RAN:
        counts = Counter(row.verdict for row in cell.rows if not (row.known_issue or KINDS[row.kind].judged_states))
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


def outputs_report(judged: JudgedRun) -> RenderableType:
    """The end of what was printed, once for all kernels on which it is the same."""
    rows = [
        (cell.id, row)
        for cell in judged.cells
        for row in cell.rows
        if row.log and row.verdict in (Verdict.BROKEN, Verdict.NO_ANSWER)
    ]
    parts = []
    for same in alike(rows, lambda it: (it[1].subject, it[1].log)):
        _, row = same[0]
        lines = row.log.splitlines()
        more = [f"[... {len(lines) - _LINES} lines ...]"] if len(lines) > _LINES else []
        title = f"Output of {plain(row.subject)} on {', '.join(cell_id for cell_id, _ in same)}"
        parts.append(section(title, *more, *lines[-_LINES:]))
    return Group(Text(), *parts) if parts else Group()


def runs_table(found: Iterable[RunInfo]) -> RenderableType:
    """The runs of a store, in their order."""
    rows = []
    for info in found:
        took = f"{info.wall_s:.1f}" if info.wall_s is not None else "not finished"
        cells = f"{info.finished_cells}/{info.cells}"
        rows.append((info.id, f"{info.started:%Y-%m-%d %H:%M:%S}", cells, took, info.runner_version))
    return columns(rows, "run", "started", "cells", "seconds", "runner")


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


def reused(results: Iterable[CellResult]) -> Iterator[str]:
    """How many cells have answers of earlier runs: a line for those of which nothing was asked, one for the others."""
    results = tuple(results)
    whole, part = [it for it in results if it.is_kept], [it for it in results if it.kept and not it.is_kept]
    for mine, what in ((whole, "reused"), (part, "with some answers reused")):
        if mine:
            runs = {it.run: it for result in mine for it in result.kept}
            where = some([f"run {it.run} of {moment(it.started)}" for it in runs.values()], _SOURCES, "; ")
            yield f"{counted(len(mine), 'cell')} {what} from {where}"


def kept_from(kept: Kept) -> str:
    """`20261129-... of 2026-11-29 01:04 UTC: all` or the probes."""
    return f"{kept.run} of {moment(kept.started)}: {some(kept.probes, _SOURCES) if kept.probes else 'all'}"


def differing(result: CellResult) -> RenderableType:
    """Of a recheck, what differs; nothing when nothing does."""
    again = result.rechecked
    if not again or not again.changed:
        return Group()
    runs = ", ".join(it.run for it in again.of)
    title = f"{result.cell.id}: two boots of the same guest answered differently (run {runs}, then this one)"
    rows = [(one.what, one.before, one.after) for one in again.changed]
    why = "One of them was disturbed. Neither is trusted: these probes have no answer, and the next run asks again."
    return section(title, columns(rows, "what", "then", "now"), Text(why, "bold red"))


def moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# --- totals: how many cells and rows ended how, and how well the slots were used -------------------------------------


@dataclass(frozen=True, slots=True)
class Totals:
    cells: Mapping[Outcome, int]
    verdicts: Mapping[str, Mapping[Verdict, int]]  # by what the rows are called
    known: int  # of the broken ones, those that a known issue explains
    crashed: int  # probes that took a guest down
    splats: int  # that no known issue allows

    @property
    def all_verdicts(self) -> Mapping[Verdict, int]:
        """Of all kinds together."""
        return sum((Counter(each) for each in self.verdicts.values()), Counter())


def totals(judged: JudgedRun) -> Totals:
    verdicts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    known = 0
    for cell in judged.cells:
        counts, explained = _verdicts(cell.rows)
        known += explained
        for (noun, verdict), count in counts.items():
            verdicts[noun][verdict] += count
    return Totals(
        cells=Counter(cell.result.outcome for cell in judged.cells),
        verdicts=verdicts,
        known=known,
        crashed=sum(len(cell.result.crashed) for cell in judged.cells),
        splats=sum(not splat.known_issue for cell in judged.cells for splat in cell.splats),
    )


@of_rows
def _verdicts(rows: tuple[Row, ...]) -> tuple[Counter[tuple[str, Verdict]], int]:
    """How many there are by noun and verdict; how many a known issue explains."""
    counts = Counter((KINDS[row.kind].noun_of(row), row.verdict) for row in rows if row.verdict is not None)
    return counts, sum(bool(row.known_issue) for row in rows)


def sentences(judged: JudgedRun) -> tuple[str, str, str]:
    """Three lines: cells, verdicts, time."""
    figures = totals(judged)
    cells = f"{counted(len(judged.cells), 'cell')}: {_counts(figures.cells, Outcome)}"
    each = [
        f"{counted(sum(counts.values()), noun)}: {_counts(counts, Verdict)}"
        for noun, counts in figures.verdicts.items()
    ]
    each += [f"{figures.known} of the broken ones by known issues"] if figures.known else []
    each += [f"{figures.crashed} crashed the kernel"] if figures.crashed else []
    each += [counted(figures.splats, "splat")] if figures.splats else []
    return cells, "; ".join(each) or "nothing was expected", _time(judged)


def _counts(counts: Mapping[_Key, int], order: Iterable[_Key]) -> str:
    there = ((key, counts[key]) for key in order if counts.get(key))
    return ", ".join(held(count) if key == Verdict.HOLDS else f"{count} {key}" for key, count in there) or "none"


def _time(judged: JudgedRun) -> str:
    """Of all cells, repeated ones included."""
    run = judged.run
    cells_s = sum(result.timings.total_s or 0.0 for result in run.results)
    spent = f"the cells took {cells_s:.1f} s"
    if len(judged.sources) > 1:
        return spent
    wall = "the run did not come to its end" if run.wall_s is None else f"{run.wall_s:.1f} s in all"
    if not run.slots:
        return f"{wall}; {spent}"
    per_slot = cells_s / run.slots
    spent += f", {per_slot:.1f} s on each of {run.slots} slots" if run.slots > 1 else " on one slot"
    return f"{wall}; {spent}" + (f" ({per_slot / run.wall_s:.0%} of the run)" if run.wall_s else "")
