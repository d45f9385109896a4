# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Tests that do not pass, as entries of `expect:`; and entries that no kernel needs any more. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from runner.model import Row, Verdict
from runner.model.version import KernelVersion
from runner.probes.commands.judge import FAILED, NAME, PASSED
from runner.probes.commands.written import UserCommand
from runner.probes.lessons import Answers, Judged, Learned, Lesson, agreed, spans


def learn(known: Sequence[UserCommand], cells: Judged) -> Lesson:
    """Entries for what failed unexpectedly, on kernels whose version counts."""
    doubts: list[str] = []
    found: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for (command, test), answers in _answers(cells, doubts).items():
        for since, until, state in spans(answers):
            found[command, since, until, state].append(_pattern(test or command))
    entries = (
        Learned(command, tuple(tests), since, until, "tests", state)
        for (command, since, until, state), tests in found.items()
    )
    return Lesson(tuple(entries), tuple(dict.fromkeys(doubts)), tuple(_unneeded(known, cells)))


def _pattern(name: str) -> str:
    """That fits this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _answers(cells: Judged, doubts: list[str]) -> dict[tuple[str, str], dict[KernelVersion, str | None]]:
    """How each kernel ended a test unexpectedly, by command and test; None: it did not."""
    found: Answers[str] = defaultdict(lambda: defaultdict(set))
    for result, rows in cells:
        version = result.cell.kernel.judged_as
        for row in (row for row in rows if row.kind == NAME and row.answered and not row.crashed):
            command, _, test = row.subject.partition("/")
            broken = row.verdict is Verdict.BROKEN and not row.known_issue
            if broken and version is None:
                doubts.append(f"{row.subject} on {result.cell.id}: a vendor's kernel, whose version tells nothing")
            elif broken and (row.state == PASSED or row.expected != PASSED):
                doubts.append(f"{row.subject} on {result.cell.id}: {row.cause}")
            elif version and (test or not _a_test_failed(command, rows)):
                found[command, test][version].add(FAILED if broken else None)
    return agreed(found, doubts)


def _a_test_failed(command: str, rows: Sequence[Row]) -> bool:
    """Did a test of this command fail? Then nothing is expected of the command as a whole."""
    return any(row.state == FAILED and row.kind == NAME and row.subject.startswith(f"{command}/") for row in rows)


def _unneeded(known: Sequence[UserCommand], cells: Judged) -> Iterator[str]:
    """Expectations that no kernel of the run needs: each passes all that they name."""
    for mine in known:
        for entry in mine.settings.expect:
            states = [
                row.state
                for result, rows in cells
                for row in rows
                if row.kind == NAME and row.answered and row.subject.partition("/")[0] == mine.id
                and mine.expected(row.subject.partition("/")[2], result.cell.kernel.judged_as) is entry
            ]  # fmt: skip
            if states and set(states) == {PASSED}:
                yield f"{mine.id}: {', '.join(entry.tests)}, {entry.interval}: {entry.why}"
