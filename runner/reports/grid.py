# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The availability grid: subject and type by kernel and architecture, for a terminal; its causes, for Markdown too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from runner.model import ProgType, Row, Verdict
from runner.probes.kinds import KINDS, OTHERS, GridPlace, Kind
from runner.reports.drawing import Trimmed, columns, state_mark, state_words
from runner.reports.findings import subject_cause
from runner.reports.table import Line, archs_note, archs_of, lines, shared
from runner.results.availability import Availability, Column, Topic, is_beside, places
from runner.text import counted, plain, some

_CAUSE_WIDTH = 160
_NAMES = 6  # subjects named in one note
_GAPS = ((2, 1), (1, 1), (1, 0))  # blanks between columns, and around the line between kernels: the first that fits


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
        places = ((f"\n{phrase}", "dim") for phrase in note.where)
        why = Text.assemble(f"{note.row.state}: {note.cause}", *places)
        rows.append((Text.assemble(f"{note.number:>2} ", (mark.sign, mark.style)), why))
    return columns(rows, no_wrap=(0,))


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
