# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A grid that is longer than a screen, for a terminal: counts by family, and where architectures or kernels differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from runner.model import StateWord
from runner.probes.kinds import KINDS, OTHERS
from runner.reports.drawing import Trimmed, columns, section, state_mark, state_words
from runner.reports.findings import alike
from runner.reports.grid import Grid, head, legend, more, notes
from runner.reports.table import Line, archs_of, differs, lines, shared
from runner.results.availability import Availability, Column, Topic
from runner.text import some

LONG = 40  # lines
_NAMES = 4  # of those with one pattern
_PLACES = 2  # of one note

_Row = Sequence[str | Text]


@dataclass(frozen=True, slots=True)
class Brief:
    """Of a grid with more than LONG lines; else the grid itself."""

    whole: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = self.whole.grid
        every = lines(grid, lambda topic, column: _mark(grid, topic, column).plain)
        if len(every) <= LONG:
            yield self.whole
            return
        name, kernels = head(grid.topics), [_kernel(grid, kernel, on) for kernel, on in grid.kernels]
        apart: list[_Row] = [
            (_name(line), line.types, *_fields(grid, line)) for line in every if differs(line, grid)[0]
        ]
        parts = [
            section(f"{name}s, for each program type", columns(_counts(grid, every), "family", *kernels)),
            *([section("Architectures differ", columns(apart, name, "type", *kernels))] if apart else []),
            *_kernels(grid, every, [*kernels, "type", f"{name}s"]),
            legend(grid),
            *more(self.whole),
            Text(),
            section("Why not more", columns(_why(grid), no_wrap=(0,))),
        ]
        yield Trimmed(Group(*parts))


def _kernel(grid: Availability, name: str, on: Sequence[Column]) -> str:
    return " ".join(filter(None, (name, archs_of(on, grid))))


def _name(line: Line) -> str:
    return KINDS[line.topic.kind].place(line.topic.subject).name


def _mark(grid: Availability, topic: Topic, column: Column) -> Text:
    mark = state_mark(grid.state(topic, column))
    return Text(mark.sign, mark.style)


def _fields(grid: Availability, line: Line) -> Iterator[Text]:
    for _, on in grid.kernels:
        yield Text("/").join(shared([_mark(grid, line.topic, column) for column in on]))


def _counts(grid: Availability, every: Sequence[Line]) -> Iterator[_Row]:
    """A row for each family, and one for all: of its subjects and types, how many have which state."""
    words = state_words(line.topic.kind for line in every)

    def row(name: str, topics: Sequence[Topic]) -> _Row:
        kernels = (shared([_counted(grid, topics, column, words) for column in on]) for _, on in grid.kernels)
        return name, *(Text(" / ").join(fields) for fields in kernels)

    for family, mine in groupby(every, key=lambda line: grid.family(line.topic)):
        yield row(family or OTHERS, [topic for line in mine for topic in line.topics])
    yield row("all", [topic for line in every for topic in line.topics])


def _counted(grid: Availability, topics: Sequence[Topic], column: Column, words: Sequence[StateWord]) -> Text:
    rows = (grid.state(topic, column) for topic in topics)
    count = Counter(KINDS[row.kind].shown_as(row).word for row in rows)
    found = ((it, count[it.word]) for it in words if count[it.word])
    return Text(" ").join(Text.assemble(f"{number}", (it.mark.sign, it.mark.style)) for it, number in found)


def _kernels(grid: Availability, every: Sequence[Line], heads: Sequence[str]) -> Iterator[RenderableType]:
    """A row for those with the same marks on all architectures: what differs between kernels, then the rest."""
    for differ, title in ((True, "Kernels differ"), (False, "All kernels alike, or on none")):
        mine = [line for line in every if differs(line, grid) == (False, differ)]
        groups = alike(mine, lambda line: (*(field.plain for field in _fields(grid, line)), line.types))
        rows: list[_Row] = [
            (*_fields(grid, of[0]), of[0].types, some([_name(line) for line in of], _NAMES))
            for of in sorted(groups, key=lambda of: [field.plain for field in _fields(grid, of[0])])
        ]
        if rows:
            yield section(title, columns(rows, *heads))


def _why(grid: Availability) -> Iterator[_Row]:
    """The reasons of what is neither the best nor the worst."""
    for note in notes(grid).notes:
        if KINDS[note.row.kind].rank(note.row.state) != 0:
            mark = state_mark(note.row)
            where = (
                (f"\n{phrase}", "dim") for phrase in (*note.where[:_PLACES], *(["…"] * (len(note.where) > _PLACES)))
            )
            yield Text(mark.sign, mark.style), Text.assemble(f"{note.row.state}: {note.cause}", *where)
