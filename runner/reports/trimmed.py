"""Rich pads what it lays out to a rectangle; in a pipe, and in what one copies, those blanks are noise."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Trimmed:
    """`content` without blanks at the ends of its lines, `indent` characters from the margin.

    Unlike rich's Padding it cuts nothing off: a line that does not fold stays whole.
    """

    content: RenderableType
    indent: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update_width(max(1, options.max_width - self.indent))
        for line in Segment.split_lines(console.render(self.content, inner)):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style, line[-1].control)
                yield Segment(" " * self.indent)
            yield from line
            yield Segment.line()


def section(title: str, body: RenderableType) -> RenderableType:
    """A part of a report: its title, its body a little to the right, an empty line."""
    return Group(Text(title, "bold"), Trimmed(body, indent=2), Text())
