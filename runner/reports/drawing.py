# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the reports for a terminal are drawn with: one mark and colour for each word, and lines that any width shows.

Rich pads what it lays out to a rectangle; in a pipe, and in copied text, those blanks are noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from runner.model import Mark, Row, StateWord, Verdict
from runner.probes.kinds import KINDS, NO_ANSWER_WORD
from runner.text import plain, printable

VERDICTS = {
    Verdict.HOLDS: Mark("✓", "+", "green"),
    Verdict.BROKEN: Mark("✗", "x", "bold red"),
    Verdict.NOT_APPLICABLE: Mark("-", "-", "bright_black"),
    Verdict.NO_ANSWER: NO_ANSWER_WORD.mark,
}
KNOWN_ISSUE = Mark("!", "!", "yellow")  # broken, and a known issue says why


def state_mark(row: Row) -> Mark:
    """Of a row with a state."""
    return KINDS[row.kind].shown_as(row).mark


def verdict_mark(row: Row) -> Mark:
    """Of a row with a verdict."""
    return KNOWN_ISSUE if row.known_issue else VERDICTS[row.verdict or Verdict.NO_ANSWER]


def state_words(kinds: Iterable[str]) -> list[StateWord]:
    """The words of these kinds in the order of legends and notes: from most to least, "no answer" at the end."""
    every = (each for kind in kinds for each in reversed((*KINDS[kind].judged_states, *KINDS[kind].states)))
    words = {each.word: each for each in every}
    return [*words.values(), NO_ANSWER_WORD]


def _ascii() -> dict[int, str]:
    """For str.translate."""
    words = [word.mark for kind in KINDS.values() for word in (*kind.states, *kind.judged_states)]
    marks = {mark.sign: mark.ascii for mark in (*words, *VERDICTS.values(), KNOWN_ISSUE)}
    return str.maketrans(marks)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """`content` without blanks at the ends of its lines, `indent` characters from the margin; marks and lines in ASCII
    where the terminal knows nothing else. Of a text that a guest chose nothing is left that a terminal would act on.

    Unlike rich's Padding it cuts nothing off: a line that does not fold stays whole.
    """

    content: RenderableType
    indent: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update_width(max(1, options.max_width - self.indent))
        known = _ascii() if options.ascii_only else {}
        for line in Segment.split_lines(console.render(self.content, inner)):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style, line[-1].control)
                yield Segment(" " * self.indent)
            for it in line:
                text = it.text if it.text.isprintable() else printable(it.text)
                yield Segment(text.translate(known), it.style, it.control)
            yield Segment.line()


def whole(line: str, style: str = "") -> Text:
    """On a line of its own, so that it can be copied. Print it with crop=False."""
    return Text(line, style, no_wrap=True, overflow="ignore")


def section(title: str, *body: RenderableType) -> RenderableType:
    """A part of a report: its title, its body a little to the right, an empty line. Lines of text are never cut."""
    parts = (whole(part) if isinstance(part, str) else part for part in body)
    return Group(Text(plain(title), "bold"), Trimmed(Group(*parts), indent=2), Text())


def columns(
    rows: Iterable[Sequence[str | Text]], *heads: str, no_wrap: Collection[int] = (), style: str = ""
) -> RenderableType:
    """A table without lines, nothing without rows; `style` is of its first column. Strings may be a guest's."""
    table = Table.grid(padding=(0, 2))
    found = [*([[Text(head, "bold") for head in heads]] if heads else []), *rows]
    for at in range(max(map(len, found), default=0)):
        table.add_column(style=style if at == 0 else "", no_wrap=at in no_wrap, overflow="fold")
    for row in found:
        table.add_row(*(Text(plain(it)) if isinstance(it, str) else it for it in row))
    return Trimmed(table) if found else Group()


def pairs(found: Iterable[tuple[str, str]]) -> RenderableType:
    """(word, text) below each other."""
    return columns(found, no_wrap=(0,), style="dim")


def entry(what: str | Text, facts: Iterable[tuple[str, str]], *copied: str) -> RenderableType:
    """One of the things that a report lists: what it is, the facts, and lines to copy, such as the commands that show
    the evidence."""
    details = Group(pairs(facts), *(whole(line, "cyan") for line in copied))
    return Trimmed(Group(Text(what) if isinstance(what, str) else what, Trimmed(details, indent=2)), indent=2)
