"""What a person reads after the grid: cells that are not clean, what is broken or unanswered, and the totals."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.model import Outcome, Verdict
from runner.reports.findings import Finding, Kind, findings
from runner.reports.grid import Grid
from runner.reports.hanging import Hanging, whole
from runner.reports.marks import KNOWN_ISSUE, VERDICTS, Mark, sign
from runner.reports.totals import sentences, totals
from runner.reports.trimmed import Trimmed
from runner.results.availability import Availability, availability
from runner.results.model import JudgedCell, JudgedRun
from runner.text import plain

_TITLES = {
    Kind.CRASHED: "Crashed the kernel",
    Kind.BOOT_FAILED: "Did not boot",
    Kind.BROKEN: "Broken claims",
    Kind.KNOWN: "Known issues",
    Kind.GONE: "Known issues that are gone",
    Kind.CELL: "Cells without an answer",
    Kind.NO_ANSWER: "No answer",
}
_MARKS = {
    Kind.CELL: VERDICTS[Verdict.NO_ANSWER],
    Kind.NO_ANSWER: VERDICTS[Verdict.NO_ANSWER],
    Kind.KNOWN: KNOWN_ISSUE,
    Kind.GONE: KNOWN_ISSUE,
}


def run_report(
    judged: JudgedRun, *, every_kfunc: bool = False, every_hint: str = "", is_last: bool = True
) -> RenderableType:
    """What `runner matrix run` ends with: the grid, then the summary.

    `every_hint`: how to see the other kfuncs. Unless `is_last`, the commands that show evidence name the run.
    """
    grid = Grid(availability(judged, every_kfunc=every_kfunc), every_hint)
    return Group(grid, Text(), Summary(judged, is_last=is_last))


class Summary:
    """Short when all is well."""

    def __init__(self, judged: JudgedRun, *, is_last: bool = True) -> None:
        self._judged = judged
        self._named = "" if is_last else judged.run.id
        self._grid: Availability = availability(judged)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unclean = [column.cell for column in self._grid.columns if not _is_clean(column.cell)]
        if unclean:
            yield Text("Cells that are not clean", "bold")
            yield _cell_lines(unclean)
            yield Text()
        for kind, group in groupby(
            findings(self._grid, self._judged.known_issues, self._named), key=lambda it: it.kind
        ):
            mark = _MARKS.get(kind, VERDICTS[Verdict.BROKEN])
            yield Text(_TITLES[kind], mark.style)
            for finding in group:
                yield _finding(finding, mark, options.ascii_only)
            yield Text()
        for sentence in sentences(totals(self._judged)):
            yield Hanging("", sentence)


def _is_clean(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is Outcome.RAN
        and cell.result.attempts == 1
        and not cell.result.crashed
        and not cell.result.unasked
        and not any(
            claim.verdict in (Verdict.BROKEN, Verdict.NO_ANSWER) and not claim.known_issue for claim in cell.claims
        )
    )


def _cell_lines(cells: list[JudgedCell]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for no_wrap in (True, False, False):
        table.add_column(no_wrap=no_wrap, overflow="fold")
    for cell in cells:
        ran = cell.result.outcome is Outcome.RAN
        table.add_row(
            Text(cell.id), Text(str(cell.result.outcome), "" if ran else "bold"), Text("; ".join(_remarks(cell)))
        )
    return Trimmed(Padding(table, (0, 0, 0, 2), expand=False))


def _remarks(cell: JudgedCell) -> list[str]:
    result = cell.result
    remarks = [plain(result.cause, 120)] if result.cause else []
    if result.outcome is Outcome.RAN:
        counts = Counter(claim.verdict for claim in cell.claims if not claim.known_issue)
        remarks += [f"{counts[it]} {it}" for it in (Verdict.BROKEN, Verdict.NO_ANSWER) if counts[it]]
        if result.unasked:
            remarks.append(f"{len(result.unasked)} never asked")
    if result.crashed:
        remarks.append(f"{len(result.crashed)} crashed the kernel")
    if result.attempts > 1:
        remarks.append(f"{result.attempts} attempts")
    return remarks


def _finding(finding: Finding, mark: Mark, ascii_only: bool) -> RenderableType:
    head = Text(f"{sign(mark, ascii_only=ascii_only)} ", mark.style)
    head.append(finding.what, "bold").append(f"  {finding.where}")
    details = Table.grid(padding=(0, 1))
    details.add_column(style="dim", no_wrap=True)
    details.add_column(overflow="fold")
    for word, text in finding.details:
        details.add_row(Text(word), Text(plain(text, 300) or "nothing"))
    below = Padding(details, (0, 0, 0, 2), expand=False)
    above = Trimmed(Padding(Group(head, below), (0, 0, 0, 2), expand=False))
    return Group(above, whole(f"    {finding.command}", "cyan"))
