"""The availability grid: subject and type by kernel and architecture, for a terminal; its causes, for Markdown too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.model import ProgType, Row
from runner.probes.kinds import KINDS
from runner.reports.drawing import Trimmed, state_mark, state_words
from runner.reports.findings import subject_cause
from runner.results.availability import Availability, Column, Topic, places
from runner.text import counted, plain, some

_TEXT_WIDTH = 120  # longer lines are hard to read
_CAUSE_WIDTH = 160
_NAMES = 6  # subjects named in one note
_GAPS = ((2, 1), (1, 1), (1, 0))  # blanks between columns, and around the line between kernels: the first that fits


@dataclass(frozen=True, slots=True)
class Grid:
    """Prints as one table, or as several below each other where the terminal is too narrow for one."""

    grid: Availability
    every_hint: str = ""  # how to see what has no line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = self.grid
        if not grid.topics or not grid.columns:
            yield Text("Nothing was asked.")
            return
        why = notes(grid)
        parts: list[RenderableType] = []
        for table in _tables(grid, why, options.max_width):
            parts += [*table, Text()]
        parts.append(_legend(grid))
        if grid.hidden:
            were = "was" if grid.hidden == 1 else "were"
            more = f"{grid.hidden} more {counted(grid.hidden, head(grid)).split()[1]} {were} asked about"
            parts.append(Text(more + (f": {self.every_hint}" if self.every_hint else ""), "dim"))
        if why.notes:
            parts += [Text(), Text("Why", "bold"), _why(why.notes)]
        yield Trimmed(Group(*parts))


def _tables(grid: Availability, why: Notes, width: int) -> Iterator[list[Text]]:
    """The lines of each table."""
    for gap, around in _GAPS:
        lead = _lead(grid, gap)
        blocks = [_block(grid, why, name, columns, gap) for name, columns in grid.kernels]
        if _width(lead, blocks, around) <= width:
            break
    while blocks:
        fit = next((n for n in range(len(blocks), 1, -1) if _width(lead, blocks[:n], around) <= width), 1)
        bar = Text.assemble(" " * around, ("│", "bright_black"), " " * around, no_wrap=True, overflow="ignore")
        lines = [bar.join(parts) for parts in zip(lead, *blocks[:fit], strict=True)]
        rule = "".join("┼" if char == "│" else "─" for char in lines[1].plain.rstrip())
        yield [*lines[:2], Text(rule, "bright_black", no_wrap=True, overflow="ignore"), *lines[2:]]
        blocks = blocks[fit:]


def _lead(grid: Availability, gap: int) -> list[Text]:
    """The first two columns below two heads. Each line repeats its subject's name, so that grep finds it."""
    subjects, types = [Text(), Text(head(grid), "bold")], [Text(), Text("type", "bold")]
    last = ""
    for topic in grid.topics:
        subjects.append(Text(topic.subject, "dim" if topic.subject == last else ""))
        types.append(Text(topic.type))
        last = topic.subject
    return [Text(" " * gap).join(pair) for pair in zip(_even(subjects), _even(types), strict=True)]


def _block(grid: Availability, why: Notes, kernel: str, columns: Sequence[Column], gap: int) -> list[Text]:
    """The columns of one kernel below its name and their architectures."""
    fields = []
    for column in columns:
        marks = (_field(grid.state(it, column), why.numbers.get((column.cell.id, it))) for it in grid.topics)
        fields.append(_even([Text(column.arch), *marks]))
    return _even([Text(kernel, "bold"), *(Text(" " * gap).join(line) for line in zip(*fields, strict=True))])


def _field(row: Row, number: int | None) -> Text:
    mark = state_mark(row)
    return Text.assemble((mark.sign, mark.style), ("" if number is None else f" {number}", "dim"))


def _even(lines: list[Text]) -> list[Text]:
    """All as wide as the widest."""
    widest = max(line.cell_len for line in lines)
    for line in lines:
        line.pad_right(widest - line.cell_len)
    return lines


def _width(lead: Sequence[Text], blocks: Sequence[Sequence[Text]], around: int) -> int:
    return lead[0].cell_len + sum(block[0].cell_len + 2 * around + 1 for block in blocks)


def _legend(grid: Availability) -> Text:
    words = state_words(topic.kind for topic in grid.topics)
    return Text("   ").join(Text.assemble((it.mark.sign, it.mark.style), f" {it.word}") for it in words)


def _why(all_notes: Sequence[Note]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold", max_width=_TEXT_WIDTH)
    for note in all_notes:
        mark = state_mark(note.row)
        why = Group(Text(f"{note.row.state}: {note.cause}"), *(Text(phrase, "dim") for phrase in note.where))
        table.add_row(str(note.number), Text(mark.sign, mark.style), why)
    return Padding(table, (0, 0, 0, 1), expand=False)


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
    fields: dict[tuple[str, str], dict[Topic, set[str]]] = defaultdict(lambda: defaultdict(set))
    firsts: dict[tuple[str, str], Row] = {}
    for topic in grid.topics:
        for column in grid.columns:
            row = grid.state(topic, column)
            if row.state != KINDS[row.kind].best:
                key = (row.state, _cause(row))
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
        what = f"every {head(grid)}" if 1 < len(names) == every else some(names, _NAMES)
        of_type = f" ({', '.join(filter(None, of_types))})" if any(of_types) else ""
        phrases.append(f"{what}{of_type} on {places(grid, on)}")
    return tuple(phrases)


def head(grid: Availability) -> str:
    """What the grid's lines are about: `kfunc`, or `subject` where kinds differ."""
    names = {KINDS[topic.kind].subject for topic in grid.topics}
    return names.pop() if len(names) == 1 else "subject"


def types_of(grid: Availability) -> list[str]:
    """The program types in the kernel's order, then what other kinds of probe call theirs."""
    known: list[str] = list(ProgType)
    found = {topic.type for topic in grid.topics}
    return [*(it for it in known if it in found), *sorted(found.difference(known))]
