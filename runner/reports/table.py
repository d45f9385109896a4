# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tables of states have in common, for a terminal, Markdown and the site.

Types and architectures that answer alike share a line and a field; what is not there has a note, which says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from runner.model import ProgType, Row
from runner.probes.kinds import KINDS, Kind
from runner.reports.drawing import state_words
from runner.reports.findings import alike, subject_cause
from runner.results.availability import Availability, Column, Topic, is_beside, places
from runner.text import plain, some

_CAUSE_WIDTH = 160
_NAMES = 6  # subjects named in one note
_Field = TypeVar("_Field")
Text = Callable[[Topic, Column], str]  # what a field says, as far as it tells answers apart


@dataclass(frozen=True, slots=True)
class Line:
    """A subject, and its types that answered alike on every kernel. The first topic stands for all."""

    topics: tuple[Topic, ...]

    @property
    def topic(self) -> Topic:
        return self.topics[0]

    @property
    def types(self) -> str:
        """`tc, xdp`"""
        return ", ".join(filter(None, (it.type for it in self.topics)))


def lines(grid: Availability, text: Text) -> tuple[Line, ...]:
    """In the order of the topics."""
    groups = alike(
        grid.topics, lambda topic: (topic.kind, topic.subject, *(text(topic, column) for column in grid.columns))
    )
    return tuple(Line(tuple(group)) for group in groups)


def shared(fields: Sequence[_Field]) -> Sequence[_Field]:
    """One of the fields where all are equal."""
    return fields[:1] if all(field == fields[0] for field in fields) else fields


def differs(topic: Topic, grid: Availability) -> tuple[bool, bool]:
    """Do architectures of one kernel differ; do kernels? One of several worst states is as good as another."""
    ranks = [[_rank(topic, column, grid) for column in on] for _, on in grid.kernels]
    return any(len(set(of)) > 1 for of in ranks), len({rank for of in ranks for rank in of}) > 1


def is_nowhere(topic: Topic, grid: Availability) -> bool:
    """Is every answer one of the worst?"""
    return {_rank(topic, column, grid) for column in grid.columns} == {0}


def _rank(topic: Topic, column: Column, grid: Availability) -> int | str:
    row = grid.state(topic, column)
    known = KINDS[row.kind].rank(row.state)
    return row.state if known is None else known


def archs_note(grid: Availability) -> str:
    """Of which architectures a mark is, and how a field with several is read; empty where there is one."""
    archs = list(dict.fromkeys(column.arch for column in grid.columns))
    if len(archs) < 2:
        return ""
    apart = any(differs(topic, grid)[0] for topic in grid.topics)
    return f"several marks: {'/'.join(archs)}" if apart else f"{', '.join(archs)} agree"


def archs_of(on: Sequence[Column], grid: Availability) -> str:
    """Of a kernel, where these are not those of all kernels."""
    mine, every = ([column.arch for column in each] for each in (on, grid.columns))
    return "/".join(mine) if len(set(every)) == 1 or set(mine) != set(every) else ""


# --- notes: why something is not there, one for each state and cause, however many fields of the grid share it -------


@dataclass(frozen=True, slots=True)
class Note:
    """`row` is the first of those that it is about. `where` says in words which: a phrase per group of subjects."""

    number: int
    row: Row
    cause: str
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes, and the number of the note of each field (cell id, topic) that has one."""

    notes: tuple[Note, ...]
    numbers: Mapping[tuple[str, Topic], int]


def notes(grid: Availability) -> Notes:
    """Numbered by state, then in the order in which one meets them when reading the grid."""
    fields: dict[tuple[str, str, str], dict[Topic, set[str]]] = defaultdict(lambda: defaultdict(set))
    firsts: dict[tuple[str, str, str], Row] = {}
    for topic in grid.topics:
        for column in grid.columns:
            row = grid.state(topic, column)
            word, other = KINDS[row.kind].shown_as(row).word, row.subject != topic.subject
            if word != KINDS[row.kind].best or other:
                key = (word, f"called {_alike(row.subject, topic)} here" if other else _cause(row), row.kind)
                fields[key][topic].add(column.cell.id)
                firsts.setdefault(key, row)
    order = [each.word for each in state_words(topic.kind for topic in grid.topics)]
    numbered = list(enumerate(sorted(fields, key=lambda key: order.index(key[0])), start=1))
    return Notes(
        notes=tuple(Note(number, firsts[key], key[1], _where(grid, fields[key])) for number, key in numbered),
        numbers={
            (cell, topic): number for number, key in numbered for topic in fields[key] for cell in fields[key][topic]
        },
    )


def _cause(row: Row) -> str:
    """Without the subject's own name, so that one cause of many subjects stays one."""
    return plain(subject_cause(row), _CAUSE_WIDTH) or "cause not recorded"


def _alike(name: str, topic: Topic) -> str:
    """Another name of the subject, so that names which differ alike are one cause."""
    return plain(name).replace(topic.subject, f"<{KINDS[topic.kind].subject}>")


def _where(grid: Availability, topics: Mapping[Topic, set[str]]) -> tuple[str, ...]:
    """Subjects with the same types on the same kernels share a phrase."""
    types: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
    for topic, cells in topics.items():
        types[topic.subject, frozenset(cells)].append(topic.type)
    subjects: dict[tuple[tuple[str, ...], frozenset[str]], list[str]] = defaultdict(list)
    for (subject, on), of in types.items():
        subjects[tuple(of), on].append(subject)
    every = len({topic.subject for topic in grid.topics})
    phrases = []
    for (of_types, on), names in subjects.items():
        what = f"every {head(grid.topics)}" if 1 < len(names) == every else some(names, _NAMES)
        of_type = f" ({', '.join(filter(None, of_types))})" if any(of_types) else ""
        phrases.append(f"{what}{of_type} on {places(grid, on)}")
    return tuple(phrases)


def head(topics: Iterable[Topic]) -> str:
    """What they are about: `kfunc`, or `subject` where kinds differ."""
    names = {KINDS[topic.kind].subject for topic in topics}
    return names.pop() if len(names) == 1 else Kind.subject


def question(grid: Availability, of_type: str = "") -> str:
    """What the grid answers, about programs of a type."""
    due = [topic for topic in grid.topics if not is_beside(topic.kind)] or grid.topics
    asked = {KINDS[topic.kind].question for topic in due}
    words = asked.pop() if len(asked) == 1 else Kind.question
    words = words.format(subject=head(due), programs=f"{of_type.upper()} programs".lstrip())
    return words[0].upper() + words[1:]


def types_of(grid: Availability) -> list[str]:
    """The program types in the kernel's order, then what other kinds of probe call theirs."""
    known: list[str] = list(ProgType)
    found = {topic.type for topic in grid.topics}
    return [*(it for it in known if it in found), *sorted(found.difference(known))]
