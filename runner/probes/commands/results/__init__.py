# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which tests a command ran, and how each ended, by what it printed or wrote: what every reader of that gives.

Tests by name, each once, all of it bounded and fit to be shown. The formats are beside this file; what they read is
hostile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from runner.text import plain

MOST_TESTS = 20_000  # of one command
LONGEST_NAME = 240  # characters
_LONGEST_WHY = 300
_LONGEST_EVENT = 1 << 20  # characters: a test's whole output may be in it
_COLOUR = re.compile(r"\x1b\[[0-9;]*[mK]")

ResultsKind = Literal["exit", "gotest", "libtest", "tap", "ktap", "junit"]
State = Literal["failed", "passed", "skipped"]
_WORST: tuple[State, ...] = ("failed", "passed", "skipped")  # of tests with one name


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a command's output says of one test. Its name and `why` are of one line and print."""

    __test__ = False  # for pytest

    name: str
    state: State
    why: str = ""  # its own words, of one that failed or was skipped


@dataclass(frozen=True, slots=True)
class Parsed:
    """The tests in the order of their results. `incomplete`: why there may be more; empty: these are all of them.

    `skipped`: why the program ran none of its tests.
    """

    tests: tuple[TestResult, ...] = ()
    incomplete: str = ""
    skipped: str = ""


class Results:
    """Gathers them. Of tests with one name the worst result counts: nothing tells them apart on another kernel."""

    def __init__(self) -> None:
        self._found: dict[str, TestResult] = {}
        self._too_many = False

    def __len__(self) -> int:
        return len(self._found)

    def add(self, name: str, state: State, why: str = "") -> None:
        """A result; one without a name is none."""
        shown = kept_name(name)
        if not shown:
            return
        old = self._found.get(shown)
        if old is None and len(self._found) >= MOST_TESTS:
            self._too_many = True
        elif old is None or _WORST.index(state) < _WORST.index(old.state):
            self._found[shown] = TestResult(shown, state, "" if state == "passed" else plain(why, _LONGEST_WHY))

    def extend(self, results: Iterable[tuple[str, State, str]]) -> None:
        """Several."""
        for each in results:
            self.add(*each)

    def parsed(self, incomplete: str = "", skipped: str = "") -> Parsed:
        """All of them."""
        if self._too_many:
            incomplete = f"there are more than {MOST_TESTS} tests: the others were left out"
        return Parsed(tuple(self._found.values()), plain(incomplete, _LONGEST_WHY), plain(skipped, _LONGEST_WHY))


def kept_name(name: str) -> str:
    """The name as it is kept. One that is too long ends with a digest of all of it, so that it stays its own."""
    shown = plain(name)
    if len(shown) <= LONGEST_NAME:
        return shown
    digest = sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{shown[: LONGEST_NAME - 9].rstrip()}…{digest}"


def lines_of(output: str, longest: int = 4096) -> Iterator[str]:
    """The lines as a terminal would show them without colours, each cut to `longest` characters."""
    start, size = 0, len(output)
    while start < size:
        end = output.find("\n", start)
        end = size if end < 0 else end
        line = output[start : min(end, start + 2 * longest)].rstrip("\r").rpartition("\r")[2]
        yield _COLOUR.sub("", line)[:longest]
        start = end + 1


def events_of(output: str, begin: Callable[[str], int]) -> Iterator[dict[str, object]]:
    """The mappings in JSON that lines end with. `begin`: where one begins in a line; below 0: it has none."""
    for line in lines_of(output, _LONGEST_EVENT):
        try:
            event = json.loads(line[at:]) if (at := begin(line)) >= 0 else None
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
