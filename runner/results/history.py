# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One subject over all runs: each change of an answer with its evidence, and what kernels' BTF declares it to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, cast

from runner.model import Build, Row, StructLayout, Verdict
from runner.results.series import KnownBuild, Measured, different


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer that is not the one before, of the same kernel of the matrix and the same architecture.

    `probe` is empty where the state of the subject itself is meant. `before` is None for the first answer of all.
    `unanswered` are the runs in between in which there was none.
    """

    type: str
    probe: str
    before: str | None
    after: str
    old: Measured | None
    new: Measured
    unanswered: int = 0

    @property
    def when(self) -> datetime:
        return self.new.started


@dataclass(slots=True)
class _Line:
    """One question to one kernel of the matrix on one architecture."""

    type: str
    probe: str
    row: Row | None = None  # the last one, `words` or not
    said: str | None = None  # by it
    words: str | None = None  # of the last answer that has any, and who gave it
    seen: Measured | None = None
    unanswered: int = 0

    def take(self, row: Row | None, measured: Measured) -> Turn | None:
        """The change, if it is one. Equal rows are mostly the same object, which is put into words once."""
        if row is not self.row:
            self.row, self.said = row, _words(row)
        if self.said is None:
            self.unanswered += 1
            return None
        turn = None
        if self.said != self.words:
            unanswered = self.unanswered if self.seen else 0
            turn = Turn(self.type, self.probe, self.words, self.said, self.seen, measured, unanswered)
        self.words, self.seen, self.unanswered = self.said, measured, 0
        return turn


def history(measured: Sequence[Measured], subject: str, types: Iterable[str]) -> tuple[Turn, ...]:
    """Every change, the earliest first. `measured` is in the order of time, with the verdicts about the subject."""
    wanted = frozenset(types)
    asked = {topic for states in different(measured) for topic in states}
    topics = sorted(topic for topic in asked if topic.subject == subject and topic.type in wanted)
    kernels: dict[tuple[str, str], dict[tuple[str, str, str], _Line]] = defaultdict(dict)
    turns: list[Turn] = []
    for each in measured:
        lines = kernels[each.cell.name, each.cell.arch]
        rows = [((topic.kind, topic.type, ""), each.states.get(topic)) for topic in topics]
        rows += [((row.kind, row.type, row.probe), row) for row in each.verdicts if row.type in wanted]
        for key, row in rows:
            line = lines.get(key) or lines.setdefault(key, _Line(key[1], key[2]))
            if turn := line.take(row, each):
                turns.append(turn)
    return tuple(turn for turn in turns if not (turn.before is None and turn.probe))  # first answers: states only


def _words(row: Row | None) -> str | None:
    """None where there is no answer."""
    if row is None or not row.answered:
        return None
    if row.crashed:
        return "crashed the kernel"
    if row.state:
        return ": ".join(filter(None, (row.state, row.cause)))
    # what holds may differ in counters; what is broken is told by what was seen
    return f"{row.verdict}: {row.observed}" if row.verdict is Verdict.BROKEN else str(row.verdict)


@dataclass(frozen=True, slots=True)
class Signature:
    """Consecutive kernels of one architecture that declare the same. An empty `prototype` was not recorded."""

    prototype: str
    flags: tuple[str, ...]
    layouts: tuple[StructLayout, ...]
    owner: str  # vmlinux or a module
    arch: str
    builds: tuple[Build, ...]


def signatures(known: Iterable[KnownBuild], subject: str) -> tuple[Signature, ...]:
    """`known` by architecture and version. Kernels whose BTF does not have the subject are left out."""
    said = []
    for it in known:
        # it is a property of the kernel: what one program type's answer lacks, another's may have
        rows = [row for topic, row in it.states.items() if topic.subject == subject and row.details.get("object")]
        if rows:
            best = max((_declared(row) for row in rows), key=lambda its: (bool(its[0]), len(its[1]), len(its[2])))
            said.append(((it.build.arch, *best), it.build))
    return tuple(
        Signature(prototype, flags, layouts, owner, arch, tuple(build for _, build in group))
        for (arch, prototype, flags, layouts, owner), group in groupby(said, key=lambda it: it[0])
    )


def _declared(row: Row) -> tuple[str, tuple[str, ...], tuple[StructLayout, ...], str]:
    details = cast("dict[str, Any]", row.details)
    layouts = tuple(StructLayout.model_validate(layout) for layout in details.get("layouts", ()))
    return details.get("prototype", ""), tuple(details.get("flags", ())), layouts, details["object"]
