# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs teach about a kind's own expectations, and since which kernel until which one. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from runner.model import CellResult, Row
from runner.model.version import KernelVersion

Judged = Sequence[tuple[CellResult, Sequence[Row]]]
AnswerT = TypeVar("AnswerT")


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


Answers = dict[tuple[str, str], dict[KernelVersion, set[AnswerT | None]]]


def agreed(answers: Answers[AnswerT], doubts: list[str]) -> dict[tuple[str, str], dict[KernelVersion, AnswerT | None]]:
    """One answer of each version, by probe and item; None, and a doubt, where architectures differ."""
    found: dict[tuple[str, str], dict[KernelVersion, AnswerT | None]] = defaultdict(dict)
    for (probe, item), by_version in answers.items():
        for version, mine in by_version.items():
            if len(mine) > 1:
                doubts.append(f"{'/'.join(filter(None, (probe, item)))} on {version}: architectures differ")
            found[probe, item][version] = next(iter(mine)) if len(mine) == 1 else None
    return found


def spans(answers: Mapping[KernelVersion, AnswerT | None]) -> Iterator[tuple[str, str, AnswerT]]:
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
