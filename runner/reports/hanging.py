"""Lines that a narrow terminal does not spoil: words that wrap below themselves, and commands that are never cut."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_LEAST = 20  # characters beside the lead; with less, words are easier to read from the margin on


@dataclass(frozen=True, slots=True)
class Hanging:
    """`lead`, then `words`; where they do not fit, they go on below where they began."""

    lead: str
    words: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fits = options.max_width - len(self.lead) >= _LEAST
        lead, words = (self.lead, self.words) if fits else ("", self.lead + self.words)
        for at, line in enumerate(Text(words).wrap(console, options.max_width - len(lead)) or [Text()]):
            shown = Text(lead if at == 0 else " " * len(lead), self.style) + line
            shown.rstrip()
            yield shown


def whole(line: str, style: str = "") -> Text:
    """On a line of its own, so that it can be copied. Print it with crop=False."""
    return Text(line, style, no_wrap=True, overflow="ignore")
