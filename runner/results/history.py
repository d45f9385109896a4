# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One subject over all runs: each change of an answer with its evidence, and what is known of it besides its states.

That is how kernels' BTF declares it, what was claimed, and a program that calls it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import Field

from runner import userfile
from runner.model import Build, Plain, Row, StructLayout, Verdict
from runner.probes.files import FOLDER, Said, own_or_shipped
from runner.results.availability import Topic, counts, family, is_beside
from runner.results.docscheck import Brought, Docs
from runner.results.series import KnownBuild, Measured, different
from runner.results.statements import Standing, Statement
from runner.text import plain

_INCLUDE = re.compile(r'^#include "([A-Za-z0-9_.]+)"', re.MULTILINE)


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


def history(measured: Sequence[Measured], subject: str, types: Iterable[str]) -> tuple[Turn, ...]:
    """Every change, the earliest first. `measured` is in the order of time, with the verdicts about the subject."""
    wanted = frozenset(types)
    asked = {topic for states in different(measured) for topic in states}
    topics = sorted(topic for topic in asked if topic.subject == subject and topic.type in wanted)
    kernels: dict[tuple[str, str], list[tuple[int, Measured]]] = defaultdict(list)  # of the matrix
    for at, each in enumerate(measured):
        kernels[each.cell.name, each.cell.arch].append((at, each))
    turns: list[tuple[_Place, Turn]] = []
    for kernel in kernels.values():
        lines: dict[tuple[str, str, str], list[_Said]] = defaultdict(list)
        for _, group in groupby(kernel, key=lambda it: (id(it[1].states), it[1].verdicts)):
            alike = list(group)
            stretch = _Stretch(alike[0][0], alike[0][1], alike[-1][1], len(alike))
            rows = [((topic.kind, topic.type, ""), stretch.first.states.get(topic)) for topic in topics]
            rows += [((row.kind, row.type, row.probe), row) for row in stretch.first.verdicts if row.type in wanted]
            for number, (question, row) in enumerate(rows):
                lines[question].append((row, number, stretch))
        for (_, prog_type, probe), said in lines.items():
            turns += _turns(prog_type, probe, said)
    turns.sort(key=itemgetter(0))
    return tuple(turn for _, turn in turns if not (turn.before is None and turn.probe))  # first answers: states only


_Place = tuple[int, int]  # in the order of time: which of the measured, and which of its rows


class _Stretch(NamedTuple):
    """Consecutive runs in which a kernel answered alike in everything."""

    at: int  # the first one's place among the measured
    first: Measured
    last: Measured
    runs: int


_Said = tuple[Row | None, int, _Stretch]  # the row's place among those of its run


def _turns(prog_type: str, probe: str, said: Iterable[_Said]) -> Iterator[tuple[_Place, Turn]]:
    """Of one question to one kernel of the matrix on one architecture."""
    before: str | None = None
    old: Measured | None = None
    unanswered = 0
    for row, number, stretch in said:
        after = _words(row)
        if after is None:
            unanswered += stretch.runs
            continue
        if after != before:
            turn = Turn(prog_type, probe, before, after, old, stretch.first, unanswered if old else 0)
            yield (stretch.at, number), turn
        before, old, unanswered = after, stretch.last, 0


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
            best = max((_in_btf(row) for row in rows), key=lambda its: (bool(its[0]), len(its[1]), len(its[2])))
            said.append(((it.build.arch, *best), it.build))
    return tuple(
        Signature(prototype, flags, layouts, owner, arch, tuple(build for _, build in group))
        for (arch, prototype, flags, layouts, owner), group in groupby(said, key=lambda it: it[0])
    )


def _in_btf(row: Row) -> tuple[str, tuple[str, ...], tuple[StructLayout, ...], str]:
    details = cast("dict[str, Any]", row.details)
    layouts = tuple(StructLayout.model_validate(layout) for layout in details.get("layouts", ()))
    return details.get("prototype", ""), tuple(details.get("flags", ())), layouts, details["object"]


# --- what is known besides its states ---------------------------------------------------------------------------------


class Declared(Plain):
    """How consecutive kernels of an architecture declare it."""

    arch: str
    first: str
    last: str
    object: str
    prototype: str
    flags: tuple[str, ...]
    layouts: tuple[StructLayout, ...]


class Stated(Plain):
    """What a program of ours showed. `turn`: the last kernel on the one side and the first on the other."""

    id: str
    type: str
    says: str
    standing: Standing
    turn: tuple[str, str] | None


class Example(Plain):
    """The shortest of our programs that was seen to work."""

    file: str
    text: str


class KfuncFacts(Plain):
    """Of one kfunc. `family` is the file that is about it, or what holds it; `names` are others that it has or had."""

    family: str = ""
    names: tuple[str, ...] = ()
    declared: tuple[Declared, ...] = ()
    statements: tuple[Stated, ...] = ()
    documented: Mapping[str, str] = Field(default_factory=dict)  # by program type, in words; not measured
    brought: Brought | None = None  # documented
    example: Example | None = None


class FeatureFacts(Plain):
    """Of a helper, or a type of programs, maps or attachments."""

    family: str = ""
    brought: Brought | None = None  # documented


def kfunc_facts(
    known: Sequence[KnownBuild], stated: Iterable[tuple[Said, Statement]], root: Path, docs: Docs
) -> dict[str, KfuncFacts]:
    """By kfunc: those that kernels were asked about. `stated`: what each probe states, and how kernels stand to it;
    `root` has the programs."""
    mine: dict[str, list[tuple[Said, Statement]]] = defaultdict(list)
    for said, statement in stated:
        mine[said.subject].append((said, statement))
    found = {}
    for name, rows in sorted(_rows(known, counts).items()):
        doc, types = docs.get(name), sorted({row.type for row in rows})
        found[name] = KfuncFacts(
            family=family(rows),
            names=tuple(it for it in cast("list[str]", rows[0].details.get("names", ())) if it != name),
            declared=tuple(map(_declared, signatures(known, name))),
            statements=tuple(
                Stated(id=said.id, type=said.type, says=said.says, standing=it.standing, turn=it.turn)
                for said, it in mine[name]
            ),
            documented={it: doc.words(it) for it in types} if doc else {},
            brought=doc.brought if doc else None,
            example=_example([said for said, it in mine[name] if it.standing is not Standing.OPEN], root),
        )
    return found


def feature_facts(known: Sequence[KnownBuild], docs: Mapping[str, Brought]) -> dict[str, FeatureFacts]:
    """By name: what else kernels were asked about."""
    rows = _rows(known, lambda topic: is_beside(topic.kind))
    return {name: FeatureFacts(family=family(rows[name]), brought=docs.get(name)) for name in sorted(rows)}


def _rows(known: Sequence[KnownBuild], wanted: Callable[[Topic], bool]) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for topic, row in ((topic, row) for states in different(known) for topic, row in states.items()):
        if wanted(topic):
            found[topic.subject].append(row)
    return found


def _declared(it: Signature) -> Declared:
    return Declared(
        arch=it.arch,
        first=str(it.builds[0]),
        last=str(it.builds[-1]),
        object=plain(it.owner),
        prototype=plain(it.prototype),
        flags=it.flags,
        layouts=it.layouts,
    )


def _example(said: Iterable[Said], root: Path) -> Example | None:
    programs = dict.fromkeys(it.program for it in said if it.program)
    found = (program_text(root, *program) for program in programs)
    best = min((it for it in found if it), key=lambda it: len(it[1]), default=None)
    return best and Example(file=best[0], text=best[1])


def program_text(root: Path, object_: str, program: str) -> tuple[str, str] | None:
    """The file in bpf/ that has a program, a source or a header, and its text: from its section to its last brace.

    None: it is not written as `SECTION int T(program)(` or `int tc_program(`. Raises UserError when a source cannot be
    read.
    """
    name = rf"(?:T\({program}\)|(?:tc_|xdp_)?{program})"
    head = re.compile(rf"^[^\n/#*{{}};]*\b{name}\([^;{{}}]*\)\n\{{.*?^\}}", re.MULTILINE | re.DOTALL)
    for path in _sources(own_or_shipped(root, f"{object_}.bpf.c")):
        text = userfile.read(path).decode("utf-8", "replace")
        if found := head.search(text):
            begins = text[: found.start()].rpartition("\n\n")[2]  # a SEC() may have a line of its own
            return f"{FOLDER}/{path.name}", (begins if begins.startswith("SEC(") else "") + found[0]
    return None


def _sources(path: Path) -> Iterator[Path]:
    yield path
    included = _INCLUDE.findall(userfile.read(path).decode("utf-8", "replace"))
    for name in dict.fromkeys(included):
        if (path.parent / name).is_file():
            yield path.parent / name
