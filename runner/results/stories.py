"""Since which kernel, in which series, on which architecture: what is known of a kfunc over all kernels that were run.

Says no more than was measured: between two kernels that answered differently lies the change, and where in between
is not known. An answer that gets less from one kernel to a newer one is an event, and so is one that two architectures,
or two runs of one build, do not share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, pairwise

from runner.model import NETWORK_TYPES, Build, KfuncState, ProgType, State
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion
from runner.results.series import Known, Measured, Row, different

RANK = {State.ABSENT: 0, State.NOT_ALLOWED: 1, State.REGISTERED: 2, State.USABLE: 3}


def is_less(before: State, after: State) -> bool:
    """Both are answers. What cannot be called gets no less when it goes."""
    return max(RANK[after], RANK[State.NOT_ALLOWED]) < RANK[before]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive kernels, by version, that answered alike. Kernels without an answer are not counted."""

    state: State
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
    row: Row
    answers: tuple[tuple[KfuncState, Measured], ...]
    between: tuple[Build, ...] = ()  # kernels between the two that gave no answer


@dataclass(frozen=True, slots=True)
class Story:
    """One kfunc and program type on one architecture."""

    row: Row
    arch: str
    best: State  # NO_ANSWER: nothing is known
    since: tuple[Since, ...]  # may be called: one point, and one more for each time that it came again
    segments: tuple[Segment, ...]
    unanswered: tuple[Build, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is kept, by kfunc. `runs` of them were looked at; `measured` cells ran."""

    builds: tuple[Known, ...]
    other_types: tuple[ProgType, ...]  # that kernels were asked about, and that are not shown here
    stories: tuple[Story, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Only:
    """Which stories are wanted; None is all. Types: those that the claims are about, unless another is named."""

    kfunc: str | None = None
    prog_type: ProgType | None = None
    arch: str | None = None

    def __contains__(self, row: Row) -> bool:
        types = NETWORK_TYPES if self.prog_type is None else (self.prog_type,)
        return self.kfunc in (None, row.kfunc) and row.prog_type in types


def overview(known: Sequence[Known], only: Only | None = None) -> Overview:
    """`known` as runner.results.series.builds gives it."""
    only = only or Only()
    known = tuple(it for it in known if only.arch in (None, it.build.arch))
    by_arch = {arch: tuple(group) for arch, group in groupby(known, key=lambda it: it.build.arch)}
    asked = {row for states in different(known) for row in states}
    rows = sorted(row for row in asked if row in only)
    shown = {row.prog_type for row in rows}
    stories, events = [], []
    for arch in sorted(by_arch, key=_arch_order):
        blocks = _blocks(by_arch[arch])
        for row in rows:
            story, less = _story(row, arch, blocks)
            stories.append(story)
            events += less
    events += _between_architectures(by_arch, rows)
    events += _between_runs(known, rows)
    kinds = list(EventKind)
    return Overview(
        builds=known,
        other_types=tuple(it for it in ProgType if it not in shown and any(row.prog_type is it for row in asked)),
        stories=tuple(sorted(stories, key=lambda it: (it.row, _arch_order(it.arch)))),
        events=tuple(sorted(events, key=lambda it: (it.row, kinds.index(it.kind)))),
    )


_Block = tuple[Known, ...]  # consecutive builds that share all of their answers


def _blocks(known: Sequence[Known]) -> tuple[_Block, ...]:
    return tuple(tuple(group) for _, group in groupby(known, key=lambda it: id(it.states)))


def _story(row: Row, arch: str, blocks: Sequence[_Block]) -> tuple[Story, list[Event]]:
    """Its story, and the events where it got less."""
    answered: list[tuple[KfuncState, _Block]] = []
    unanswered: list[Build] = []
    for block in blocks:
        state = block[0].states.get(row)
        if state is None or state.state is State.NO_ANSWER:
            unanswered += [it.build for it in block]
        else:
            answered.append((state, block))
    best = max((state.state for state, _ in answered), key=RANK.__getitem__, default=State.NO_ANSWER)
    story = Story(
        row=row,
        arch=arch,
        best=best,
        since=tuple(_since(answered)),
        segments=tuple(_segments(answered)),
        unanswered=tuple(unanswered),
    )
    return story, list(_less(row, answered, unanswered))


def _segments(answered: Sequence[tuple[KfuncState, _Block]]) -> Iterator[Segment]:
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


def _since(answered: Sequence[tuple[KfuncState, _Block]]) -> Iterator[Since]:
    before: Build | None = None
    had = False
    for state, block in answered:
        has = RANK[state.state] >= RANK[State.REGISTERED]
        if has and not had:
            yield Since(before, block[0].build)
        before, had = block[-1].build, has


def _less(row: Row, answered: Sequence[tuple[KfuncState, _Block]], unanswered: Sequence[Build]) -> Iterator[Event]:
    for (before, left), (after, right) in pairwise(answered):
        if is_less(before.state, after.state):
            old, new = left[-1], right[0]
            between = tuple(it for it in unanswered if old.build.order < it.order < new.build.order)
            seen = ((before, old.evidence(row)), (after, new.evidence(row)))
            yield Event(EventKind.LESS, row, seen, between)


def _between_architectures(by_arch: Mapping[str, Sequence[Known]], rows: Sequence[Row]) -> Iterator[Event]:
    """One event for each kfunc and version where the answers differ; a version's last build stands for it."""
    versions: dict[KernelVersion, list[Known]] = {}
    for arch in sorted(by_arch, key=_arch_order):
        for version, same in groupby(by_arch[arch], key=lambda it: it.build.upstream):
            versions.setdefault(version, []).append(list(same)[-1])
    memo: dict[tuple[int, ...], tuple[Row, ...]] = {}
    told: dict[Row, set[tuple[State, ...]]] = {}
    for group in versions.values():
        key = tuple(id(it.states) for it in group)
        if key not in memo:
            memo[key] = tuple(row for row in rows if len(_known_states(group, row)) > 1)
        for row in memo[key]:
            seen = tuple((it.states[row], it.evidence(row)) for it in group if _is_known(it, row))
            signature = tuple(state.state for state, _ in seen)
            if signature not in told.setdefault(row, set()):  # the first kernel tells it, the stories show the rest
                told[row].add(signature)
                yield Event(EventKind.ARCHITECTURES, row, seen)


def _is_known(known: Known, row: Row) -> bool:
    state = known.states.get(row)
    return state is not None and state.state is not State.NO_ANSWER


def _known_states(group: Sequence[Known], row: Row) -> set[State]:
    return {it.states[row].state for it in group if _is_known(it, row)}


def _between_runs(known: Sequence[Known], rows: Sequence[Row]) -> Iterator[Event]:
    """A build that answered differently in different runs: each change, in the order of time."""
    for it in known:
        if len(different(it.measured)) == 1:
            continue
        for row in rows:
            seen: list[tuple[KfuncState, Measured]] = []
            for each in it.measured:
                state = each.states.get(row)
                if state is None or state.state is State.NO_ANSWER:
                    continue
                if not seen or seen[-1][0].state is not state.state:
                    seen.append((state, each))
            if len(seen) > 1:
                yield Event(EventKind.RUNS, row, tuple(seen))


def _arch_order(arch: str) -> tuple[int, str]:
    known = list(ARCHITECTURES)
    return (known.index(arch) if arch in known else len(known), arch)
