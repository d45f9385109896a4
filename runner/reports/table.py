# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tables of states have in common: types and architectures that answer alike share a line and a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from runner.probes.kinds import KINDS
from runner.reports.findings import alike
from runner.results.availability import Availability, Column, Topic

_Field = TypeVar("_Field")
Text = Callable[[Topic, Column], str]  # what a field says, as far as it tells answers apart


@dataclass(frozen=True, slots=True)
class Line:
    """A subject, and its types that answered alike on every kernel. The first topic stands for all."""

    topics: tuple[Topic, ...]

    @property
    def topic(self) -> Topic:
        return self.topics[0]

    @property
    def types(self) -> str:
        """`tc, xdp`"""
        return ", ".join(filter(None, (it.type for it in self.topics)))


def lines(grid: Availability, text: Text) -> tuple[Line, ...]:
    """In the order of the topics."""
    groups = alike(
        grid.topics, lambda topic: (topic.kind, topic.subject, *(text(topic, column) for column in grid.columns))
    )
    return tuple(Line(tuple(group)) for group in groups)


def shared(fields: Sequence[_Field]) -> Sequence[_Field]:
    """One of the fields where all are equal."""
    return fields[:1] if all(field == fields[0] for field in fields) else fields


def differs(line: Line, grid: Availability) -> tuple[bool, bool]:
    """Do architectures of one kernel differ; do kernels? One of several worst states is as good as another."""
    ranks = [[_rank(line.topic, column, grid) for column in on] for _, on in grid.kernels]
    return any(len(set(of)) > 1 for of in ranks), len({rank for of in ranks for rank in of}) > 1


def is_nowhere(line: Line, grid: Availability) -> bool:
    """Is every answer one of the worst?"""
    return {_rank(line.topic, column, grid) for column in grid.columns} == {0}


def _rank(topic: Topic, column: Column, grid: Availability) -> int | str:
    row = grid.state(topic, column)
    known = KINDS[row.kind].rank(row.state)
    return row.state if known is None else known


def archs_note(grid: Availability) -> str:
    """Of which architectures a mark is, and how a field with several is read; empty where there is one."""
    archs = list(dict.fromkeys(column.arch for column in grid.columns))
    if len(archs) < 2:
        return ""
    apart = any(differs(Line((topic,)), grid)[0] for topic in grid.topics)
    return f"several marks: {'/'.join(archs)}" if apart else f"{', '.join(archs)} agree"


def archs_of(on: Sequence[Column], grid: Availability) -> str:
    """Of a kernel, where these are not those of all kernels."""
    mine, every = ([column.arch for column in each] for each in (on, grid.columns))
    return "/".join(mine) if len(set(every)) == 1 or set(mine) != set(every) else ""
