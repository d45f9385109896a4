# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The availability grid for a terminal: subject and type by kernel and architecture.

Of one that is longer than a screen: counts by family, and where architectures or kernels differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from runner.model import StateWord, Verdict
from runner.probes.kinds import KINDS, OTHERS, GridPlace
from runner.reports.drawing import Trimmed, columns, section, state_mark, state_words
from runner.reports.findings import alike
from runner.reports.table import Line, Note, Notes, archs_note, archs_of, differs, head, lines, notes, shared
from runner.results.availability import Availability, Column, Topic
from runner.text import counted, some

LONG = 40  # lines
_NAMES = 4  # of those with one pattern
_PLACES = 2  # of one note
_GAPS = ((2, 1), (1, 1), (1, 0))  # blanks between columns, and around the line between kernels: the first that fits

_Row = Sequence[str | Text]


@dataclass(frozen=True, slots=True)
class Grid:
    """Prints as one table, or as several below each other where the terminal is too narrow for one."""

    grid: Availability
    every_hint: str = ""  # how to see what has no line
    stats: str = ""  # what is shown in place of a mark where the kernel counted it

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = self.grid
        if not grid.topics or not grid.columns:
            yield from [*more(self)] or [Text("Nothing was asked.")]
            return
        why = notes(grid)
        parts = [part for table in _tables(self, why, options.max_width) for part in (table, Text())]
        parts += [legend(grid), *more(self)]
        if why.notes:
            parts += [Text(), Text("Why", "bold"), _why(why.notes)]
        yield Trimmed(Group(*parts))


def _tables(shown: Grid, why: Notes, width: int) -> Iterator[RenderableType]:
    """As few as fit. A column for each kernel."""
    every = _titled(shown.grid, lines(shown.grid, lambda topic, column: _field(shown, why, topic, column).plain))
    blocks = [_block(shown, why, every, name, on) for name, on in shown.grid.kernels]
    for gap, around in _GAPS:
        lead = _lead(shown.grid, every, gap)
        ends = list(accumulate((_width(it) + 2 * around + 1 for it in blocks), initial=_width(lead)))
        if ends[-1] <= width:
            break
    while blocks:
        fit = max(1, sum(end <= width for end in ends[1:]))
        table = Table(box=box.MINIMAL, show_edge=False, pad_edge=False, padding=(0, around), width=ends[fit])
        table.border_style = "bright_black"
        for block in (lead, *blocks[:fit]):
            table.add_column(Text("\n").join(block[:2]), no_wrap=True)
        for line in zip(lead[2:], *(block[2:] for block in blocks[:fit]), strict=True):
            table.add_row(*line)
        yield table
        blocks, ends = blocks[fit:], [ends[0], *(end - ends[fit] + ends[0] for end in ends[fit + 1 :])]


def _lead(grid: Availability, every: Sequence[Line | str], gap: int) -> list[Text]:
    """Two lines of heads, then subjects and types. Each line repeats its subject's name, so that grep finds it."""
    names = max(len(head(grid.topics)), *(cell_len(_place(topic).name) for topic in grid.topics)) + gap
    lead, last = [Text(), Text(f"{set_cell_size(head(grid.topics), names)}type", "bold")], ""
    for line in every:
        if isinstance(line, str):
            lead.append(Text(line, "bold"))
            continue
        subject = line.topic.subject
        style = "dim" if subject == last else ""
        lead.append(Text.assemble((set_cell_size(_place(line.topic).name, names), style), line.types))
        last = subject
    return lead


def _place(topic: Topic) -> GridPlace:
    return KINDS[topic.kind].place(topic.subject)


def _titled(grid: Availability, every: Sequence[Line]) -> list[Line | str]:
    """The lines, and before each group, or each of several families, its title."""
    several = len({grid.family(line.topic) for line in every}) > 1
    titled: list[Line | str] = []
    for (kind, group, family), of in groupby(
        every, key=lambda it: (it.topic.kind, _place(it.topic).group, grid.family(it.topic))
    ):
        mine = tuple(of)
        if group:
            rows = [grid.state(line.topic, column) for line in mine for column in grid.columns]
            titled.append(KINDS[kind].title(rows))
        elif several:
            titled.append(family or OTHERS)
        titled += mine
    return titled


def _block(grid: Grid, why: Notes, every: Sequence[Line | str], kernel: str, on: Sequence[Column]) -> list[Text]:
    """The name of a kernel, its architectures where not all have it, then marks or numbers."""
    fields = (
        Text() if isinstance(it, str) else Text("/").join(shared([_field(grid, why, it.topic, each) for each in on]))
        for it in every
    )
    return [Text(kernel, "bold"), Text(archs_of(on, grid.grid)), *fields]


def _field(grid: Grid, why: Notes, topic: Topic, column: Column) -> Text:
    """A mark and the number of its note; or what the kernel counted, where that is shown."""
    row = grid.grid.state(topic, column)
    mark, kind, number = state_mark(row), KINDS[row.kind], why.numbers.get((column.cell.id, topic))
    if row.state == kind.best and (count := row.numbers.get(grid.stats)) is not None:
        return Text(str(count), "bold red" if row.verdict is Verdict.BROKEN else mark.style)
    return Text.assemble((mark.sign, mark.style), (f" {number}" if number else "", "dim"))


def _width(lines: Sequence[Text]) -> int:
    return max(line.cell_len for line in lines)


def more(shown: Grid) -> Iterator[Text]:
    """What has no line, and how to see it."""
    hidden = shown.grid.hidden
    if hidden:
        what = ", ".join(counted(number, f"more {KINDS[kind].subject}") for kind, number in hidden.items())
        said = f"{what} {'was' if sum(hidden.values()) == 1 else 'were'} asked about"
        yield Text(said + (f": {shown.every_hint}" if shown.every_hint else ""), "dim")


def legend(grid: Availability) -> Text:
    """Of the words that depend on what was expected only those that are there."""
    rows = [grid.state(topic, column) for topic in grid.topics for column in grid.columns]
    there = {KINDS[row.kind].shown_as(row).word for row in rows}
    judged = {it.word for kind in {row.kind for row in rows} for it in KINDS[kind].judged_states} - there
    words = [it for it in state_words(topic.kind for topic in grid.topics) if it.word not in judged]
    several = [Text(note)] if (note := archs_note(grid)) else []
    marks = (Text.assemble((it.mark.sign, it.mark.style), f" {it.word}") for it in words)
    return Text("   ").join([*marks, *several])


def _why(all_notes: Sequence[Note]) -> RenderableType:
    rows = []
    for note in all_notes:
        mark = state_mark(note.row)
        rows.append((Text.assemble(f"{note.number:>2} ", (mark.sign, mark.style)), _reason(note, note.where)))
    return columns(rows, no_wrap=(0,))


def _reason(note: Note, where: Sequence[str]) -> Text:
    return Text.assemble(f"{note.row.state}: {note.cause}", *((f"\n{phrase}", "dim") for phrase in where))


# --- of a grid that is longer than a screen ---------------------------------------------------------------------------


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
            (_name(line), line.types, *_fields(grid, line)) for line in every if differs(line.topic, grid)[0]
        ]
        parts = [
            section(f"{name}s, for each program type", columns(_counts(grid, every), "family", *kernels)),
            *([section("Architectures differ", columns(apart, name, "type", *kernels))] if apart else []),
            *_kernels(grid, every, [*kernels, "type", f"{name}s"]),
            legend(grid),
            *more(self.whole),
            Text(),
            section("Why not more", columns(_why_not_more(grid), no_wrap=(0,))),
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
        mine = [line for line in every if differs(line.topic, grid) == (False, differ)]
        groups = alike(mine, lambda line: (*(field.plain for field in _fields(grid, line)), line.types))
        rows: list[_Row] = [
            (*_fields(grid, of[0]), of[0].types, some([_name(line) for line in of], _NAMES))
            for of in sorted(groups, key=lambda of: [field.plain for field in _fields(grid, of[0])])
        ]
        if rows:
            yield section(title, columns(rows, *heads))


def _why_not_more(grid: Availability) -> Iterator[_Row]:
    """The reasons of what is neither the best nor the worst."""
    for note in notes(grid).notes:
        if KINDS[note.row.kind].rank(note.row.state) != 0:
            mark, cut = state_mark(note.row), ["…"] * (len(note.where) > _PLACES)
            yield Text(mark.sign, mark.style), _reason(note, (*note.where[:_PLACES], *cut))
