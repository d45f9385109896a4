# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two builds of one object, asked in the same boots or one after the other: what differs.

Pure: judged cells in, changes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.model import NO_ANSWER, Row
from runner.probes.kinds import KINDS
from runner.results.diff import Trend, row_trend
from runner.results.model import JudgedCell, JudgedRun

GONE = "not in this build"


@dataclass(frozen=True, slots=True)
class Changed:
    """A subject of one cell. `before` and `after` in words; `trend` is None where only numbers differ, or it is new."""

    cell: str  # its id
    subject: str
    before: str
    after: str
    trend: Trend | None

    @property
    def what(self) -> str:
        """`worse`, `new`, `gone`, `other numbers`"""
        if self.trend:
            return self.trend
        return "new" if self.before == GONE else "gone" if self.after == GONE else "other numbers"


@dataclass(frozen=True, slots=True)
class Compared:
    """`changes` in the order of cells and rows. `open`: something has no answer, so more may differ."""

    subjects: int  # in all cells
    changes: tuple[Changed, ...]
    open: bool

    @property
    def worse(self) -> bool:
        return any(change.trend is Trend.WORSE for change in self.changes)


def builds_compared(judged: JudgedRun) -> Compared | None:
    """What differs between the builds; None when the run has no two builds of one object."""
    found = [(cell, list(_pairs(cell))) for cell in judged.cells]
    rows = [row for _, pairs in found for pair in pairs for row in pair if row]
    if not rows:
        return None
    return Compared(
        subjects=sum(len(pairs) for _, pairs in found),
        changes=tuple(it for cell, pairs in found for old, new in pairs if (it := _changed(cell, old, new))),
        open=any(not row.answered for row in rows),
    )


def rounds_compared(before: JudgedRun, after: JudgedRun) -> Compared:
    """What differs between two runs of the same objects on the same kernels, as built before and after."""
    olds = {cell.id: {row.subject: row for row in cell.rows} for cell in before.cells}
    found = [(cell, olds[cell.id], {row.subject: row for row in cell.rows}) for cell in after.cells if cell.id in olds]
    pairs = [(cell, old.get(subject), new.get(subject)) for cell, old, new in found for subject in {**new, **old}]
    return Compared(
        subjects=len(pairs),
        changes=tuple(it for each in pairs if (it := _changed(*each))),
        open=any(row and not row.answered for _, *rows in pairs for row in rows),
    )


_Pair = tuple[Row | None, Row | None]


def _pairs(cell: JudgedCell) -> Iterator[_Pair]:
    """What both builds answered, in the order of the newer one."""
    groups = {_group(row.kind, row.subject) for row in cell.rows}
    wanted = {row.subject: KINDS[row.kind].place(row.subject).earlier for row in cell.rows}
    new = [row for row in cell.rows if wanted[row.subject] and _group(row.kind, wanted[row.subject]) in groups]
    olds = {_group(row.kind, wanted[row.subject]) for row in new}
    old = {row.subject: row for row in cell.rows if _group(row.kind, row.subject) in olds}
    for row in new:
        yield old.pop(wanted[row.subject], None), row
    yield from ((row, None) for row in old.values())


def _group(kind: str, subject: str) -> str:
    return KINDS[kind].place(subject).group


def _changed(cell: JudgedCell, old: Row | None, new: Row | None) -> Changed | None:
    if not (old and new):
        row = new or old
        return Changed(cell.id, row.subject, _words(old), _words(new), None) if row else None
    trend = row_trend(old, new)
    was, now = old.numbers, new.numbers
    differ = [] if trend else [name for name in was if name in now and was[name] != now[name]]
    if not trend and not differ:
        return None
    before, after = (_words(row, [f"{it} {of[it]}" for it in differ]) for row, of in ((old, was), (new, now)))
    return Changed(cell.id, new.subject, before, after, trend)


def _words(row: Row | None, numbers: Sequence[str] = ()) -> str:
    if row is None:
        return GONE
    said = NO_ANSWER if not row.answered else row.state
    return ", ".join([": ".join(filter(None, (said, row.cause))), *numbers])
