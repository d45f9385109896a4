"""Every verdict of a run, compactly: probes down, and for each the kernels with the same verdict together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Mark, Plain, Row, Verdict
from runner.reports.drawing import KNOWN_ISSUE, VERDICTS, Trimmed, columns
from runner.reports.findings import alike
from runner.reports.summary import covers, sentences
from runner.results.availability import Availability, availability, places
from runner.results.model import JudgedRun
from runner.text import plain

KNOWN = "known issue"  # a word for --verdict beside those of Verdict
WORDS = (*(str(verdict) for verdict in Verdict), KNOWN)
_OBSERVED_WIDTH = 200


class CellVerdict(Plain):
    """One cell's verdict on a probe, with what was expected and observed there."""

    cell: str
    verdict: Verdict
    expected: str
    observed: str
    cause: str
    known_issue: str
    crashed: bool


class ProbeVerdicts(Plain):
    """One probe for one program type, on every cell of the run that is asked for."""

    id: str
    kfunc: str  # or what else it is about
    prog_type: str
    cells: tuple[CellVerdict, ...]


@dataclass(frozen=True, slots=True)
class WantedVerdicts:
    """Which verdicts to show: a pattern of subjects (empty: all), and words of WORDS (none: all)."""

    subject: str = ""
    verdicts: frozenset[str] = frozenset()

    def has(self, row: Row) -> bool:
        if row.verdict is None or (self.subject and not fnmatchcase(row.subject, self.subject)):
            return False
        return not self.verdicts or not self.verdicts.isdisjoint({_word(row), str(row.verdict)})


def probe_verdicts(judged: JudgedRun, wanted: WantedVerdicts = WantedVerdicts()) -> tuple[ProbeVerdicts, ...]:
    """What is wanted, in the order of the probes; also what `--format json` prints."""
    found: dict[tuple[str, str, str], list[CellVerdict]] = defaultdict(list)
    for column in availability(judged).columns:
        for row in filter(wanted.has, column.cell.rows):
            same = {name: getattr(row, name) for name in CellVerdict.model_fields if name != "cell"}
            found[row.probe, row.subject, row.type].append(CellVerdict(cell=column.cell.id, **same))
    order = {row.probe: at for cell in judged.cells for at, row in enumerate(cell.rows)}
    return tuple(
        ProbeVerdicts(
            id=probe.removesuffix(f":{of}"), kfunc=subject, prog_type=of, cells=tuple(found[probe, subject, of])
        )
        for probe, subject, of in sorted(found, key=lambda key: order[key[0]])
    )


def verdicts_report(judged: JudgedRun, wanted: WantedVerdicts = WantedVerdicts()) -> RenderableType:
    """Probes whose program types have the same verdicts on the same kernels share a line."""
    grid = availability(judged)
    table = columns("", "", "", no_wrap=frozenset({0, 1}))
    lines = [(each, tuple(_said(grid, each.cells))) for each in probe_verdicts(judged, wanted)]
    for same in alike(lines, lambda it: (it[0].id, it[1])):
        probe, said = same[0]
        types = ", ".join(each.prog_type for each, _ in same)
        for at, (mark, line) in enumerate(said):
            # every line can be found by its probe's name
            table.add_row(Text(probe.id, "dim" if at else ""), Text(types, "dim"), Text(line, mark.style))
    figures = [Text(sentence) for sentence in (*sentences(judged)[:2], covers(judged))]
    return Trimmed(Group(table if table.row_count else Text("No verdict is like that."), Text(), *figures))


def _said(grid: Availability, cells: Iterable[CellVerdict]) -> Iterator[tuple[Mark, str]]:
    """`holds on every kernel`; `broken on 6.18.15 (x86_64): error 0, expected error -EINVAL`."""
    for same in alike(cells, lambda cell: (_word(cell), _reason(cell))):
        word, reason = _word(same[0]), _reason(same[0])
        mark = KNOWN_ISSUE if word == KNOWN else VERDICTS[same[0].verdict]
        where = places(grid, {cell.cell for cell in same})
        yield mark, f"{word} on {where}" + (f": {reason}" if reason else "")


def _word(of: Row | CellVerdict) -> str:
    return KNOWN if of.known_issue else str(of.verdict)


def _reason(cell: CellVerdict) -> str:
    if cell.known_issue:
        return cell.known_issue
    if cell.verdict is Verdict.HOLDS:
        return ""
    if cell.verdict is Verdict.BROKEN:
        return plain(f"{cell.observed or 'nothing'}, expected {cell.expected}", _OBSERVED_WIDTH)
    return plain(cell.cause, _OBSERVED_WIDTH)
