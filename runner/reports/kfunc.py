# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What was measured about a kfunc, as `runner report availability --format json` wrote it, for people.

Nothing here reads a store: the document may be another machine's, and is hostile until parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from runner import userfile
from runner.errors import UserError, first_of
from runner.model.version import KernelVersion
from runner.probes.kinds import KINDS
from runner.reports.drawing import Trimmed, columns, section, state_words
from runner.reports.findings import alike, merged
from runner.reports.over_time import declaration, nowhere, spans
from runner.results.docscheck import CALLABLE
from runner.results.history import FeatureFacts, KfuncFacts, Stated
from runner.results.statements import Standing
from runner.text import counted, plain, printable

FRESH_DAYS = 90  # an older document says its age
_HINT = "`runner report availability --format json -o FILE` writes one"
_FALSE = {Standing.FALSE, Standing.OUT_OF_DATE}


class _Read(BaseModel):
    """What is not shown here is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _checked(text: str) -> str:
    KernelVersion.parse(text)
    return text


Version = Annotated[str, AfterValidator(_checked)]


class AskedKernel(_Read):
    """One that was asked."""

    version: Version
    arch: str


class _Since(_Read):
    after: str | None
    by: str
    exact: bool

    def __str__(self) -> str:
        if self.after is None:
            return f"{self.by} or earlier"
        return f"since {self.by}" if self.exact else f"after {self.after}, by {self.by}"


class _Segment(_Read):
    """Consecutive kernels with one state."""

    state: str
    cause: str
    first: Version
    last: Version


class _Story(_Read):
    """Of one program type; empty where there is none."""

    prog_type: str
    best: str
    since: tuple[_Since, ...]
    segments: tuple[_Segment, ...]
    no_answer: tuple[str, ...]


class KfuncStory(_Story):
    """One kfunc and program type on one architecture."""

    kfunc: str
    arch: str

    def callable_in(self) -> list[_Segment]:
        return [it for it in self.segments if it.state in CALLABLE]

    @property
    def since_words(self) -> str:
        if not self.segments:
            return "no answer"
        return "; ".join(map(str, self.since)) or nowhere(bool(self.no_answer))

    def state_on(self, kernel: AskedKernel) -> _Segment | None:
        """None: it was not asked there, or gave no answer."""
        if kernel.arch != self.arch or kernel.version in self.no_answer:
            return None
        version = KernelVersion.parse(kernel.version)
        spans = ((KernelVersion.parse(it.first), KernelVersion.parse(it.last), it) for it in self.segments)
        return next((it for first, last, it in spans if first <= version <= last), None)


class _SharedStory(_Story):
    """Of architectures that tell the same."""

    archs: tuple[str, ...]


class Feature(FeatureFacts):
    """A helper, or a type of maps, programs or attachments."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    feature: str
    stories: tuple[_SharedStory, ...]

    def by_arch(self) -> Iterator[KfuncStory]:
        for it in self.stories:
            for arch in it.archs:
                yield KfuncStory(**dict(it), kfunc=self.feature, arch=arch)


class KfuncData(_Read):
    """The document."""

    runner: str
    measured: date
    kernels: tuple[AskedKernel, ...]
    availability: tuple[KfuncStory, ...]
    kfuncs: dict[str, KfuncFacts]
    features: tuple[Feature, ...] = ()

    @classmethod
    def read(cls, path: Path) -> KfuncData:
        """Raises UserError when the file cannot be read or is none."""
        content = userfile.read(path, absent=_HINT)
        try:
            return TypeAdapter(cls).validate_json(content)
        except ValidationError as error:
            raise UserError(f"{path}: {plain(first_of(error))}", hint=_HINT) from None

    @cached_property
    def archs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(it.arch for it in self.kernels))

    @cached_property
    def by_feature(self) -> dict[str, Feature]:
        return {it.feature: it for it in self.features}

    @cached_property
    def _stories(self) -> dict[str, list[KfuncStory]]:
        found: dict[str, list[KfuncStory]] = {it.feature: [*it.by_arch()] for it in self.features}
        for it in self.availability:
            found.setdefault(it.kfunc, []).append(it)
        return found

    def names(self, search: str) -> list[str]:
        """Of kfuncs, then of features, that have this in them."""
        return [it for it in (*sorted(self.kfuncs), *self.by_feature) if search.lower() in it.lower()]

    def stories(self, name: str) -> list[KfuncStory]:
        """Of a kfunc or a feature."""
        return self._stories.get(name, [])


# --- one kfunc --------------------------------------------------------------------------------------------------------


def kfunc_report(name: str, known: KfuncData, today: date) -> RenderableType:
    """Everything about one, that which is asked most first."""
    facts = known.kfuncs[name]
    parts: list[RenderableType] = [Text(name, "bold"), *measured_on(known, today), Text(), _states(known.stories(name))]
    if facts.documented:
        said = "; ".join(
            f"{', '.join(prog_type for prog_type, _ in same)} {same[0][1]}"
            for same in alike(facts.documented.items(), lambda it: it[1])
        )
        by = f", commit {facts.brought.commit[:12]}" if facts.brought and facts.brought.commit else ""
        parts += [Text(f"documented, not measured: {plain(said + by)} (eBPF Docs)", "dim")]
    parts += [Text(f"also called {plain(line)}") for line in _other_names(facts, known)]
    parts += [Text()]
    if facts.declared:
        parts += [section("Declared", *_declared(facts))]
    if facts.statements:
        parts += [section("Statements that programs tested", columns(_stated(facts.statements), no_wrap=(0, 1)))]
    if facts.example:
        text = (line.replace("\t", "    ") for line in printable(facts.example.text).splitlines())
        parts += [section(f"A program that works ({plain(facts.example.file)})", *text)]
    return Trimmed(Group(*parts))


def feature_report(it: Feature, known: KfuncData, today: date) -> RenderableType:
    """The same of what is no kfunc."""
    head = Text.assemble((it.feature, "bold"), f": {it.family.removesuffix('s')}" if it.family else "")
    parts: list[RenderableType] = [head, *measured_on(known, today), Text(), _states(known.stories(it.feature))]
    if it.brought:
        parts += [Text(f"documented, not measured: {plain(str(it.brought))} (eBPF Docs)", "dim")]
    return Trimmed(Group(*parts))


def _other_names(facts: KfuncFacts, known: KfuncData) -> Iterator[str]:
    """With when programs may call it so."""
    for name in facts.names:
        same = alike(known.stories(name), lambda it: (it.since_words, tuple(map(_span, it.callable_in()))))
        told = (
            f"{', '.join(dict.fromkeys(it.prog_type for it in each))} {each[0].since_words}, in "
            f"{', '.join(map(_span, each[0].callable_in()))}"
            for each in same
            if each[0].callable_in()
        )
        if when := "; ".join(told):
            yield f"{name}: {when}"


def measured_on(known: KfuncData, today: date) -> Iterator[RenderableType]:
    """What it rests on, and its age where that matters."""
    versions = sorted({it.version for it in known.kernels}, key=KernelVersion.parse)
    span = f", {versions[0]} to {versions[-1]}" if len(versions) > 1 else f", {versions[0]}" if versions else ""
    yield Text(
        f"measured {known.measured} on {counted(len(known.kernels), 'kernel')}{span} ({', '.join(known.archs)}) "
        f"by kfunc-runner {plain(known.runner)}",
        "dim",
    )
    if (age := (today - known.measured).days) > FRESH_DAYS:
        yield Text(f"{age} days old: `runner matrix run` and `runner report availability` measure again", "yellow")


def _states(stories: Sequence[KfuncStory]) -> RenderableType:
    """By types and architectures that agree: since when, which states in which kernels, and why not more."""
    styles = {each.word: each.mark.style for each in state_words(KINDS)}
    rows: list[tuple[str | Text, ...]] = []
    by_type = alike(stories, lambda it: (it.prog_type, it.since, it.segments))
    for same in merged(by_type, lambda of: (of[0].since, of[0].segments, tuple(it.arch for it in of))):
        story, archs = same[0], ", ".join(dict.fromkeys(it.arch for it in same))
        types = ", ".join(dict.fromkeys(it.prog_type for it in same))
        states = Text(", ").join(Text(f"{it.state} in {_span(it)}", styles.get(it.state, "")) for it in story.segments)
        rows.append((types, archs, story.since_words, states))
        rows += [("", "", "", Text(f"{it.state}: {plain(it.cause)}", "dim")) for it in story.segments if it.cause]
    return columns(rows, "type", "architecture", "available since", "measured", no_wrap=(0, 1, 2))


def _span(it: _Segment) -> str:
    return it.first if it.first == it.last else f"{it.first} to {it.last}"


def _declared(facts: KfuncFacts) -> Iterator[RenderableType]:
    for same in alike(facts.declared, lambda it: (it.prototype, it.flags, it.layouts, it.object)):
        it, kernels = same[0], plain(spans((each.arch, each.first, each.last) for each in same))
        yield declaration(kernels, it.object, it.prototype, it.flags, it.layouts)


def _stated(statements: Sequence[Stated]) -> Iterator[tuple[Text, str, str]]:
    """Those that are equal for all types in one line."""
    for same in alike(statements, lambda it: (it.says, it.standing, it.turn)):
        it = same[0]
        style = "red" if it.standing in _FALSE else "green" if it.standing is Standing.TRUE else ""
        turn = f": {it.turn[0]} | {it.turn[1]}" if it.turn else ""
        types = ", ".join(dict.fromkeys(each.type for each in same))
        yield Text(f"{it.standing}{turn}", style), types, it.says


# --- many -------------------------------------------------------------------------------------------------------------


class Allowed(NamedTuple):
    """What programs of a type may call on the kernels of these architectures."""

    name: str
    state: str
    archs: tuple[str, ...]
    cause: str = ""


def callable_on(
    known: KfuncData, kernels: Sequence[AskedKernel], prog_type: str, search: str = ""
) -> tuple[list[Allowed], list[Allowed]]:
    """Kfuncs, and helpers, whose names have `search` in them; one that differs between architectures is there twice."""
    kfuncs, helpers = list[Allowed](), list[Allowed]()
    for name in known.names(search):
        mine = [it for it in known.stories(name) if it.prog_type == prog_type]
        states = [(story, it, story.state_on(it)) for story in mine for it in kernels if it.arch == story.arch]
        able = CALLABLE if name in known.kfuncs else [story.best for story in mine if story.since]
        there = [(it.arch, segment) for _, it, segment in states if segment and segment.state in able]
        (kfuncs if name in known.kfuncs else helpers).extend(
            Allowed(name, same[0][1].state, tuple(arch for arch, _ in same), same[0][1].cause)
            for same in alike(there, lambda it: (it[1].state, it[1].cause))
        )
    return kfuncs, helpers


def kernel_report(known: KfuncData, kernels: Sequence[AskedKernel], prog_type: str, search: str) -> RenderableType:
    """What may be called on a kernel: kfuncs, then helpers."""
    kfuncs, helpers = callable_on(known, kernels, prog_type, search)
    version, found = ", ".join(dict.fromkeys(it.version for it in kernels)), len({it.name for it in kfuncs})
    head = Text(f"{version}: {counted(found, 'kfunc')} that {prog_type} programs may call, measured {known.measured}")
    rows = [(it.name, it.state, ", ".join(it.archs), it.cause) for it in kfuncs]
    parts: list[RenderableType] = [columns(rows, "kfunc", "state", "architecture", "why not more", no_wrap=(0, 1))]
    for same in alike(helpers, lambda it: it.archs):
        names = ", ".join(it.name for it in same)
        parts += [Text(), Text(f"{counted(len(same), 'helper')} ({', '.join(same[0].archs)}): {plain(names)}")]
    return Trimmed(Group(head, Text(), *parts))


def search_report(known: KfuncData, names: Sequence[str]) -> RenderableType:
    """A line for each, with since when."""
    rows = []
    for name in names:
        for same in alike(known.stories(name), lambda it: (it.best, it.since)):
            types = ", ".join(dict.fromkeys(it.prog_type for it in same))
            rows.append(
                (name, types, same[0].best, same[0].since_words, ", ".join(dict.fromkeys(it.arch for it in same)))
            )
    return columns(rows, "name", "type", "state", "available since", "architecture", no_wrap=(0, 1, 2))
