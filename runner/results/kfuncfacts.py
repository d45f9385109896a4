# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is known of each kfunc besides its states: how kernels declare it, what was claimed, a program that calls it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import Field

from runner import userfile
from runner.model import Plain, Row, StructLayout
from runner.probes.files import FOLDER, Said, own_or_shipped
from runner.results.availability import Topic, counts, family, is_beside
from runner.results.docscheck import Brought, Docs
from runner.results.history import Signature, signatures
from runner.results.series import KnownBuild, different
from runner.results.statements import Standing, Statement
from runner.text import plain

_INCLUDE = re.compile(r'^#include "([A-Za-z0-9_.]+)"', re.MULTILINE)


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
