"""The availability grid for a terminal: subject and type by kernel and architecture, with the causes below."""

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
from runner.reports.drawing import Trimmed, sign, state_mark, state_words
from runner.reports.findings import subject_cause
from runner.results.availability import Availability, Column, Topic, places
from runner.text import counted, plain, some

_TEXT_WIDTH = 120  # longer lines are hard to read
_CAUSE_WIDTH = 160
_NAMES = 6  # subjects named in one note


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Blanks between columns, and around the line between kernels. The first that fits is taken."""

    column: int
    kernel: int


_GAPS = (_Gaps(2, 1), _Gaps(1, 1), _Gaps(1, 0))

_Kernel = tuple[str, tuple[Column, ...]]


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
        for table in _tables(grid, why, options.max_width, options.ascii_only):
            yield from table
            yield Text()
        yield Trimmed(_legend(grid, options.ascii_only))
        if grid.hidden:
            were = "was" if grid.hidden == 1 else "were"
            more = f"{grid.hidden} more {counted(grid.hidden, head(grid)).split()[1]} {were} asked about"
            yield Trimmed(Text(more + (f": {self.every_hint}" if self.every_hint else ""), "dim"))
        if why.notes:
            yield Text()
            yield Text("Why", "bold")
            yield _why(why.notes, options.ascii_only)


def _tables(grid: Availability, why: Notes, width: int, ascii_only: bool) -> Iterator[list[Text]]:
    widths = {column.cell.id: _column_width(grid, why, column) for column in grid.columns}
    kernels = list(grid.kernels)
    for gaps in _GAPS:
        if _width(grid, kernels, widths, gaps) <= width:
            break
    while kernels:
        fit = len(kernels)
        while fit > 1 and _width(grid, kernels[:fit], widths, gaps) > width:
            fit -= 1
        yield _Table(grid, why, _head_widths(grid), widths, gaps, ascii_only).lines(kernels[:fit])
        kernels = kernels[fit:]


def _column_width(grid: Availability, why: Notes, column: Column) -> int:
    return max(len(column.arch), *(len(_field(why, topic, column, "?")) for topic in grid.topics))


def _field(why: Notes, topic: Topic, column: Column, mark: str) -> str:
    number = why.numbers.get((column.cell.id, topic))
    return mark if number is None else f"{mark} {number}"


def _head_widths(grid: Availability) -> tuple[int, int]:
    return (
        max(len(head(grid)), *(len(topic.subject) for topic in grid.topics)),
        max(len("type"), *(len(topic.type) for topic in grid.topics)),
    )


def _kernel_width(kernel: _Kernel, widths: dict[str, int], gaps: _Gaps) -> int:
    name, columns = kernel
    return max(len(name), sum(widths[it.cell.id] for it in columns) + gaps.column * (len(columns) - 1))


def _width(grid: Availability, kernels: Sequence[_Kernel], widths: dict[str, int], gaps: _Gaps) -> int:
    fields = sum(_kernel_width(kernel, widths, gaps) + 2 * gaps.kernel + 1 for kernel in kernels)
    return sum(_head_widths(grid)) + gaps.column + fields - gaps.kernel


@dataclass(frozen=True, slots=True)
class _Table:
    grid: Availability
    why: Notes
    heads: tuple[int, int]  # widths of the first two columns
    widths: dict[str, int]
    gaps: _Gaps
    ascii_only: bool

    def lines(self, kernels: Sequence[_Kernel]) -> list[Text]:
        """Two lines of heads, a rule, and one line per row."""
        names = [Text(name.ljust(self._kernel_width((name, columns))), "bold") for name, columns in kernels]
        archs = [self._fit((name, it), [Text(column.arch) for column in it]) for name, it in kernels]
        top = self._line((head(self.grid), "type"), archs, "bold")
        lines = [self._line(("", ""), names), top, self._rule(top)]
        last = ""
        for topic in self.grid.topics:
            fields = [
                self._fit((name, columns), [self._mark(topic, column) for column in columns])
                for name, columns in kernels
            ]
            lines.append(self._line((topic.subject, topic.type), fields, "dim" if topic.subject == last else ""))
            last = topic.subject
        return lines

    def _mark(self, topic: Topic, column: Column) -> Text:
        mark = state_mark(self.grid.state(topic, column))
        text = Text(sign(mark, ascii_only=self.ascii_only), mark.style)
        return text.append(_field(self.why, topic, column, ""), "dim")

    def _fit(self, kernel: _Kernel, fields: Sequence[Text]) -> Text:
        """The fields of one kernel, padded to its width."""
        whole = Text()
        for at, (column, field) in enumerate(zip(kernel[1], fields, strict=True)):
            field.pad_right(self.widths[column.cell.id] - field.cell_len)
            whole.append_text(Text(" " * (self.gaps.column if at else 0)) + field)
        whole.pad_right(self._kernel_width(kernel) - whole.cell_len)
        return whole

    def _kernel_width(self, kernel: _Kernel) -> int:
        return _kernel_width(kernel, self.widths, self.gaps)

    def _line(self, heads: Sequence[str], kernels: Sequence[Text], style: str = "") -> Text:
        subject, of_type = self.heads
        line = Text(no_wrap=True, overflow="ignore")
        line.append(heads[0].ljust(subject), style)
        # the second line of a subject repeats its name, so that grep finds it, but keeps it in the background
        line.append(" " * self.gaps.column + heads[1].ljust(of_type), "" if style == "dim" else style)
        gap = " " * self.gaps.kernel
        for kernel in kernels:
            line.append(f"{gap}{'|' if self.ascii_only else '│'}{gap}", "bright_black")
            line.append_text(kernel)
        line.rstrip()
        return line

    def _rule(self, head: Text) -> Text:
        cross, bar = ("+", "-") if self.ascii_only else ("┼", "─")
        rule = "".join(cross if char in "|│" else bar for char in head.plain)
        return Text(rule, "bright_black", no_wrap=True, overflow="ignore")


def _legend(grid: Availability, ascii_only: bool) -> Text:
    legend = Text()
    for at, each in enumerate(state_words(topic.kind for topic in grid.topics)):
        legend.append("   " if at else "").append(sign(each.mark, ascii_only=ascii_only), each.mark.style)
        legend.append(f" {each.word}")
    return legend


def _why(all_notes: Sequence[Note], ascii_only: bool) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold", max_width=_TEXT_WIDTH)
    for note in all_notes:
        mark = state_mark(note.row)
        table.add_row(
            Text(str(note.number)),
            Text(sign(mark, ascii_only=ascii_only), mark.style),
            Group(Text(f"{note.row.state}: {note.cause}"), *(Text(phrase, "dim") for phrase in note.where)),
        )
    return Trimmed(Padding(table, (0, 0, 0, 1), expand=False))


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
