# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What deviates in a run, as entries of `expect:`; and entries that no kernel needs any more. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from runner.model import Row, Verdict
from runner.model.version import KernelVersion
from runner.probes.lessons import Answers, Judged, Learned, Lesson, agreed, spans
from runner.probes.objects.judge import LOADS, NAME, REFUSED
from runner.probes.objects.written import TOGETHER, UserObject

_Cause = tuple[str, str]  # a word, and what it is about


def learn(known: Sequence[UserObject], cells: Judged) -> Lesson:
    """Entries for what was refused unexpectedly, on kernels whose version counts."""
    doubts: list[str] = []
    found: dict[tuple[str, str, str, _Cause], list[str]] = defaultdict(list)
    for (object_, name), answers in _answers(cells, doubts).items():
        for since, until, cause in spans(answers):
            found[object_, since, until, cause].append(name)
    entries = (
        Learned(object_, tuple(names), since, until, "programs", _answer(*cause))
        for (object_, since, until, cause), names in found.items()
    )
    return Lesson(tuple(entries), tuple(dict.fromkeys(doubts)), tuple(_unneeded(known, cells)))


def _answer(word: str, name: str) -> dict[str, str]:
    return {"cause": word, "name": name} if name else {"cause": word}


def _answers(cells: Judged, doubts: list[str]) -> dict[tuple[str, str], dict[KernelVersion, _Cause | None]]:
    """The cause of each kernel's refusal by object and program; None: it loads, or is expected not to."""
    found: Answers[_Cause] = defaultdict(lambda: defaultdict(set))
    for result, rows in cells:
        version = result.cell.kernel.judged_as
        mine = [row for row in rows if row.kind == NAME and row.answered and not row.crashed]
        for row in mine:
            object_, _, name = row.subject.partition("/")
            broken = row.verdict is Verdict.BROKEN and not row.known_issue
            refused = broken and row.state == REFUSED
            if broken and not refused:  # it loads against an entry, or beyond a limit
                doubts.append(f"{row.subject} on {result.cell.id}: {row.cause}")
            if refused and version is None:
                doubts.append(f"{row.subject} on {result.cell.id}: a vendor's kernel, whose version tells nothing")
            elif refused and row.expected != LOADS:
                doubts.append(f"{row.subject} on {result.cell.id}: expected was {row.expected}, and not: {row.cause}")
            elif version and not (name == TOGETHER and _a_part_is_refused(object_, mine)):
                found[object_, name][version].add(_cause(row))
    return agreed(found, doubts)


def _a_part_is_refused(object_: str, rows: Sequence[Row]) -> bool:
    """Is a part of this object refused? Then nothing is expected of the whole."""
    parts = (row for row in rows if row.subject.startswith(f"{object_}/") and row.subject != f"{object_}/{TOGETHER}")
    return any(row.state == REFUSED for row in parts)


def _cause(row: Row) -> _Cause | None:
    if row.state != REFUSED or row.verdict is not Verdict.BROKEN or row.known_issue:
        return None
    return str(row.details.get("cause", REFUSED)), str(row.details.get("name", ""))


def _unneeded(known: Sequence[UserObject], cells: Judged) -> Iterator[str]:
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
