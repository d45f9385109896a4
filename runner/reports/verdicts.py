"""Every verdict of a run, compactly: claims down, and for each the kernels with the same verdict together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.model import ClaimVerdict, Plain, ProgType, Verdict
from runner.reports.marks import KNOWN_ISSUE, VERDICTS, Mark
from runner.reports.totals import sentences, totals
from runner.reports.trimmed import Trimmed
from runner.results.availability import Availability, availability, places
from runner.results.model import JudgedRun
from runner.text import plain

KNOWN = "known issue"  # a word for --verdict beside those of Verdict
WORDS = (*(str(verdict) for verdict in Verdict), KNOWN)
_OBSERVED_WIDTH = 200


class CellVerdict(Plain):
    """One cell's verdict on a claim, with what was expected and observed there."""

    cell: str
    verdict: Verdict
    expected: str
    observed: str
    cause: str
    known_issue: str
    crashed: bool


class ClaimRow(Plain):
    """One claim for one program type, on every cell of the run that is asked for."""

    id: str
    kfunc: str
    prog_type: ProgType
    cells: tuple[CellVerdict, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which verdicts to show: a pattern of kfunc names (empty: all), and words of WORDS (none: all)."""

    kfunc: str = ""
    verdicts: frozenset[str] = frozenset()

    def has(self, claim: ClaimVerdict) -> bool:
        if self.kfunc and not fnmatchcase(claim.kfunc, self.kfunc):
            return False
        return not self.verdicts or not self.verdicts.isdisjoint({_word(claim), str(claim.verdict)})


def claim_rows(judged: JudgedRun, wanted: Wanted = Wanted()) -> tuple[ClaimRow, ...]:
    """What is wanted, in the order of the claims; also what `--format json` prints."""
    grid = availability(judged)
    rows: dict[tuple[str, str, ProgType], list[CellVerdict]] = defaultdict(list)
    for column in grid.columns:
        for claim in filter(wanted.has, column.cell.claims):
            same = claim.model_dump(include=set(CellVerdict.model_fields))
            rows[claim.id, claim.kfunc, claim.prog_type].append(CellVerdict(cell=column.cell.id, **same))
    order = {claim.probe: at for cell in judged.cells for at, claim in enumerate(cell.claims)}
    found = (
        ClaimRow(id=name, kfunc=kfunc, prog_type=of, cells=tuple(cells)) for (name, kfunc, of), cells in rows.items()
    )
    return tuple(sorted(found, key=lambda row: order[f"{row.id}:{row.prog_type}"]))


def verdicts_report(judged: JudgedRun, wanted: Wanted = Wanted()) -> RenderableType:
    """Claims whose program types have the same verdicts on the same kernels share a row."""
    grid = availability(judged)
    table = Table.grid(padding=(0, 2))
    for no_wrap in (True, True, False):
        table.add_column(no_wrap=no_wrap, overflow="fold")
    for name, types, said in _merged(grid, claim_rows(judged, wanted)):
        for at, (mark, line) in enumerate(said):
            # every line can be found by its claim's name
            table.add_row(Text(name, "dim" if at else ""), Text(types, "dim"), Text(line, mark.style))
    figures = [Text(sentence) for sentence in sentences(totals(judged))[:2]]
    return Trimmed(Group(table if table.row_count else Text("No verdict is like that."), Text(), *figures))


def _merged(grid: Availability, rows: Sequence[ClaimRow]) -> Iterator[tuple[str, str, tuple[tuple[Mark, str], ...]]]:
    types: dict[tuple[str, tuple[tuple[Mark, str], ...]], list[str]] = defaultdict(list)
    for row in rows:
        types[row.id, tuple(_said(grid, row.cells))].append(row.prog_type)
    for (name, said), of in types.items():
        yield name, ", ".join(of), said


def _said(grid: Availability, cells: Iterable[CellVerdict]) -> Iterator[tuple[Mark, str]]:
    """`holds on every kernel`; `broken on 6.18.15 (x86_64): error 0, expected error -EINVAL`."""
    groups: dict[tuple[str, str], list[CellVerdict]] = defaultdict(list)
    for cell in cells:
        groups[_word(cell), _reason(cell)].append(cell)
    for (word, reason), same in groups.items():
        mark = KNOWN_ISSUE if word == KNOWN else VERDICTS[same[0].verdict]
        where = places(grid, {cell.cell for cell in same})
        yield mark, f"{word} on {where}" + (f": {reason}" if reason else "")


def _word(claim: ClaimVerdict | CellVerdict) -> str:
    return KNOWN if claim.known_issue else str(claim.verdict)


def _reason(cell: CellVerdict) -> str:
    if cell.known_issue:
        return cell.known_issue
    if cell.verdict is Verdict.HOLDS:
        return ""
    if cell.verdict is Verdict.BROKEN:
        return plain(f"{cell.observed or 'nothing'}, expected {cell.expected}", _OBSERVED_WIDTH)
    return plain(cell.cause, _OBSERVED_WIDTH)
