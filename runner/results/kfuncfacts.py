"""What is known of each kfunc besides its states: how kernels declare it, what was claimed, a program that calls it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from runner.model import Plain, ProgType, StructLayout
from runner.probes.files import Said
from runner.probes.programs import program_text
from runner.results.availability import counts
from runner.results.docscheck import Docs
from runner.results.history import Signature, signatures
from runner.results.series import KnownBuild, different
from runner.results.statements import Standing, Statement
from runner.text import plain


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
    """Of one kfunc."""

    declared: tuple[Declared, ...] = ()
    statements: tuple[Stated, ...] = ()
    documented: Mapping[str, str] = Field(default_factory=dict)  # by program type, in words; not measured
    example: Example | None = None


@dataclass(frozen=True)
class Sources:
    """Where facts come from: `root` has the programs, `stated` what each probe states and how kernels stand to it."""

    known: Sequence[KnownBuild]
    stated: Iterable[tuple[Said, Statement]]
    root: Path
    docs: Docs


def kfunc_facts(sources: Sources) -> dict[str, KfuncFacts]:
    """By kfunc: those that kernels were asked about."""
    stated: dict[str, list[tuple[Said, Statement]]] = defaultdict(list)
    for said, statement in sources.stated:
        stated[said.subject].append((said, statement))
    types: dict[str, set[str]] = defaultdict(set)
    for topic in (topic for states in different(sources.known) for topic in states if counts(topic)):
        types[topic.subject].add(topic.type)
    return {name: _facts(name, sorted(types[name]), stated[name], sources) for name in sorted(types)}


def _facts(name: str, types: Iterable[str], stated: Sequence[tuple[Said, Statement]], sources: Sources) -> KfuncFacts:
    return KfuncFacts(
        declared=tuple(map(_declared, signatures(sources.known, name))),
        statements=tuple(
            Stated(id=said.id, type=said.type, says=said.says, standing=it.standing, turn=it.turn)
            for said, it in stated
        ),
        documented={it: sources.docs[name].words(ProgType(it)) for it in types} if name in sources.docs else {},
        example=_example([said for said, it in stated if it.standing is not Standing.OPEN], sources.root),
    )


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
