# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs teach about a kind's own expectations, since which kernel until which one; adds it to bpf/NAME.yaml."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from runner.errors import UserError
from runner.model import CellResult, Row, Verdict
from runner.model.version import KernelVersion

if TYPE_CHECKING:
    from runner.probes.kind import Kind

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
    """How rows of a kind teach, whose subjects are `PROBE/ITEM`, and `PROBE` or `PROBE/WHOLE` for all items as one.

    Entries are about its worst state; its best one needs none.
    """

    names: str  # an entry's key for the items
    whole: str
    expected: Callable[[Row], Expected]  # what is to be expected, of a bad row

    def lesson(self, kind: Kind[Any], known: Sequence[Any], cells: Judged) -> Lesson:
        """Entries for what is bad unexpectedly on kernels whose version counts. `known` are the user's own probes."""
        doubts: list[str] = []
        found: dict[tuple[str, str, str, Expected], list[str]] = defaultdict(list)
        for (probe, item), answers in _agreed(self._answers(kind, cells, doubts), doubts).items():
            for since, until, answer in _spans(answers):
                found[probe, since, until, answer].append(_pattern(item or probe))
        entries = (
            Learned(probe, tuple(items), since, until, self.names, answer if isinstance(answer, str) else dict(answer))
            for (probe, since, until, answer), items in found.items()
        )
        return Lesson(tuple(entries), tuple(dict.fromkeys(doubts)), tuple(self._unneeded(kind, known, cells)))

    def _answers(self, kind: Kind[Any], cells: Judged, doubts: list[str]) -> Answers:
        """What each kernel answered unexpectedly, by probe and item; None: it answered as expected."""
        found: Answers = defaultdict(lambda: defaultdict(set))
        worst = kind.states[0].word
        for result, rows in cells:
            version = result.cell.kernel.judged_as
            mine = [row for row in rows if row.kind == kind.name and row.answered and not row.crashed]
            for row in mine:
                probe, _, item = row.subject.partition("/")
                broken = row.verdict is Verdict.BROKEN and not row.known_issue
                bad, where = broken and row.state == worst, f"{row.subject} on {result.cell.id}"
                if broken and not bad:  # it does well against an entry, or exceeds a limit
                    doubts.append(f"{where}: {row.cause}")
                if bad and version is None:
                    doubts.append(f"{where}: a vendor's kernel, whose version tells nothing")
                elif bad and row.expected != kind.best:
                    doubts.append(f"{where}: expected was {row.expected}, and not: {row.observed}")
                elif version and not (item == self.whole and self._has_bad_part(probe, mine, worst)):
                    found[probe, item][version].add(self.expected(row) if bad else None)
        return found

    def _has_bad_part(self, probe: str, rows: Sequence[Row], worst: str) -> bool:
        """Then nothing is expected of the whole."""
        parts = (row for row in rows if row.subject.startswith(f"{probe}/") and row.subject != f"{probe}/{self.whole}")
        return any(row.state == worst for row in parts)

    def _unneeded(self, kind: Kind[Any], known: Sequence[Any], cells: Judged) -> Iterator[str]:
        """Expectations that no kernel of the run needs: all that they name is good on each."""
        for mine in known:
            for entry in mine.settings.expect:
                states = {
                    row.state
                    for result, rows in cells
                    for row in rows
                    if row.kind == kind.name and row.answered and row.subject.partition("/")[0] == mine.id
                    and mine.expected(row.subject.partition("/")[2], result.cell.kernel.judged_as) is entry
                }  # fmt: skip
                if states == {kind.best}:
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


def _spans(answers: Mapping[KernelVersion, Expected | None]) -> Iterator[tuple[str, str, Expected]]:
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


# --- written into a file ----------------------------------------------------------------------------------------------


def entered(
    text: str,
    kind: Kind[Any],
    begun: Mapping[str, Mapping[str, object]],
    entries: Sequence[Learned],
    *,
    why: str,
    path: str,
) -> str:
    """The text of bpf/NAME.yaml, which is a mapping or empty, with these entries of `expect:`; the rest stays as it is.

    A kind lists what is the user's (`objects:`, `commands:`) under its own name. `begun`: how one that is not there
    begins, by the probe's id. Raises UserError, for the file at `path`, for a layout that is not understood.
    """
    by_probe: dict[str, list[str]] = defaultdict(list)
    for each in entries:
        by_probe[each.of].append(f"- {_flow(each.entry(why))}")
    for probe, lines in by_probe.items():
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        there = _value(root, kind.name)
        listed = there.value if isinstance(there, yaml.SequenceNode) else ()
        mine = next((it for it in listed if isinstance(it, yaml.MappingNode) and kind.is_of(_read(it), probe)), None)
        if mine is None:
            pairs = [_flow({key: value})[1:-1] for key, value in begun[probe].items()]
            new = [f"{'  ' if number else '- '}{pair}" for number, pair in enumerate(pairs)]
            added = [*new, "  expect:", *(f"    {line}" for line in lines)]
            if isinstance(there, yaml.SequenceNode):
                text = _after(text, there, [" " * there.start_mark.column + line for line in added], path)
            elif there:  # the key, with nothing behind it
                text = _inserted(text, there.start_mark.line + 1, [f"  {it}" for it in added])
            else:
                head = text.rstrip("\n") + "\n" if text.strip() else ""
                text = f"{head}{kind.name}:\n" + _joined(f"  {it}" for it in added)
        elif isinstance(expect := _value(mine, "expect"), yaml.SequenceNode):
            text = _after(text, expect, [" " * expect.start_mark.column + line for line in lines], path)
        else:
            column = " " * mine.start_mark.column
            text = _after(text, mine, [f"{column}expect:", *(f"{column}  {line}" for line in lines)], path)
    return text


def _read(node: yaml.Node) -> Mapping[str, object]:
    found: Mapping[str, object] = yaml.SafeLoader("").construct_document(node)
    return found


def _flow(entry: Mapping[str, object]) -> str:
    """The value in YAML, on one line."""
    return str(
        yaml.safe_dump(dict(entry), default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    ).strip()


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _after(text: str, node: yaml.CollectionNode, added: Sequence[str], path: str) -> str:
    """The text with these lines behind the last line of a sequence or mapping, which stands on lines of its own."""
    if node.flow_style:
        line = node.start_mark.line + 1
        raise UserError(f"{path}:{line}: an entry is added only where each stands on a line of its own", hint=_HINT)
    last: yaml.Node = node
    while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
        item = last.value[-1]
        last = item[1] if isinstance(item, tuple) else item
    lines = text.splitlines()
    at = last.end_mark.line + (1 if last.end_mark.column else 0)
    while at and not lines[at - 1].strip():
        at -= 1
    return _inserted(text, at, added)


def _inserted(text: str, at: int, added: Iterable[str]) -> str:
    """The text with these lines behind the first `at` ones."""
    lines = text.splitlines(keepends=True)
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join([*lines[:at], _joined(added), *lines[at:]])


_HINT = "write it without brackets, or add what `runner probes learn` prints by hand"
