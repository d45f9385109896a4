# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What became of the answers between two runs, kernels, cells, or builds. Pure: judged cells in, changes out.

A change is one of the answer. What differs from boot to boot (addresses, counters within what is expected) is none.
Whether something got worse is said only where both sides have an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import is_

from runner.model import NO_ANSWER, Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.results.availability import rank
from runner.results.model import JudgedCell, JudgedRun, Side

_NUMBER = re.compile(r"\d+")


class Trend(StrEnum):
    """In the order in which they matter."""

    WORSE = "worse"
    UNANSWERED = "no answer any more"
    OTHERWISE = "otherwise"  # broken in another way, or by a known issue; not there instead of not allowed
    BETTER = "better"
    ANSWERED = "answered now"
    TEXT = "other words"


class Subject(StrEnum):
    CELL = "cell"
    VERDICT = "verdict"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Key:
    """What a change is about. `name` is a probe, a subject with its type, or empty for the cell itself."""

    subject: Subject
    name: str
    cell: str  # the id of the newer one


@dataclass(frozen=True, slots=True)
class Change:
    """`before` and `after` in words. `probe` shows the evidence of both; empty where the whole cell does. `row` is the
    newer one, where it is about one."""

    kind: Trend
    key: Key
    before: str
    after: str
    old_cell: str
    probe: str = ""
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`gone` and `new` cells have nothing to be compared with. Both are ids."""

    before: Side
    after: Side
    changes: tuple[Change, ...]
    compared: int  # pairs of cells
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    boots: Mapping[Key, int] = field(default_factory=dict)  # how many boots showed a change for the worse
    once: tuple[Change, ...] = ()  # for the worse, in one boot; a fresh boot of the same cell did not show it

    @property
    def worse(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind is Trend.WORSE)

    @property
    def nothing(self) -> bool:
        """Is everything the same?"""
        return not (self.changes or self.gone or self.new)

    def confirmed(self, change: Change) -> bool:
        return self.boots.get(change.key, 1) > 1


Pair = tuple[JudgedCell, JudgedCell]


def pairs(before: Side, after: Side) -> Iterator[Pair]:
    """Which cell is compared with which. Of runs the same kernel with itself, or what the matrix calls by the same
    name: a new build meets the one before. Kernels by architecture; a single cell with a single one, whatever it is."""
    runs = before.is_run and after.is_run
    if not runs and len(before.cells) == len(after.cells) == 1:
        yield before.cells[0], after.cells[0]
        return
    known = {key: cell for cell in before.cells for key in _keys(cell, runs)}
    for new in after.cells:
        if old := next((known[key] for key in _keys(new, runs) if key in known), None):
            yield old, new


def trend_order(change: Change) -> int:
    return list(Trend).index(change.kind)


def _keys(it: JudgedCell, runs: bool) -> tuple[object, ...]:
    """What a cell is found by, the best first."""
    cell = it.result.cell
    return (cell.id, (cell.name, cell.arch)) if runs else (cell.arch,)


def difference(before: Side, after: Side, earlier: Mapping[str, Sequence[JudgedCell]] | None = None) -> Difference:
    """`earlier` are the judged results of newer cells that were booted again, by their ids, without the last one."""
    matched = tuple(pairs(before, after))
    changes = [change for old, cell in matched for change in cell_changes(old, cell)]
    boots, once = _boots(matched, changes, earlier or {})
    old_met, new_met = {old.id for old, _ in matched}, {new.id for _, new in matched}
    return Difference(
        before=before,
        after=after,
        changes=tuple(sorted(changes, key=trend_order)),
        compared=len(matched),
        gone=tuple(cell.id for cell in before.cells if cell.id not in old_met),
        new=tuple(cell.id for cell in after.cells if cell.id not in new_met),
        boots=boots,
        once=once,
    )


def cell_changes(old: JudgedCell, new: JudgedCell) -> Iterator[Change]:
    """What changed in one cell. A cell that did not run says so once, not for every probe."""
    yield from _outcome(old, new)
    if old.result.outcome is not Outcome.RAN or new.result.outcome is not Outcome.RAN:
        return
    if len(old.rows) == len(new.rows) and all(map(is_, old.rows, new.rows)):
        return
    before = {_key(row): row for row in old.rows}
    for row in new.rows:
        earlier = before.get(_key(row))
        if earlier is None or earlier is row:
            continue
        if row.verdict and (kind := _verdict_kind(earlier, row)):  # what is broken comes before what is otherwise
            key = Key(Subject.VERDICT, row.probe, new.id)
            yield Change(kind, key, _verdict_words(earlier), _verdict_words(row), old.id, row.probe, row)
        elif row.state and (kind := _state_kind(earlier, row)):
            fully = earlier.state == row.state  # then what differs is not the state
            words = _state_words(earlier, fully), _state_words(row, fully)
            key = Key(Subject.STATE, f"{row.subject} ({row.type})" if row.type else row.subject, new.id)
            yield Change(kind, key, *words, old.id, row=row)


def _key(row: Row) -> tuple[str, str, str, str]:
    return (row.kind, row.probe, row.subject, row.type)


def _boots(
    matched: Iterable[Pair], changes: Iterable[Change], earlier: Mapping[str, Sequence[JudgedCell]]
) -> tuple[dict[Key, int], tuple[Change, ...]]:
    """How many boots showed each change for the worse; and those that only an earlier boot showed."""
    boots = {change.key: 1 for change in changes if change.kind is Trend.WORSE}
    once: dict[Key, Change] = {}
    for old, new in matched:
        for attempt in earlier.get(new.id, ()):
            for change in cell_changes(old, attempt):
                if change.kind is not Trend.WORSE:
                    continue
                if change.key in boots:
                    boots[change.key] += 1
                elif new.result.outcome in (Outcome.RAN, Outcome.BOOT_FAILED):
                    once.setdefault(change.key, change)
    return boots, tuple(once.values())


def _trend(before: int | None, after: int | None) -> Trend | None:
    """From one rank to another, the lower of which is the worse; None is no answer. None: the same."""
    if before is None or after is None:
        return None if before is after else Trend.ANSWERED if before is None else Trend.UNANSWERED
    return None if before == after else Trend.WORSE if after < before else Trend.BETTER


_OUTCOME_RANK = {Outcome.BOOT_FAILED: 0, Outcome.RAN: 1}
_VERDICT_RANK = {Verdict.BROKEN: 1, Verdict.HOLDS: 2}


def _outcome(old: JudgedCell, new: JudgedCell) -> Iterator[Change]:
    before, after = old.result, new.result
    if before.outcome is not after.outcome:
        kind = _trend(_OUTCOME_RANK.get(before.outcome), _OUTCOME_RANK.get(after.outcome)) or Trend.TEXT
        words = [f"{it.outcome}: {it.cause}" if it.cause else str(it.outcome) for it in (before, after)]
        yield Change(kind, Key(Subject.CELL, "", new.id), words[0], words[1], old.id)
    judged = {row.probe for row in new.rows if row.verdict is not None}
    for probe in after.crashed:
        if probe not in before.crashed and probe not in judged:  # its row says so itself
            key = Key(Subject.CELL, probe, new.id)
            yield Change(Trend.WORSE, key, "did not crash the kernel", "crashed the kernel", old.id, probe)


def _verdict_kind(old: Row, new: Row) -> Trend | None:
    kind = _trend(_verdict_rank(old), _verdict_rank(new))
    if kind is Trend.WORSE and new.known_issue:  # it is understood, and fails no run either
        return Trend.OTHERWISE
    if kind is Trend.UNANSWERED and new.verdict is not Verdict.NO_ANSWER:
        return Trend.OTHERWISE
    if kind or old.verdict is not new.verdict:
        return kind or Trend.OTHERWISE
    if new.verdict is Verdict.HOLDS:
        # a counter within what is expected is no change
        return None if _NUMBER.sub("", old.observed) == _NUMBER.sub("", new.observed) else Trend.TEXT
    return Trend.OTHERWISE if new.verdict is Verdict.BROKEN and old.observed != new.observed else None


def _verdict_rank(row: Row) -> int | None:
    return 0 if row.crashed else _VERDICT_RANK.get(row.verdict or Verdict.NO_ANSWER)


def _state_kind(old: Row, new: Row) -> Trend | None:
    kind = _trend(rank(old), rank(new))
    if kind or not new.answered:
        return kind
    if old.state != new.state or old.details.get("object") != new.details.get("object"):
        return Trend.OTHERWISE
    if new.state == KINDS[new.kind].best:  # its errno is of a program without proper arguments
        return None
    if old.errno != new.errno:
        return Trend.OTHERWISE
    return None if old.cause == new.cause else Trend.TEXT


def _verdict_words(row: Row) -> str:
    if row.crashed:
        return "crashed the kernel"
    verdict = f"{row.verdict} (known issue {row.known_issue})" if row.known_issue else str(row.verdict)
    return ": ".join(filter(None, (verdict, row.observed or row.cause)))


def _state_words(row: Row, fully: bool) -> str:
    owner = row.details.get("object")
    where = f" in {owner}" if owner else ""
    more = f"{where}, errno {row.errno}" if fully else ""
    return ": ".join(filter(None, (f"{row.state}{more}", row.cause)))


# --- two builds of one object, asked in the same boots or one after the other -----------------------------------------

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
    """What differs between builds that the same boots were asked about; None when no object has two."""
    pairs = [(cell, old, new) for cell in judged.cells for old, new in _of_builds(cell)]
    return _compared(pairs) if pairs else None


def rounds_compared(before: JudgedRun, after: JudgedRun) -> Compared:
    """What differs between two runs of the same objects on the same kernels, as built before and after."""
    olds = {cell.id: {row.subject: row for row in cell.rows} for cell in before.cells}
    found = [(cell, olds[cell.id], {row.subject: row for row in cell.rows}) for cell in after.cells if cell.id in olds]
    return _compared([(cell, old.get(it), new.get(it)) for cell, old, new in found for it in {**new, **old}])


def _compared(pairs: Sequence[tuple[JudgedCell, Row | None, Row | None]]) -> Compared:
    return Compared(
        subjects=len(pairs),
        changes=tuple(it for each in pairs if (it := _changed(*each))),
        open=any(row and not row.answered for _, *rows in pairs for row in rows),
    )


def _of_builds(cell: JudgedCell) -> Iterator[tuple[Row | None, Row | None]]:
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
        return Changed(cell.id, row.subject, _build_words(old), _build_words(new), None) if row else None
    trend = _verdict_kind(old, new) if new.verdict else _state_kind(old, new)
    was, now = old.numbers, new.numbers
    differ = [] if trend else [name for name in was if name in now and was[name] != now[name]]
    if not trend and not differ:
        return None
    before, after = (_build_words(row, [f"{it} {of[it]}" for it in differ]) for row, of in ((old, was), (new, now)))
    return Changed(cell.id, new.subject, before, after, trend)


def _build_words(row: Row | None, numbers: Sequence[str] = ()) -> str:
    if row is None:
        return GONE
    said = NO_ANSWER if not row.answered else row.state
    return ", ".join([": ".join(filter(None, (said, row.cause))), *numbers])
