"""The availability grid for a terminal: kfunc and program type by kernel and architecture, with the causes below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.reports.marks import STATES, sign
from runner.reports.notes import Note, Notes, notes
from runner.reports.trimmed import Trimmed
from runner.results.availability import Availability, Column, Row

_HEADS = ("kfunc", "type")
_TEXT_WIDTH = 120  # longer lines are hard to read


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
    every_hint: str = ""  # how to see the kfuncs that have no row

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = self.grid
        if not grid.rows or not grid.columns:
            yield Text("No kfunc was asked about.")
            return
        why = notes(grid)
        for table in _tables(grid, why, options.max_width, options.ascii_only):
            yield from table
            yield Text()
        yield Trimmed(_legend(options.ascii_only))
        if grid.hidden:
            more = f"{grid.hidden} more {'kfunc was' if grid.hidden == 1 else 'kfuncs were'} asked about"
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
    return max(len(column.arch), *(len(_field(why, row, column, "?")) for row in grid.rows))


def _field(why: Notes, row: Row, column: Column, mark: str) -> str:
    number = why.numbers.get((column.cell.id, row))
    return mark if number is None else f"{mark} {number}"


def _head_widths(grid: Availability) -> tuple[int, int]:
    return (
        max(len(_HEADS[0]), *(len(row.kfunc) for row in grid.rows)),
        max(len(_HEADS[1]), *(len(row.prog_type) for row in grid.rows)),
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
        head = self._line(_HEADS, archs, "bold")
        lines = [self._line(("", ""), names), head, self._rule(head)]
        last = ""
        for row in self.grid.rows:
            fields = [
                self._fit((name, columns), [self._mark(row, column) for column in columns]) for name, columns in kernels
            ]
            lines.append(self._line((row.kfunc, row.prog_type), fields, "dim" if row.kfunc == last else ""))
            last = row.kfunc
        return lines

    def _mark(self, row: Row, column: Column) -> Text:
        mark = STATES[self.grid.state(row, column).state]
        text = Text(sign(mark, ascii_only=self.ascii_only), mark.style)
        return text.append(_field(self.why, row, column, ""), "dim")

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
        kfunc, prog_type = self.heads
        line = Text(no_wrap=True, overflow="ignore")
        line.append(heads[0].ljust(kfunc), style)
        # the second row of a kfunc repeats its name, so that grep finds it, but keeps it in the background
        line.append(" " * self.gaps.column + heads[1].ljust(prog_type), style if heads == _HEADS else "")
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


def _legend(ascii_only: bool) -> Text:
    legend = Text()
    for at, (state, mark) in enumerate(STATES.items()):
        legend.append("   " if at else "").append(sign(mark, ascii_only=ascii_only), mark.style).append(f" {state}")
    return legend


def _why(all_notes: Sequence[Note], ascii_only: bool) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold", max_width=_TEXT_WIDTH)
    for note in all_notes:
        mark = STATES[note.state]
        table.add_row(
            Text(str(note.number)),
            Text(sign(mark, ascii_only=ascii_only), mark.style),
            Group(Text(f"{note.state}: {note.cause}"), *(Text(phrase, "dim") for phrase in note.where)),
        )
    return Trimmed(Padding(table, (0, 0, 0, 1), expand=False))
