# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs teach about a kind's own expectations, and since which kernel until which one. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from runner.model import CellResult, Row, Verdict
from runner.model.version import KernelVersion

Judged = Sequence[tuple[CellResult, Sequence[Row]]]
Expected = str | tuple[tuple[str, str], ...]  # the `answer` of an entry: a word, or keys and values
Answers = dict[tuple[str, str], dict[KernelVersion, set[Expected | None]]]


@dataclass(frozen=True, slots=True)
class Learned:
    """An expectation of those items of a probe that answer alike on the same kernels: an entry of bpf/NAME.yaml."""

    of: str  # the probe's id
    items: tuple[str, ...]
    since: str
    until: str
    names: str  # its key for the items
    answer: object

    def entry(self, why: str) -> dict[str, object]:
        """The entry as bpf/NAME.yaml has it."""
        points = {key: [it] for key, it in (("since", self.since), ("until", self.until)) if it}
        return {self.names: list(self.items), **points, "answer": self.answer, "why": why}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a run teaches. `doubts` are deviations that no entry can express, `gone` entries that no kernel needs."""

    entries: tuple[Learned, ...] = ()
    doubts: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Learning:
    """How rows of a kind teach, whose subjects are `PROBE/ITEM`, and `PROBE` or `PROBE/WHOLE` for all items as one."""

    kind: str
    good: str  # the state that needs no entry
    bad: str  # the state that entries are about
    names: str  # an entry's key for the items
    whole: str
    expected: Callable[[Row], Expected]  # what is to be expected, of a bad row

    def lesson(self, known: Sequence[Any], cells: Judged) -> Lesson:
        """Entries for what is bad unexpectedly on kernels whose version counts. `known` are the user's own probes."""
        doubts: list[str] = []
        found: dict[tuple[str, str, str, Expected], list[str]] = defaultdict(list)
        for (probe, item), answers in _agreed(self._answers(cells, doubts), doubts).items():
            for since, until, answer in spans(answers):
                found[probe, since, until, answer].append(_pattern(item or probe))
        entries = (
            Learned(probe, tuple(items), since, until, self.names, answer if isinstance(answer, str) else dict(answer))
            for (probe, since, until, answer), items in found.items()
        )
        return Lesson(tuple(entries), tuple(dict.fromkeys(doubts)), tuple(self._unneeded(known, cells)))

    def _answers(self, cells: Judged, doubts: list[str]) -> Answers:
        """What each kernel answered unexpectedly, by probe and item; None: it answered as expected."""
        found: Answers = defaultdict(lambda: defaultdict(set))
        for result, rows in cells:
            version = result.cell.kernel.judged_as
            mine = [row for row in rows if row.kind == self.kind and row.answered and not row.crashed]
            for row in mine:
                probe, _, item = row.subject.partition("/")
                broken = row.verdict is Verdict.BROKEN and not row.known_issue
                bad, where = broken and row.state == self.bad, f"{row.subject} on {result.cell.id}"
                if broken and not bad:  # it does well against an entry, or exceeds a limit
                    doubts.append(f"{where}: {row.cause}")
                if bad and version is None:
                    doubts.append(f"{where}: a vendor's kernel, whose version tells nothing")
                elif bad and row.expected != self.good:
                    doubts.append(f"{where}: expected was {row.expected}, and not: {row.observed}")
                elif version and not (item == self.whole and self._has_bad_part(probe, mine)):
                    found[probe, item][version].add(self.expected(row) if bad else None)
        return found

    def _has_bad_part(self, probe: str, rows: Sequence[Row]) -> bool:
        """Then nothing is expected of the whole."""
        parts = (row for row in rows if row.subject.startswith(f"{probe}/") and row.subject != f"{probe}/{self.whole}")
        return any(row.state == self.bad for row in parts)

    def _unneeded(self, known: Sequence[Any], cells: Judged) -> Iterator[str]:
        """Expectations that no kernel of the run needs: all that they name is good on each."""
        for mine in known:
            for entry in mine.settings.expect:
                states = {
                    row.state
                    for result, rows in cells
                    for row in rows
                    if row.kind == self.kind and row.answered and row.subject.partition("/")[0] == mine.id
                    and mine.expected(row.subject.partition("/")[2], result.cell.kernel.judged_as) is entry
                }  # fmt: skip
                if states == {self.good}:
                    yield f"{mine.id}: {', '.join(getattr(entry, self.names))}, {entry.interval}: {entry.why}"


def _pattern(name: str) -> str:
    """That fits this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _agreed(answers: Answers, doubts: list[str]) -> dict[tuple[str, str], dict[KernelVersion, Expected | None]]:
    """One answer of each version, by probe and item; None, and a doubt, where architectures differ."""
    found: dict[tuple[str, str], dict[KernelVersion, Expected | None]] = defaultdict(dict)
    for (probe, item), by_version in answers.items():
        for version, mine in by_version.items():
            if len(mine) > 1:
                doubts.append(f"{'/'.join(filter(None, (probe, item)))} on {version}: architectures differ")
            found[probe, item][version] = next(iter(mine)) if len(mine) == 1 else None
    return found


def spans(answers: Mapping[KernelVersion, Expected | None]) -> Iterator[tuple[str, str, Expected]]:
    """(since, until, answer) of neighbouring kernels with one answer; empty where there is no kernel before or behind.

    None: it answers as expected.
    """
    before: KernelVersion | None = None
    runs = [
        (answer, [it[0] for it in group])
        for answer, group in groupby(sorted(answers.items(), key=lambda it: it[0]), key=lambda it: it[1])
    ]
    for at, (answer, versions) in enumerate(runs):
        after = runs[at + 1][1][0] if at + 1 < len(runs) else None
        if answer:
            since = _point(before, versions[0]) if before else ""
            yield since, _point(versions[-1], after) if after else "", answer
        before = versions[-1]


def _point(before: KernelVersion, first: KernelVersion) -> str:
    """Where a span begins: the series, where that tells the two kernels apart, or else the version."""
    return str(first) if before.series == first.series else ".".join(map(str, first.series))
