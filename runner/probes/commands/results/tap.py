# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads TAP, versions 12 to 14, and the kernel's KTAP: subtests are indented, and their parent's line follows them.

Formats: testanything.org's specification of version 14; Documentation/dev-tools/ktap.rst. Also node-tap's braces, and
kselftest's runner, which shows the output of a test behind `# `.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from runner.probes.commands.results import MOST_TESTS, Parsed, Results, State, lines_of

_POINT = re.compile(r"(not )?ok(?=\s|$)(?:\s+(\d{1,9})(?=\s|$))?(?:\s+-(?=\s|$))?\s*(.*)$")
_PLAN = re.compile(r"1\.\.(\d{1,9})\s*(?:#\s*(.*))?$")
_VERSION = re.compile(r"K?TAP version \d+$")
_SUBTEST = re.compile(r"# Subtest:?\s*(.*)$")
_COMMENT = re.compile(r"(?:^|\s)#(?:\s+|(?=skip|todo|$))", re.IGNORECASE)
_DIRECTIVE = re.compile(r"(SKIP\w*|TODO|XFAIL|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\#])")
_YAML_WORDS = re.compile(r"(?:error|message):(?: [|>][-+]?)? *['\"]?(.*?)['\"]?$")  # or on the next line
_KERNEL_TIME = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
_SHOWN = re.compile(r"^((?:# )+)(?:K?TAP version \d+|1\.\.\d+)$")  # by kselftest's runner
_DEEPEST = 16
_MOST_SAID = 3  # lines

Test = tuple[str, State, str]


@dataclass(slots=True)
class _Level:
    """A document, or a subtest's."""

    indent: int
    name: str = ""  # that a comment or an earlier line gave it
    named_for_good: bool = False  # by a line with a brace, which is its result too
    plan: int | None = None
    points: int = 0
    numbered: bool | None = None  # the first test tells
    tests: list[Test] = field(default_factory=list)
    below: list[Test] = field(default_factory=list)  # of a subtest whose line is to come
    said: list[str] = field(default_factory=list)  # before a test's line
    next_name: str = ""
    next_for_good: bool = False


def parse(output: str, *, kernel: bool = False) -> Parsed:
    """The tests. `kernel`: KTAP, where the words about a test come before its line, not after it."""
    reader = _Reader(kernel=kernel)
    for line in _unshown(_KERNEL_TIME.sub("", line).expandtabs(8).rstrip() for line in lines_of(output)):
        if not reader.bail_out:
            reader.take(line)
    return reader.ended()


def _unshown(lines: Iterable[str]) -> Iterator[str]:
    """With the documents that kselftest's runner shows behind `# ` indented instead."""
    mark = ""
    for line in lines:
        if found := _SHOWN.match(line):
            mark = found[1]
        if mark and not line.startswith(mark.rstrip()):
            mark = ""
        yield "    " * (len(mark) // 2) + line[len(mark) :] if mark else line


class _Reader:
    """Takes line after line."""

    def __init__(self, *, kernel: bool) -> None:
        self._kernel = kernel
        self._levels = [_Level(0)]
        self._yaml = -1  # the indentation of a block of YAML that is passed over
        self._says_why = False  # the next line of it
        self._failed: _Level | None = None  # whose last test failed: what follows says why
        self._count = 0
        self.bail_out = ""
        self._skipped = ""

    def take(self, line: str) -> None:
        """One line."""
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if self._yaml >= 0 and (not text or indent >= self._yaml):
            self._in_yaml(text)
            return
        self._yaml = -1
        if text == "---" and indent > self._levels[-1].indent and self._levels[-1].points:
            self._yaml = indent
        elif text.startswith("Bail out!") and indent == 0:
            self.bail_out = text
        elif point := _POINT.match(text):
            self._point(indent, point)
        elif plan := _PLAN.match(text):
            self._plan(indent, int(plan[1]), plan[2] or "")
        elif _VERSION.match(text):
            self._level(indent)
        elif subtest := _SUBTEST.match(text):
            self._subtest(indent, subtest[1])
        elif text.startswith("#"):
            self._comment(indent, text.lstrip("# "))
        elif text == "}":
            self._level(indent)

    def _in_yaml(self, text: str) -> None:
        if text == "...":
            self._yaml = -1
        elif self._failed is not None:
            words = _YAML_WORDS.match(text)
            why = text if self._says_why else words[1] if words else ""
            self._says_why = bool(words) and not why
            if why:
                self._explain(self._failed, why)
                self._failed = None

    def _explain(self, level: _Level, why: str) -> None:
        name, state, said = level.tests[-1]
        level.tests[-1] = name, state, f"{said}; {why}" if said else why

    def _level(self, indent: int) -> _Level | None:
        """The level of this indentation: deeper ones are over, one that is not there begins. None: too deep."""
        while len(self._levels) > 1 and self._levels[-1].indent > indent:
            self._close()
        top = self._levels[-1]
        if indent > top.indent:
            if len(self._levels) >= _DEEPEST:
                return None
            self._levels.append(_Level(indent, top.next_name, top.next_for_good))
            top.next_name, top.next_for_good = "", False
        return self._levels[-1]

    def _close(self) -> None:
        """The deepest level is over; what its tests are called, the next line of the level above may tell."""
        level = self._levels.pop()
        above = self._levels[-1]
        tests = [*level.tests, *_named(level.name, level.below if level.name else [])]
        if level.named_for_good:
            above.tests += _named(level.name, tests)
        else:
            above.below += tests
            above.next_name = above.next_name or level.name

    def _point(self, indent: int, point: re.Match[str]) -> None:
        bad, number, rest = point.groups()
        if indent > self._levels[-1].indent and number is None:
            return  # a program may well print an indented "ok"
        level = self._level(indent)
        if level is None or (level.numbered and number is None) or self._count > MOST_TESTS:
            return
        level.numbered = number is not None if level.numbered is None else level.numbered
        brace = rest.endswith("{")
        name, said = _description(rest.rstrip("{").rstrip())
        state, why = _state(bad is not None, said)
        if self._kernel and not name:  # kselftest.h: "ok 3 # SKIP what is tested"
            name, why = why, ""
        name = name or level.next_name or number or str(level.points + 1)
        if self._kernel and state == "failed":
            why = why or "; ".join(level.said)
        level.tests += _named(name, level.below)
        level.tests.append((name, state, why))
        level.below, level.said, level.points = [], [], level.points + 1
        level.next_name, level.next_for_good = (name, True) if brace else ("", False)
        self._failed = level if state == "failed" and not why and not self._kernel else None
        self._count += 1

    def _plan(self, indent: int, count: int, said: str) -> None:
        if (level := self._level(indent)) is None:
            return
        level.plan = (level.plan or 0) + count
        if count == 0 and indent == 0:
            self._skipped = said or "it has no tests"

    def _subtest(self, indent: int, name: str) -> None:
        """Version 14 has the comment where the parent's line will be; others, and KTAP, where the subtest's lines are.

        Only what comes next tells which.
        """
        top = self._levels[-1]
        if indent > top.indent:
            if (level := self._level(indent)) is not None and not level.named_for_good:
                level.name = name
        elif (level := self._level(indent)) is not None:
            if level is not self._levels[0] and not level.points and not level.name:
                level.name = name
            else:
                level.next_name = name

    def _comment(self, indent: int, text: str) -> None:
        level = self._failed if self._failed is not None else self._levels[-1]
        if not text:
            return
        if self._failed is not None:
            if level.tests[-1][2].count("; ") < _MOST_SAID - 1:
                self._explain(level, text)
        elif self._kernel:
            level.said = [*level.said[1 - _MOST_SAID :], text]

    def ended(self) -> Parsed:
        """The output is over."""
        whole = len(self._levels) == 1
        while len(self._levels) > 1:
            self._close()
        top = self._levels[0]
        results = Results()
        results.extend(top.tests)
        if top.next_name:  # of a subtest that did not end
            results.extend(_named(top.next_name, top.below))
        return results.parsed(self._incomplete(top, whole=whole), "" if results else self._skipped)

    def _incomplete(self, top: _Level, *, whole: bool) -> str:
        if self.bail_out:
            return self.bail_out
        if top.plan is None:
            return "it ended without a plan" if top.points or not whole else ""
        if top.points != top.plan:
            return f"its plan is {top.plan} tests, and {top.points} have a result"
        return "" if whole else "it ended within a subtest"


def _named(parent: str, tests: Iterable[Test]) -> list[Test]:
    return [(f"{parent}/{name}", state, why) for name, state, why in tests]


def _description(rest: str) -> tuple[str, str]:
    """What a test is called, and what stands behind `#`: a directive, wherever it is there, or else all of it.

    A name ends with the first `#`: whether a directive follows differs between kernels.
    """
    name, *said = _COMMENT.split(rest)
    directive = next((text for text in said if _DIRECTIVE.match(text)), " ".join(said))
    return _ESCAPED.sub(r"\1", name).strip(), directive.strip()


def _state(bad: bool, said: str) -> tuple[State, str]:
    """A test that is to do, or is known to fail, is not held against anybody."""
    directive = _DIRECTIVE.match(said)
    word, text = (directive[1].upper(), directive[2]) if directive else ("", said)
    if word.startswith("SKIP") or word == "XFAIL" or (word == "TODO" and bad):
        return "skipped", text
    return ("failed" if bad else "passed"), text
