"""What a run answered that the one before it did not: a line per change, however many cells share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.model import ANSWERS
from runner.results.diff import Kind, Matching, difference
from runner.results.model import JudgedCell, JudgedRun
from runner.text import plain

_SHOWN = (Kind.WORSE, Kind.OTHERWISE, Kind.BETTER)  # what has no answer, before or after, is no change
_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Change:
    """`where` are cells."""

    what: str
    before: str
    after: str
    kind: Kind
    where: tuple[str, ...]


def changes(runs: Sequence[JudgedRun]) -> dict[str, tuple[Change, ...]]:
    """For each run its changes. A cell is held against its last earlier answer: runs of a part of the matrix do not
    make the others look new. Kernels are known by their names in the matrix: their versions change from run to run.
    """
    last: dict[tuple[str, str], JudgedCell] = {}
    found = {}
    for judged in sorted(runs, key=lambda judged: judged.run.started):
        answered = {(it.result.cell.name, it.result.cell.arch): it for it in judged.cells if _answers(it)}
        pairs = tuple((last[place], cell) for place, cell in answered.items() if place in last)
        found[judged.run.id] = _grouped(Matching(pairs))
        last |= answered
    return found


def _answers(cell: JudgedCell) -> bool:
    return cell.result.outcome in ANSWERS


def _grouped(matching: Matching) -> tuple[Change, ...]:
    groups: dict[tuple[str, str, str, Kind], list[str]] = {}
    for change in difference(matching).changes:
        if change.kind in _SHOWN:
            words = (plain(change.key.name) or "the cell", plain(change.before, _WIDTH), plain(change.after, _WIDTH))
            groups.setdefault((*words, change.kind), []).append(change.key.cell)
    return tuple(Change(*group, tuple(where)) for group, where in groups.items())
