# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What deviates in a run, as entries of `expect:`; and entries that no kernel needs any more. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from runner.model import CellResult, Row, Verdict
from runner.model.version import KernelVersion
from runner.probes.objects.judge import LOADS, NAME, REFUSED
from runner.probes.objects.written import TOGETHER, UserObject

Judged = Sequence[tuple[CellResult, Sequence[Row]]]
_Cause = tuple[str, str]  # a word, and what it is about


@dataclass(frozen=True, slots=True)
class Learned:
    """An expectation of the programs of one object that are refused on the same kernels for the same cause."""

    of: str  # the object's id
    programs: tuple[str, ...]
    since: str
    until: str
    cause: _Cause

    def entry(self, why: str) -> dict[str, object]:
        """The entry as bpf/NAME.yaml has it."""
        points = {key: [it] for key, it in (("since", self.since), ("until", self.until)) if it}
        word, name = self.cause
        answer = {"cause": word, "name": name} if name else {"cause": word}
        return {"programs": list(self.programs), **points, "answer": answer, "why": why}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a run teaches. `doubts` are deviations that no entry can express, in words."""

    entries: tuple[Learned, ...]
    doubts: tuple[str, ...]


def learn(cells: Judged) -> Lesson:
    """Entries for what was refused unexpectedly, on kernels whose version counts."""
    doubts: list[str] = []
    spans: dict[tuple[str, str, str, _Cause], list[str]] = defaultdict(list)
    for (object_, name), answers in _answers(cells, doubts).items():
        for since, until, cause in _spans(answers):
            spans[object_, since, until, cause].append(name)
    entries = (
        Learned(object_, tuple(names), since, until, cause) for (object_, since, until, cause), names in spans.items()
    )
    return Lesson(tuple(entries), tuple(dict.fromkeys(doubts)))


def _answers(cells: Judged, doubts: list[str]) -> dict[tuple[str, str], dict[KernelVersion, _Cause | None]]:
    """The cause of each kernel's refusal by object and program; None: it loads, or is expected not to."""
    found: dict[tuple[str, str], dict[KernelVersion, set[_Cause | None]]] = defaultdict(lambda: defaultdict(set))
    for result, rows in cells:
        version = result.cell.kernel.judged_as
        mine = [row for row in rows if row.kind == NAME and row.answered and not row.crashed]
        if version is None:
            refused = [row.subject for row in mine if row.state == REFUSED]
            doubts += [f"{it} on {result.cell.id}: a vendor's kernel, whose version tells nothing" for it in refused]
            continue
        for row in mine:
            object_, _, name = row.subject.partition("/")
            broken = row.verdict is Verdict.BROKEN and not row.known_issue
            if broken and row.state == LOADS:  # against an entry, or beyond a limit
                doubts.append(f"{row.subject} on {result.cell.id}: {row.cause}")
            if broken and row.state == REFUSED and row.expected != LOADS:
                doubts.append(f"{row.subject} on {result.cell.id}: expected was {row.expected}, and not: {row.cause}")
            elif not (name == TOGETHER and _a_part_is_refused(object_, mine)):
                found[object_, name][version].add(_cause(row))
    for (object_, name), by_version in found.items():
        for version in [version for version, causes in by_version.items() if len(causes) > 1]:
            doubts.append(f"{object_}/{name} on {version}: architectures differ")
            del by_version[version]
    return {key: {version: next(iter(it)) for version, it in by_version.items()} for key, by_version in found.items()}


def _a_part_is_refused(object_: str, rows: Sequence[Row]) -> bool:
    """Is a part of this object refused? Then nothing is expected of the whole."""
    parts = (row for row in rows if row.subject.startswith(f"{object_}/") and row.subject != f"{object_}/{TOGETHER}")
    return any(row.state == REFUSED for row in parts)


def _cause(row: Row) -> _Cause | None:
    if row.state != REFUSED or row.verdict is not Verdict.BROKEN or row.known_issue:
        return None
    return str(row.details.get("cause", REFUSED)), str(row.details.get("name", ""))


def _spans(answers: Mapping[KernelVersion, _Cause | None]) -> Iterator[tuple[str, str, _Cause]]:
    """(since, until, cause) of neighbouring kernels with one cause; empty where there is no kernel before or behind."""
    before: KernelVersion | None = None
    runs = [
        (cause, [it[0] for it in group])
        for cause, group in groupby(sorted(answers.items(), key=lambda it: it[0]), key=lambda it: it[1])
    ]
    for at, (cause, versions) in enumerate(runs):
        after = runs[at + 1][1][0] if at + 1 < len(runs) else None
        if cause:
            since = _point(before, versions[0]) if before else ""
            yield since, _point(versions[-1], after) if after else "", cause
        before = versions[-1]


def _point(before: KernelVersion, first: KernelVersion) -> str:
    """Where a span begins: the series, where that tells the two kernels apart, or else the version."""
    return str(first) if before.series == first.series else ".".join(map(str, first.series))


def unneeded(known: Sequence[UserObject], cells: Judged) -> Iterator[str]:
    """Expectations that no kernel of the run needs: each kernel loads all that they name."""
    for mine in known:
        for entry in mine.settings.expect:
            states = [
                row.state
                for result, rows in cells
                for row in rows
                if row.kind == NAME and row.answered and row.subject.startswith(f"{mine.id}/")
                and mine.expected(row.subject.partition("/")[2], result.cell.kernel.judged_as) is entry
            ]  # fmt: skip
            if states and set(states) == {LOADS}:
                yield f"{mine.id}: {', '.join(entry.programs)}, {entry.interval}: {entry.why}"
