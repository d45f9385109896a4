"""Since which kernel, in which series, on which architecture: what is known over all kernels that were run.

Says no more than was measured: between two kernels that answered differently lies the change, and where in between
is not known. An answer that gets less from one kernel to a newer one is an event, and so is one that two architectures,
or two runs of one build, do not share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise

from runner.model import NO_ANSWER, Build, Row
from runner.model.architecture import arch_order
from runner.model.version import KernelVersion
from runner.probes.kinds import KINDS
from runner.results.availability import Topic, counts
from runner.results.series import KnownBuild, Measured, different


def rank(row: Row) -> int | None:
    """Of two answers the lower is the worse one; 0 is the worst. None: not an answer."""
    return KINDS[row.kind].rank(row.state)


def is_less(before: Row, after: Row) -> bool:
    """Did it get worse? Both are answers."""
    return (rank(after) or 0) < (rank(before) or 0)


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
    best: str  # NO_ANSWER: nothing is known
    since: tuple[Since, ...]  # is better than the worst: one point, and one more for each time that it came again
    segments: tuple[Segment, ...]
    unanswered: tuple[Build, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is stored, by subject."""

    builds: tuple[KnownBuild, ...]
    other_types: tuple[str, ...]  # that kernels were asked about, and that are not shown here
    stories: tuple[Story, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Only:
    """Which stories are wanted; None is all. Types: those that count, unless another is named."""

    subject: str | None = None
    type: str | None = None
    arch: str | None = None

    def __contains__(self, topic: Topic) -> bool:
        fits = counts(topic) if self.type is None else topic.type == self.type
        return fits and self.subject in (None, topic.subject)


def overview(known: Sequence[KnownBuild], only: Only | None = None) -> Overview:
    """`known` as runner.results.series.builds gives it."""
    only = only or Only()
    known = tuple(it for it in known if only.arch in (None, it.build.arch))
    by_arch = {arch: tuple(group) for arch, group in groupby(known, key=lambda it: it.build.arch)}
    asked = {topic for states in different(known) for topic in states}
    topics = sorted(topic for topic in asked if topic in only)
    stories, events = [], []
    for arch in sorted(by_arch, key=arch_order):
        blocks = _blocks(by_arch[arch])
        for topic in topics:
            story, less = _story(topic, arch, blocks)
            stories.append(story)
            events += less
    events += _between_architectures(by_arch, topics)
    events += _between_runs(known, topics)
    kinds = list(EventKind)
    return Overview(
        builds=known,
        other_types=tuple(sorted({topic.type for topic in asked} - {topic.type for topic in topics})),
        stories=tuple(sorted(stories, key=lambda it: (it.topic, arch_order(it.arch)))),
        events=tuple(sorted(events, key=lambda it: (it.topic, kinds.index(it.kind)))),
    )


_Block = tuple[KnownBuild, ...]  # consecutive builds that share all of their answers


def _blocks(known: Sequence[KnownBuild]) -> tuple[_Block, ...]:
    return tuple(tuple(group) for _, group in groupby(known, key=lambda it: id(it.states)))


def _story(topic: Topic, arch: str, blocks: Sequence[_Block]) -> tuple[Story, list[Event]]:
    """Its story, and the events where it got less."""
    answered: list[tuple[Row, _Block]] = []
    unanswered: list[Build] = []
    for block in blocks:
        row = block[0].states.get(topic)
        if row is None or not row.answered:
            unanswered += [it.build for it in block]
        else:
            answered.append((row, block))
    words = [each.word for each in KINDS[topic.kind].states]
    story = Story(
        topic=topic,
        arch=arch,
        best=max((row.state for row, _ in answered), key=words.index, default=NO_ANSWER),
        since=tuple(_since(answered)),
        segments=tuple(_segments(answered)),
        unanswered=tuple(unanswered),
    )
    return story, list(_less(topic, answered, unanswered))


def _segments(answered: Sequence[tuple[Row, _Block]]) -> Iterator[Segment]:
    for state, group in groupby(answered, key=lambda it: it[0].state):
        members = list(group)
        blocks = [block for _, block in members]
        yield Segment(
            state=state,
            cause=members[0][0].cause,
            first=blocks[0][0].build,
            last=blocks[-1][-1].build,
            kernels=sum(map(len, blocks)),
        )


def _since(answered: Sequence[tuple[Row, _Block]]) -> Iterator[Since]:
    before: Build | None = None
    had = False
    for row, block in answered:
        has = bool(rank(row))
        if has and not had:
            yield Since(before, block[0].build)
        before, had = block[-1].build, has


def _less(topic: Topic, answered: Sequence[tuple[Row, _Block]], unanswered: Sequence[Build]) -> Iterator[Event]:
    for (before, left), (after, right) in pairwise(answered):
        if is_less(before, after):
            old, new = left[-1], right[0]
            between = tuple(it for it in unanswered if old.build.order < it.order < new.build.order)
            seen = ((before, old.evidence(topic)), (after, new.evidence(topic)))
            yield Event(EventKind.LESS, topic, seen, between)


def _between_architectures(by_arch: Mapping[str, Sequence[KnownBuild]], topics: Sequence[Topic]) -> Iterator[Event]:
    """One event for each subject and version where the answers differ; a version's last build stands for it."""
    versions: dict[KernelVersion, list[KnownBuild]] = {}
    for arch in sorted(by_arch, key=arch_order):
        for version, same in groupby(by_arch[arch], key=lambda it: it.build.upstream):
            versions.setdefault(version, []).append(list(same)[-1])
    memo: dict[tuple[int, ...], tuple[Topic, ...]] = {}
    told: dict[Topic, set[tuple[str, ...]]] = {}
    for group in versions.values():
        key = tuple(id(it.states) for it in group)
        if key not in memo:
            memo[key] = tuple(topic for topic in topics if len({row.state for row, _ in _given(group, topic)}) > 1)
        for topic in memo[key]:
            seen = tuple((row, it.evidence(topic)) for row, it in _given(group, topic))
            signature = tuple(row.state for row, _ in seen)
            if signature not in told.setdefault(topic, set()):  # the first kernel tells it, the stories show the rest
                told[topic].add(signature)
                yield Event(EventKind.ARCHITECTURES, topic, seen)


def _given(group: Sequence[KnownBuild], topic: Topic) -> list[tuple[Row, KnownBuild]]:
    """Those that answered."""
    found = [(it.states.get(topic), it) for it in group]
    return [(row, it) for row, it in found if row is not None and row.answered]


def _between_runs(known: Sequence[KnownBuild], topics: Sequence[Topic]) -> Iterator[Event]:
    """A build that answered differently in different runs: each change, in the order of time."""
    for it in known:
        if len(different(it.measured)) == 1:
            continue
        for topic in topics:
            seen: list[tuple[Row, Measured]] = []
            for each in it.measured:
                row = each.states.get(topic)
                if row is not None and row.answered and (not seen or seen[-1][0].state != row.state):
                    seen.append((row, each))
            if len(seen) > 1:
                yield Event(EventKind.RUNS, topic, tuple(seen))
