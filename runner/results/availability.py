# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What of which type has which state on which kernel: a judged run as a grid of states."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from runner.model import NO_ANSWER, Outcome, Row
from runner.model.architecture import arch_order
from runner.probes.kind import OTHERS
from runner.probes.kinds import KINDS
from runner.results.model import JudgedCell, JudgedRun


@dataclass(frozen=True, slots=True)
class Column:
    """One cell of the run. `kernel` is its id without the architecture: the columns of one kernel stand together."""

    cell: JudgedCell
    kernel: str
    arch: str


class Topic(NamedTuple):  # a tuple is hashed and compared much faster than a dataclass
    """What a line of the grid is about: a kfunc and a program type, as one kind of probe sees it."""

    subject: str
    type: str
    kind: str


@dataclass(frozen=True, slots=True)
class Availability:
    """Columns by kernel version, then architecture; topics by family, subject, then type, or as Kind.place says.

    Every field has a state.
    """

    columns: tuple[Column, ...]
    topics: tuple[Topic, ...]
    hidden: Mapping[str, int]  # by kind, how many subjects were asked about and have no topic here
    _states: Mapping[tuple[str, Topic], Row]
    _families: Mapping[tuple[str, str], str]  # by kind and subject
    _newest: Mapping[str, str]  # of each name that is not its subject's newest

    def subject(self, name: str) -> str:
        """The subject that has this name on some kernel: of a kfunc that was renamed, its newest name."""
        return self._newest.get(name, name)

    def family(self, topic: Topic) -> str:
        """The heading below which long tables list it; empty: it has none."""
        return self._families.get((topic.kind, topic.subject), "")

    def state(self, topic: Topic, column: Column) -> Row:
        """What is known; where nothing was asked or answered, that is "no answer", with the cell's own cause."""
        known = self._states.get((column.cell.id, topic))
        if known:
            return known
        result = column.cell.result
        cause = "not asked" if result.outcome is Outcome.RAN else f"{result.outcome}: {result.cause}"
        return Row(topic.kind, "", topic.subject, topic.type, NO_ANSWER, cause=cause)

    @property
    def kernels(self) -> tuple[tuple[str, tuple[Column, ...]], ...]:
        """The columns, grouped by kernel."""
        return tuple((name, tuple(columns)) for name, columns in groupby(self.columns, key=lambda it: it.kernel))


def availability(judged: JudgedRun, *, every: bool = False, whole: bool = False) -> Availability:
    """The grid of a run: the subjects of which something is expected, and all of a kind of which nothing is.

    Of kinds for which not every type counts, those that do. With `whole`, every subject, also what is asked beside the
    claims; with `every`, all that was asked about.
    """
    types, newest = _types(judged.cells), _newest(judged.cells)
    states = _by_place(judged.cells, types, newest)
    asked = {topic for _, topic in states}
    answered = {topic[:2] for topic in asked}
    asked |= {topic for topic in _unanswered(judged.cells, types, newest) if topic[:2] not in answered}
    subjects = {row.subject for cell in judged.cells for row in cell.rows if row.verdict is not None}
    expected = {newest.get(name, name) for name in subjects}
    judged_kinds = {topic.kind for topic in asked if topic.subject in expected}
    shown = {
        topic
        for topic in asked
        if every
        or (whole and is_beside(topic.kind))
        or (counts(topic) and (whole or topic.subject in expected or topic.kind not in judged_kinds))
    }
    families = _families(states, shown)
    return Availability(
        columns=tuple(
            sorted(
                map(_column, judged.cells),
                key=lambda it: (it.cell.result.cell.kernel.upstream, it.kernel, arch_order(it.arch)),
            )
        ),
        topics=_ordered(shown, [topic for _, topic in states], families),
        hidden=Counter(kind for kind, _ in sorted({*map(_named, asked)} - {*map(_named, shown)})),
        _states=states,
        _families=families,
        _newest=newest,
    )


def _newest(cells: Iterable[JudgedCell]) -> Mapping[str, str]:
    names = {row.subject: row.details.get("names") for cell in cells for row in cell.rows if row.state}
    return {name: str(of[0]) for name, of in names.items() if isinstance(of, list) and of and of[0] != name}


def _by_place(
    cells: Iterable[JudgedCell], types: Mapping[tuple[str, str], str], newest: Mapping[str, str]
) -> Mapping[tuple[str, Topic], Row]:
    """By cell and topic; of a subject with two names there, the row of the one that the kernel knows better."""
    found: dict[tuple[str, Topic], Row] = {}

    def known(row: Row) -> tuple[int, bool]:
        return rank(row) or 0, row.subject not in newest

    for cell_id, row in ((cell.id, row) for cell in cells for row in cell.rows if row.state):
        place = cell_id, _topic(row, types, newest)
        other = found.get(place)
        if other is None or other.subject == row.subject or known(row) >= known(other):
            found[place] = row
    return found


def _named(topic: Topic) -> tuple[str, str]:
    return topic.kind, topic.subject


def _families(states: Mapping[tuple[str, Topic], Row], shown: Set[Topic]) -> Mapping[tuple[str, str], str]:
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for (_, topic), row in states.items():
        if topic in shown:
            rows[topic.kind, topic.subject].append(row)
    return {subject: family(mine) for subject, mine in rows.items()}


def _types(cells: Sequence[JudgedCell]) -> dict[tuple[str, str], str]:
    """By kind and subject, where that has one type."""
    return {
        (row.kind, row.subject): row.type
        for cell in cells
        for row in cell.rows
        if row.type and KINDS[row.kind].one_type
    }


def _topic(row: Row, types: Mapping[tuple[str, str], str], newest: Mapping[str, str]) -> Topic:
    of_type = types.get((row.kind, row.subject), row.type) if types else row.type
    return Topic(newest.get(row.subject, row.subject), of_type, row.kind)


def _ordered(topics: Set[Topic], seen: Sequence[Topic], families: Mapping[tuple[str, str], str]) -> tuple[Topic, ...]:
    """`seen` are topics in the order of the rows."""
    first = {topic: at for at, topic in enumerate(dict.fromkeys(seen))}
    places = {topic: KINDS[topic.kind].place(topic.subject) for topic in topics}
    groups: dict[str, int] = {"": -1}
    for topic in sorted(topics, key=lambda it: first.get(it, 0)):
        groups.setdefault(places[topic].group, first.get(topic, 0))

    def order(topic: Topic) -> tuple[int, int, int, bool, bool, str, Topic]:
        place, named = places[topic], families.get((topic.kind, topic.subject), "")
        at = first.get(topic, 0) if place.group else 0
        last = named.startswith(OTHERS) or not named
        return groups[place.group], place.rank, at, is_beside(topic.kind), last, named, topic

    return tuple(sorted(topics, key=order))


def _unanswered(
    cells: Sequence[JudgedCell], types: Mapping[tuple[str, str], str], newest: Mapping[str, str]
) -> Iterator[Topic]:
    """What would have been asked where a cell did not run."""
    for cell in cells:
        if cell.result.outcome is not Outcome.RAN:
            yield from (_topic(row, types, newest) for row in cell.rows if not row.answered)


def rank(row: Row) -> int | None:
    """Of two answers the lower is the worse one; 0 is the worst. None: not an answer."""
    return KINDS[row.kind].rank(row.state)


def is_beside(kind: str) -> bool:
    """Is nothing due of it: is it asked about what no claim is about?"""
    return KINDS[kind].due == frozenset()


def family(rows: Iterable[Row]) -> str:
    """Of one subject: the first that is told."""
    return next((name for row in rows if (name := KINDS[row.kind].family(row))), "")


def counts(topic: Topic) -> bool:
    """Is it shown unless all are wanted?"""
    due = KINDS[topic.kind].due
    return due is None or topic.type in due


def places(grid: Availability, cell_ids: Set[str]) -> str:
    """Cells in words: `every kernel`, or `6.1.192, 6.12.117 (x86_64, arm64); 7.3.4 (arm64)`."""
    if len(grid.columns) > 1 and cell_ids >= {column.cell.id for column in grid.columns}:
        return "every kernel"
    chosen = [(name, [it.arch for it in columns if it.cell.id in cell_ids]) for name, columns in grid.kernels]
    kernels = [(name, ", ".join(archs)) for name, archs in chosen if archs]
    return "; ".join(
        f"{', '.join(name for name, _ in group)} ({archs})" for archs, group in groupby(kernels, key=lambda it: it[1])
    )


def _column(cell: JudgedCell) -> Column:
    arch = cell.result.cell.arch
    return Column(cell, cell.id.removesuffix(f"-{arch}"), arch)
