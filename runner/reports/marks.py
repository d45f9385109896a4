"""One mark and colour for each state and verdict, the same in every report. A mark needs no colour to be told apart."""

from __future__ import annotations

from dataclasses import dataclass

from runner.model import State, Verdict


@dataclass(frozen=True, slots=True)
class Mark:
    sign: str
    ascii: str  # for terminals that do not speak UTF-8
    style: str  # of rich


# in the order of legends and notes: from most to least
STATES = {
    State.USABLE: Mark("✓", "+", "green"),
    State.REGISTERED: Mark("○", "o", "cyan"),
    State.NOT_ALLOWED: Mark("✗", "x", "yellow"),
    State.ABSENT: Mark("-", "-", "bright_black"),
    State.NO_ANSWER: Mark("?", "?", "bold magenta"),
}
VERDICTS = {
    Verdict.HOLDS: Mark("✓", "+", "green"),
    Verdict.BROKEN: Mark("✗", "x", "bold red"),
    Verdict.NOT_APPLICABLE: Mark("-", "-", "bright_black"),
    Verdict.NO_ANSWER: Mark("?", "?", "bold magenta"),
}

KNOWN_ISSUE = Mark("!", "!", "yellow")  # broken, and a known issue says why


def sign(mark: Mark, *, ascii_only: bool) -> str:
    return mark.ascii if ascii_only else mark.sign
