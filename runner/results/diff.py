"""What became of the answers between two runs, two kernels, or two cells. Pure: judged cells in, changes out.

A change is one of the answer. What differs from boot to boot (addresses, counters within what a claim allows) is none.
Whether something got worse is said only where both sides have an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runner.model import Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell
from runner.results.stories import is_less, rank

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


@dataclass(frozen=True, slots=True)
class Names:
    """How the two sides are called, and which run holds each cell's evidence, by the cell's id."""

    before: str
    after: str
    old_runs: Mapping[str, str] = field(default_factory=dict)
    new_runs: Mapping[str, str] = field(default_factory=dict)
    runs: bool = True  # two runs were compared, not two kernels


Pair = tuple[JudgedCell, JudgedCell]


@dataclass(frozen=True, slots=True)
class Matching:
    """Which cell is compared with which; the ids of those that are gone, and that are new."""

    pairs: tuple[Pair, ...]
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def match_runs(before: Sequence[JudgedCell], after: Sequence[JudgedCell]) -> Matching:
    """The same kernel with itself; else what the matrix calls by the same name: a new build meets the one before."""
    by_id = {cell.id: cell for cell in before}
    by_name = {(cell.result.cell.name, cell.result.cell.arch): cell for cell in before}
    return _match(
        before, after, lambda cell: by_id.get(cell.id) or by_name.get((cell.result.cell.name, cell.result.cell.arch))
    )


def match_kernels(before: Sequence[JudgedCell], after: Sequence[JudgedCell]) -> Matching:
    """One kernel with another: by architecture; a single cell with a single cell, whatever they are."""
    if len(before) == len(after) == 1:
        return Matching(((before[0], after[0]),))
    by_arch = {cell.result.cell.arch: cell for cell in before}
    return _match(before, after, lambda cell: by_arch.get(cell.result.cell.arch))


def _match(
    before: Sequence[JudgedCell], after: Sequence[JudgedCell], find: Callable[[JudgedCell], JudgedCell | None]
) -> Matching:
    found = [(find(cell), cell) for cell in after]
    pairs = tuple((old, cell) for old, cell in found if old)
    met = {old.id for old, _ in pairs}
    return Matching(
        pairs=pairs,
        gone=tuple(cell.id for cell in before if cell.id not in met),
        new=tuple(cell.id for old, cell in found if old is None),
    )


def difference(matching: Matching, earlier: Mapping[str, Sequence[JudgedCell]] | None = None) -> Difference:
    """`earlier` are the judged results of newer cells that were booted again, by their ids, without the last one."""
    changes = [change for old, cell in matching.pairs for change in cell_changes(old, cell)]
    boots, once = _boots(matching.pairs, changes, earlier or {})
    kinds = list(Trend)
    return Difference(
        changes=tuple(sorted(changes, key=lambda it: kinds.index(it.kind))),
        compared=len(matching.pairs),
        gone=matching.gone,
        new=matching.new,
        boots=boots,
        once=once,
    )


def cell_changes(old: JudgedCell, new: JudgedCell) -> Iterator[Change]:
    """What changed in one cell. A cell that did not run says so once, not for every claim."""
    yield from _outcome(old, new)
    if old.result.outcome is not Outcome.RAN or new.result.outcome is not Outcome.RAN:
        return
    before = {_key(row): row for row in old.rows}
    for row in new.rows:
        earlier = before.get(_key(row))
        if earlier is None:
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


def _outcome(old: JudgedCell, new: JudgedCell) -> Iterator[Change]:
    before, after = old.result, new.result
    if before.outcome is not after.outcome:
        answers = (Outcome.RAN, Outcome.BOOT_FAILED)
        if after.outcome not in answers:
            kind = Trend.UNANSWERED if before.outcome in answers else Trend.TEXT
        elif before.outcome not in answers:
            kind = Trend.ANSWERED
        else:
            kind = Trend.BETTER if after.outcome is Outcome.RAN else Trend.WORSE
        words = [f"{it.outcome}: {it.cause}" if it.cause else str(it.outcome) for it in (before, after)]
        yield Change(kind, Key(Subject.CELL, "", new.id), words[0], words[1], old.id)
    judged = {row.probe for row in new.rows if row.verdict is not None}
    for probe in after.crashed:
        if probe not in before.crashed and probe not in judged:  # its row says so itself
            key = Key(Subject.CELL, probe, new.id)
            yield Change(Trend.WORSE, key, "did not crash the kernel", "crashed the kernel", old.id, probe)


_VERDICT_RANK = {Verdict.BROKEN: 1, Verdict.HOLDS: 2}


def _verdict_kind(old: Row, new: Row) -> Trend | None:
    before, after = _verdict_rank(old), _verdict_rank(new)
    if before is None and after is None:
        return None if old.verdict is new.verdict else Trend.OTHERWISE
    if after is None:
        return Trend.UNANSWERED if new.verdict is Verdict.NO_ANSWER else Trend.OTHERWISE
    if before is None:
        return Trend.ANSWERED
    if after != before:
        if after < before:
            return Trend.OTHERWISE if new.known_issue else Trend.WORSE  # it is understood, and fails no run either
        return Trend.BETTER
    if new.verdict is Verdict.HOLDS:
        # a counter within what the claim allows is no change
        same = _NUMBER.sub("", old.observed) == _NUMBER.sub("", new.observed)
        return None if same else Trend.TEXT
    return None if old.observed == new.observed else Trend.OTHERWISE


def _verdict_rank(row: Row) -> int | None:
    return 0 if row.crashed else _VERDICT_RANK.get(row.verdict or Verdict.NO_ANSWER)


def _state_kind(old: Row, new: Row) -> Trend | None:
    before, after = rank(old), rank(new)
    if before is None and after is None:
        return None
    if after is None:
        return Trend.UNANSWERED
    if before is None:
        return Trend.ANSWERED
    if old.state != new.state:
        if is_less(old, new):
            return Trend.WORSE
        return Trend.BETTER if is_less(new, old) else Trend.OTHERWISE
    if old.details.get("object") != new.details.get("object"):
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
