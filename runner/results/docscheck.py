# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the eBPF Docs project says about kfuncs, helpers and types, held against what kernels answered.

Its versions are those of the mainline: a stable kernel that has more than its series says got it as a backport, which
is a disagreement worth to know. What is absent wherever it should be may be left out by the kernels' configuration, and
that is said instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, TypeAdapter, ValidationError

from runner import userfile
from runner.errors import UserError, first_of
from runner.model import Build, Plain, ProgType, Row, State
from runner.model.version import KernelVersion
from runner.probes.kinds import KINDS
from runner.results.availability import Topic, is_beside
from runner.results.series import KnownBuild, Measured
from runner.results.stories import Only, filled

T = TypeVar("T")
FEATURES = ("helpers", "map_types", "program_types", "attach_types")  # groups of the project's features
_HINT = "--ebpf-docs needs a checkout of the project"
CALLABLE = (State.REGISTERED, State.USABLE)

# Filters of the kernel look at what such a program is attached to; each type is attached to one thing when it is asked.
ATTACHED_TYPES = (ProgType.STRUCT_OPS, ProgType.LSM, ProgType.TRACING, ProgType.KPROBE)

# what the project calls our program types; UNSPEC is every type
_NAMES = {
    **{f"BPF_PROG_TYPE_{name.upper()}": name for name in ProgType if name is not ProgType.TC},
    "BPF_PROG_TYPE_SCHED_CLS": ProgType.TC,
    "BPF_PROG_TYPE_UNSPEC": None,
}


# --- what is documented: data/kfuncs.yaml and data/feature-versions.yaml of the project's checkout --------------------

_Version = Annotated[
    InstanceOf[KernelVersion], BeforeValidator(lambda text: KernelVersion.parse(str(text).removeprefix("v")))
]


class _Read(BaseModel):
    """Someone else's format: what we do not know is not looked at. Every scalar is text, or 6.10 would be 6.1."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class _Point(_Read):
    version: _Version
    commit: str = ""


class _Type(_Read):
    name: str
    since: _Point | None = None
    until: _Point | None = None


class _Types(_Read):
    program_types: tuple[_Type, ...] = ()


class _Func(_Read):
    name: str
    flags: tuple[str, ...] = ()
    without: _Types = Field(default=_Types(), alias="except")


class _Set(_Types):
    funcs: tuple[_Func, ...] = ()


class _Kfuncs(_Read):
    sets: dict[str, _Set]


class _Feature(_Point):
    name: str


class _Group(_Read):
    name: str
    features: tuple[_Feature, ...] = ()


class Brought(Plain):
    """The version and the commit with which the kernel got it."""

    version: str
    commit: str

    def __str__(self) -> str:
        return f"since {self.version}" + (f", commit {self.commit[:12]}" if self.commit else "")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Programs of a type may call it on these kernels. None: every type; from the first; to the last."""

    prog_type: ProgType | None
    since: KernelVersion | None
    until: KernelVersion | None

    def holds(self, version: KernelVersion) -> bool:
        """Release candidates of a version count as it."""
        begun = self.since is None or version.series >= self.since.series
        return begun and (self.until is None or version.series < self.until.series)


@dataclass(frozen=True, slots=True)
class Documented:
    """One kfunc."""

    allowances: tuple[Allowance, ...]
    flags: frozenset[str]
    brought: Brought | None = None

    def of(self, prog_type: str) -> tuple[Allowance, ...]:
        return tuple(it for it in self.allowances if it.prog_type in (None, prog_type))

    def says(self, prog_type: str, version: KernelVersion) -> bool:
        """May programs of this type call it on this kernel?"""
        return any(it.holds(version) for it in self.of(prog_type))

    def since_for(self, prog_type: str) -> KernelVersion | None:
        """The first version that has it for this type; None when it is not for this type, or no version is given."""
        return min((it.since for it in self.of(prog_type) if it.since), default=None)

    def words(self, prog_type: str) -> str:
        """`since 6.1`, `since 6.3 until 6.11`, `not for this type`, `without a version`"""
        mine, since = self.of(prog_type), self.since_for(prog_type)
        if not mine:
            return "not for this type"
        ends = [it.until for it in mine if it.until]
        until = max(ends) if len(ends) == len(mine) else None
        parts = [f"since {since}" if since else "", f"until {until}" if until else ""]
        return " ".join(filter(None, parts)) or "without a version"


Docs = Mapping[str, Documented]  # by kfunc


def load(folder: Path) -> dict[str, Documented]:
    """By kfunc. `folder` is the project's checkout. Raises UserError when the files are not there or not these."""
    kfuncs = _parsed(folder / "data" / "kfuncs.yaml", TypeAdapter(_Kfuncs))
    brought = load_brought(folder, "kfuncs")
    since = {name: KernelVersion.parse(it.version) for name, it in brought.items()}
    found: dict[str, Documented] = {}
    for entry in kfuncs.sets.values():
        for func in entry.funcs:
            refused = {it.name for it in func.without.program_types}
            types = (it for it in entry.program_types if it.name in _NAMES and it.name not in refused)
            mine = tuple(_allowance(it, since.get(func.name)) for it in types)
            before = found.get(func.name, Documented((), frozenset(), brought.get(func.name)))
            flags = before.flags | frozenset(func.flags)
            found[func.name] = replace(before, allowances=(*before.allowances, *mine), flags=flags)
    return found


def load_brought(folder: Path, *groups: str) -> dict[str, Brought]:
    """By name, of these groups of data/feature-versions.yaml. Raises UserError as `load` does."""
    every = _parsed(folder / "data" / "feature-versions.yaml", TypeAdapter(tuple[_Group, ...]))
    features = [it for group in every if group.name in groups for it in group.features]
    return {it.name: Brought(version=str(it.version), commit=it.commit) for it in features}


def _allowance(it: _Type, there: KernelVersion | None) -> Allowance:
    """`there`: since when the kfunc is in the kernel at all."""
    points = [point for point in (there, it.since and it.since.version) if point]
    return Allowance(_NAMES[it.name], max(points, default=None), it.until.version if it.until else None)


def _parsed(path: Path, model: TypeAdapter[T]) -> T:
    try:
        # BaseLoader makes every scalar a text: to YAML, 6.10 is the number 6.1
        read = yaml.load(userfile.read(path, absent=_HINT), Loader=yaml.BaseLoader)  # noqa: S506  it makes no objects
        return model.validate_python(read)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_of(error)}", hint="is it the file of the eBPF Docs project?") from error


# --- what kernels answered --------------------------------------------------------------------------------------------


class Dispute(StrEnum):
    """How they disagree."""

    REFUSED = "documented, and not allowed"
    ABSENT = "documented, and absent"
    UNDOCUMENTED = "allowed, and not documented for this type"
    EARLIER = "there earlier than documented"
    LONGER = "still there after its documented end"
    FLAGS = "the kernel shows flags that are not documented"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`builds` answered so; `seen` is the answer of the first, with where it is kept."""

    kind: Dispute
    topic: Topic
    documented: str
    builds: tuple[Build, ...]
    row: Row
    seen: Measured


@dataclass(frozen=True, slots=True)
class DocsCheck:
    """`agreements` counts answers: a name, a program type, a kernel build. `points` are since-versions that kernels on
    both sides of them confirm, of `all_points` that are documented for what was asked.
    """

    agreements: int
    disagreements: tuple[Disagreement, ...]
    undecided: Mapping[str, Sequence[Topic]]  # by why these kernels cannot decide
    points: int
    all_points: int
    unknown: tuple[str, ...]  # kernels have them, and the documentation does not
    unasked: tuple[str, ...]  # documented, and no kernel was asked about them
    builds: tuple[KnownBuild, ...]
    types: tuple[ProgType, ...]  # that kernels were asked about


_Answers = Sequence[tuple[Row, KnownBuild]]  # of one topic


def docs_check(docs: Docs, known: Sequence[KnownBuild], only: Only | None = None) -> DocsCheck:
    """Of kfuncs. `known` is of runner.results.series.builds."""
    only = only or Only()
    # others are about calls, objects, tests
    return _check(docs, _upstream(known), lambda it: it in only and KINDS[it.kind].subject == "kfunc")


def features_check(docs: Mapping[str, Brought], known: Sequence[KnownBuild]) -> DocsCheck:
    """Is a name in the BTF of kernels from the documented version on? That is asked of one program type."""
    known = _upstream(known)
    topics = {topic.subject: topic for it in known for topic in sorted(it.states) if is_beside(topic.kind)}
    versions = {name: KernelVersion.parse(it.version) for name, it in docs.items()}
    of = {name: Documented((Allowance(None, since, None),), frozenset()) for name, since in versions.items()}
    return _check(of, known, lambda it: topics.get(it.subject) == it)


def _upstream(known: Sequence[KnownBuild]) -> tuple[KnownBuild, ...]:
    """Those of which the documentation speaks."""
    return filled([it for it in known if it.build.vendor.follows_upstream])


def _check(docs: Docs, known: tuple[KnownBuild, ...], wanted: Callable[[Topic], bool]) -> DocsCheck:
    asked: dict[Topic, list[tuple[Row, KnownBuild]]] = defaultdict(list)
    for it in known:
        for topic, row in it.states.items():
            if wanted(topic):
                asked[topic].append((row, it))
    agreements, confirmed, all_points = 0, 0, 0
    disagreements: list[Disagreement] = []
    undecided: dict[str, list[Topic]] = defaultdict(list)
    flagged: set[str] = set()  # flags are the kfunc's own: one program type's answer tells of all
    for topic in sorted(topic for topic in asked if topic.subject in docs):
        doc, words = docs[topic.subject], docs[topic.subject].words(topic.type)
        answered = [(row, it) for row, it in asked[topic] if row.answered]
        wrong = _wrong(doc, topic.type, answered)
        agreements += len(answered) - sum(map(len, wrong.values()))
        all_points += doc.since_for(topic.type) is not None
        confirmed += not wrong and len(_sides(doc, topic.type, answered)) == 2
        for why in _open(doc, topic, answered, wrong):
            undecided[why].append(topic)
        if not _is_told(topic.kind, asked[topic]):
            wrong.pop(Dispute.ABSENT, None)
        disagreements += [_disagreement(kind, topic, words, found) for kind, found in wrong.items()]
        more = [(row, it) for row, it in asked[topic] if set(flags_of(row)) - doc.flags]
        if more and topic.subject not in flagged:
            flagged.add(topic.subject)
            flags = ", ".join(sorted(doc.flags)) or "no flags"
            disagreements.append(_disagreement(Dispute.FLAGS, topic, flags, more))
    return DocsCheck(
        agreements=agreements,
        disagreements=tuple(disagreements),
        undecided=undecided,
        points=confirmed,
        all_points=all_points,
        unknown=tuple(
            sorted({topic.subject for topic, seen in asked.items() if _is_told(topic.kind, seen)} - docs.keys())
        ),
        unasked=tuple(sorted(docs.keys() - {topic.subject for topic in asked})),
        builds=known,
        types=tuple(it for it in ProgType if any(topic.type == it for topic in asked)),
    )


def _wrong(doc: Documented, prog_type: str, answered: _Answers) -> dict[Dispute, list[tuple[Row, KnownBuild]]]:
    mine, wrong = doc.of(prog_type), defaultdict(list)
    for row, it in answered:
        version = it.build.upstream
        expected = doc.says(prog_type, version)
        if expected == _has(row):
            continue
        if expected:
            kind = Dispute.ABSENT if row.state == State.ABSENT else Dispute.REFUSED
        elif not mine:
            kind = Dispute.UNDOCUMENTED
        else:
            ended = any(it.until and it.until.series <= version.series for it in mine)
            kind = Dispute.LONGER if ended else Dispute.EARLIER
        wrong[kind].append((row, it))
    return wrong


def _has(row: Row) -> bool:
    """Is a feature there, whether or not programs of a type may use it; may they call a kfunc?"""
    return row.state != State.ABSENT if is_beside(row.kind) else row.state in CALLABLE


def _disagreement(kind: Dispute, topic: Topic, documented: str, found: _Answers) -> Disagreement:
    """Of the builds that answered so."""
    row, known = found[0]
    return Disagreement(kind, topic, documented, tuple(it.build for _, it in found), row, known.evidence(topic))


def _open(doc: Documented, topic: Topic, answered: _Answers, wrong: Collection[Dispute]) -> Iterator[str]:
    if not answered:
        yield "no kernel gave an answer"
        return
    if Dispute.ABSENT in wrong and not _is_told(topic.kind, answered):
        yield "absent from every kernel: their configuration may leave it out"
    if not wrong and _sides(doc, topic.type, answered) == {True}:
        oldest = min(it.build.upstream for _, it in answered)
        yield f"there as documented, but {oldest} is the oldest kernel: since which version is not decided"


def _sides(doc: Documented, prog_type: str, answered: _Answers) -> set[bool]:
    """Were kernels asked that are older than the documented version, and such as are not? Empty: none is given."""
    since = doc.since_for(prog_type)
    return {it.build.upstream.series >= since.series for _, it in answered} if since else set()


def _is_told(kind: str, seen: _Answers) -> bool:
    """Of a kfunc that no kernel has, nothing tells a wrong version from a configuration that leaves it out."""
    return is_beside(kind) or any(row.details.get("object") or (row.answered and _has(row)) for row, _ in seen)


def flags_of(row: Row) -> tuple[str, ...]:
    """As far as the kernel shows them."""
    return tuple(cast("list[str]", row.details.get("flags", ())))
