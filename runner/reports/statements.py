"""What is said about kfuncs, and on which kernels it is true: for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Mark, Verdict
from runner.reports.drawing import KNOWN_ISSUE, VERDICTS, Trimmed, indented
from runner.reports.summary import covers
from runner.results.availability import Availability, availability, places
from runner.results.model import JudgedRun
from runner.results.statements import PAGES, Standing, Statement
from runner.text import counted, plain

_MARKS = {
    Standing.TRUE: VERDICTS[Verdict.HOLDS],
    Standing.FALSE: VERDICTS[Verdict.BROKEN],
    Standing.OUT_OF_DATE: Mark("!", "!", "yellow"),
    Standing.SINCE: Mark("!", "!", "yellow"),
    Standing.DEPENDS: Mark("~", "~", "yellow"),
    Standing.OPEN: VERDICTS[Verdict.NO_ANSWER],
}
_UNDECIDED = "not decided by these kernels"


def statements_report(judged: JudgedRun, found: Sequence[Statement]) -> RenderableType:
    """By page or source, in the order of the claims; then how many are true, false, and so on."""
    grid = availability(judged)
    parts: list[RenderableType] = []
    for title, group in groupby(found, key=_title):
        parts.append(Text(plain(title), "bold"))
        parts += [_shown(grid, statement) for statement in group]
        parts.append(Text())
    return Trimmed(Group(*parts, Text(tally(found)), Text(covers(judged))))


def tally(found: Iterable[Statement]) -> str:
    """`23 statements: 19 true, 2 false, 2 out of date`"""
    counts = Counter(statement.standing for statement in found)
    named = [f"{counts[standing]} {_PLURAL.get(standing, standing)}" for standing in Standing if counts[standing]]
    return f"{counted(sum(counts.values()), 'statement')}: {', '.join(named) or 'none'}"


_PLURAL = {Standing.SINCE: "true since some version", Standing.DEPENDS: "true on some kernels only"}


def standing_words(statement: Statement) -> str:
    """`out of date: true up to 6.1.192, false from 6.12.117 on`"""
    match statement.standing, statement.turn:
        case Standing.OUT_OF_DATE, (last, first):
            return f"out of date: true up to {last}, false from {first} on"
        case Standing.SINCE, (last, first):
            return f"false up to {last}, true from {first} on"
        case Standing.DEPENDS, _:
            return "true on some kernels only"
        case Standing.OPEN, _:
            return _UNDECIDED
    return str(statement.standing)


def _title(statement: Statement) -> str:
    page = statement.ref.partition(":")[0]
    return f"{statement.source}: {page}" if statement.source == PAGES else f"{statement.source}"


def _sentence(statement: Statement) -> str:
    if statement.source == PAGES:
        return statement.ref.partition(":")[2].strip() or statement.ref
    return f"{statement.says[0]} ({statement.ref})"


def _more(statement: Statement) -> tuple[str, ...]:
    """What its claims say, unless that is the sentence itself."""
    return statement.says if statement.source == PAGES else ()


def _shown(grid: Availability, statement: Statement) -> RenderableType:
    words = (standing_words(statement), _MARKS[statement.standing].style)
    head = Text.assemble(words, "  ", (plain(_sentence(statement)), "bold"))
    below = [Text(plain(says), "italic") for says in _more(statement)]
    below += [Text(line, style) for style, line in _details(grid, statement)]
    return indented(Group(head, indented(indented(Group(*below)))))


def _details(grid: Availability, statement: Statement) -> Iterator[tuple[str, str]]:
    """(style, line) for every group of kernels."""
    for decided in statement.decided:
        where = places(grid, set(decided.cells))
        if decided.true:
            yield "", f"true on {where}"
        elif decided.known_issue:
            yield KNOWN_ISSUE.style, f"false on {where}, known issue {decided.known_issue}: {plain(decided.why, 200)}"
        else:
            yield "", f"false on {where}: {plain(decided.why, 200)}"
    for left in statement.open:
        yield "dim", f"not decided on {places(grid, set(left.cells))}: {plain(left.cause, 200)}"
