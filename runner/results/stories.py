# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Since which kernel, in which series, on which architecture: what is known over all kernels that were run.

Says no more than was measured: between two kernels that answered differently lies the change, and where in between
is not known. An answer that gets less from one kernel to a newer one is an event, and so is one that two architectures,
or two runs of one build, do not share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby, pairwise
from typing import TypeVar

from runner.model import NO_ANSWER, Build, Row
from runner.model.architecture import arch_order
from runner.model.version import KernelVersion
from runner.probes.kind import UNNAMED
from runner.probes.kinds import KINDS
from runner.results.availability import Topic, counts, is_beside, rank
from runner.results.series import KnownBuild, Measured, answers, different


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive kernels, by version, that answered alike. Kernels without an answer are not counted."""

    state: str
    cause: str
    first: Build
    last: Build
    kernels: int


@dataclass(frozen=True, slots=True)
class Since:
    """It came after `after`, and `by` has it. Without `after`, the oldest kernel that answered has it."""

    after: Build | None
    by: Build

    @property
    def exact(self) -> bool:
        """Are the two neighbours, so that nothing lies in between?"""
        if self.after is None:
            return False
        before, here = self.after.upstream, self.by.upstream
        return KernelVersion(before.major, before.minor, before.patch + 1) == here and not before.is_candidate


class EventKind(StrEnum):
    LESS = "less than before"
    ARCHITECTURES = "differs between architectures"
    RUNS = "differs between runs of one kernel"


@dataclass(frozen=True, slots=True)
class Event:
    """What is not as one would expect: `answers`, each with the kernel that gave it and the evidence."""

    kind: EventKind
    topic: Topic
    answers: tuple[tuple[Row, Measured], ...]
    between: tuple[Build, ...] = ()  # kernels between the two that gave no answer


@dataclass(frozen=True, slots=True)
class Story:
    """One subject and type on one architecture."""

    topic: Topic
    arch: str
    segments: tuple[Segment, ...]
    unanswered: tuple[Build, ...]

    @property
    def best(self) -> str:
        """Of its states; NO_ANSWER: nothing is known."""
        words = [each.word for each in KINDS[self.topic.kind].states]
        return max((it.state for it in self.segments), key=words.index, default=NO_ANSWER)

    @property
    def since(self) -> tuple[Since, ...]:
        """It is better than the worst: one point, and one more for each time that it came again."""
        has = [bool(KINDS[self.topic.kind].rank(it.state)) for it in self.segments]
        pairs = zip((None, *self.segments), (False, *has), self.segments, has, strict=False)
        return tuple(Since(old.last if old else None, new.first) for old, had, new, here in pairs if here and not had)


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is stored, by subject."""

    builds: tuple[KnownBuild, ...]
    vendors: tuple[Build, ...]  # whose versions say nothing about when upstream changed
    other_types: tuple[str, ...]  # that kernels were asked about, and that are not shown here
    stories: tuple[Story, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Only:
    """Which stories are wanted; None is all. Types: those that count, unless another is named.

    What is asked beside the claims is wanted where its subject is named, or with `beside`, and then nothing else is.
    """

    subject: str | None = None
    type: str | None = None
    arch: str | None = None
    beside: bool = False

    def __contains__(self, topic: Topic) -> bool:
        if self.subject not in (None, topic.subject):
            return False
        if is_beside(topic.kind) and (self.beside or self.subject):
            return self.type in (None, topic.type)
        return not self.beside and (counts(topic) if self.type is None else topic.type == self.type)


def overview(known: Sequence[KnownBuild], only: Only | None = None) -> Overview:
    """`known` as runner.results.series.builds gives it."""
    only = only or Only()
    mine = [it for it in known if only.arch in (None, it.build.arch)]
    known = filled([it for it in mine if it.build.vendor.follows_upstream])
    by_arch = {arch: tuple(group) for arch, group in groupby(known, key=lambda it: it.build.arch)}
    asked = {topic for states in different(known) for topic in states}
    topics = sorted(topic for topic in asked if topic in only)
    others = {topic.type for topic in asked if only.subject in (None, topic.subject)}
    archs, kinds = sorted(by_arch, key=arch_order), list(EventKind)
    told = [_story(topic, arch, by_arch[arch]) for topic in topics for arch in archs]
    events = [event for _, less in told for event in less]
    events += _between_architectures([by_arch[arch] for arch in archs], topics)
    events += _between_runs(known, topics)
    return Overview(
        builds=known,
        vendors=tuple(it.build for it in mine if not it.build.vendor.follows_upstream),
        other_types=tuple(sorted(others - {"", *(topic.type for topic in topics)})),
        stories=tuple(story for story, _ in told),
        events=tuple(sorted(events, key=lambda it: (it.topic, kinds.index(it.kind)))),
    )


_Known = TypeVar("_Known", Measured, KnownBuild)


def filled(known: Sequence[_Known]) -> tuple[_Known, ...]:
    """With what is absent: of what is asked beside the claims, a kernel is asked about each name that it has."""
    probes = {topic: row.probe for states in different(known) for topic, row in states.items() if is_beside(topic.kind)}
    if not probes:
        return tuple(known)
    filled: dict[int, Mapping[Topic, Row]] = {}
    for states in different(known):
        answered = {row.probe for row in states.values() if row.answered}
        absent = {
            topic: Row(topic.kind, probe, topic.subject, topic.type, KINDS[topic.kind].states[0].word, cause=UNNAMED)
            for topic, probe in probes.items()
            if topic not in states and probe in answered
        }
        filled[id(states)] = {**states, **absent} if absent else states
    return tuple(replace(it, states=filled[id(it.states)]) for it in known)


def _story(topic: Topic, arch: str, known: Sequence[KnownBuild]) -> tuple[Story, list[Event]]:
    """Its story, and the events where it got less."""
    answered = answers(topic, known)
    there = {id(it) for _, it in answered}
    unanswered = tuple(it.build for it in known if id(it) not in there)
    groups = [list(group) for _, group in groupby(answered, key=lambda it: it[0].state)]
    segments = tuple(
        Segment(each[0][0].state, each[0][0].cause, each[0][1].build, each[-1][1].build, len(each)) for each in groups
    )
    less = []
    for (*_, (before, old)), ((after, new), *_) in pairwise(groups):
        if (rank(after) or 0) < (rank(before) or 0):
            between = tuple(it for it in unanswered if old.build.order < it.order < new.build.order)
            seen = ((before, old.evidence(topic)), (after, new.evidence(topic)))
            less.append(Event(EventKind.LESS, topic, seen, between))
    return Story(topic, arch, segments, unanswered), less


def _between_architectures(archs: Iterable[Sequence[KnownBuild]], topics: Sequence[Topic]) -> Iterator[Event]:
    """Where the answers of one version differ; a version's last build stands for it. The first kernel tells it, and
    stands for all with the same answers: the stories show them."""
    versions: dict[KernelVersion, dict[str, KnownBuild]] = defaultdict(dict)
    for it in (it for known in archs for it in known):
        versions[it.build.upstream][it.build.arch] = it
    told: set[tuple[Topic, tuple[str, ...]]] = set()
    compared: set[tuple[int, ...]] = set()
    for group in versions.values():
        alike = tuple(id(it.states) for it in group.values())
        for topic in topics if alike not in compared else ():
            given = answers(topic, group.values())
            states = tuple(row.state for row, _ in given)
            if len(set(states)) > 1 and (topic, states) not in told:
                told.add((topic, states))
                seen = tuple((row, it.evidence(topic)) for row, it in given)
                yield Event(EventKind.ARCHITECTURES, topic, seen)
        compared.add(alike)


def _between_runs(known: Sequence[KnownBuild], topics: Sequence[Topic]) -> Iterator[Event]:
    """A build that answered differently in different runs: each change, in the order of time."""
    for it in known:
        for topic in topics if len(different(it.measured)) > 1 else ():
            seen = tuple(next(group) for _, group in groupby(answers(topic, it.measured), key=lambda it: it[0].state))
            if len(seen) > 1:
                yield Event(EventKind.RUNS, topic, seen)
