"""What documentation says about kfuncs, held against what kernels answered.

Its versions are those of the mainline: a stable kernel that has more than its series says got it as a backport, which
is a disagreement worth to know. What is absent wherever it should be may be left out by the kernels' configuration, and
that is said instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from runner.model import Build, ProgType, Row, State
from runner.model.version import KernelVersion
from runner.results.availability import Topic
from runner.results.ebpfdocs import Docs, Documented
from runner.results.series import KnownBuild, Measured
from runner.results.stories import Only

_CALLABLE = (State.REGISTERED, State.USABLE)

# Filters of the kernel look at what such a program is attached to; the census attaches each type to one thing.
ATTACHED_TYPES = (ProgType.STRUCT_OPS, ProgType.LSM, ProgType.TRACING, ProgType.KPROBE)


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
class Undecided:
    """`why` these kernels cannot decide about `topics`."""

    why: str
    topics: tuple[Topic, ...]


@dataclass(frozen=True, slots=True)
class DocsCheck:
    """`agreements` counts answers: a kfunc, a program type, a kernel build. `points` are since-versions that kernels on
    both sides of them confirm, of `all_points` that are documented for what was asked.
    """

    agreements: int
    disagreements: tuple[Disagreement, ...]
    undecided: tuple[Undecided, ...]
    points: int
    all_points: int
    unknown: tuple[str, ...]  # kfuncs that kernels have, and the documentation does not
    unasked: tuple[str, ...]  # documented kfuncs that no kernel was asked about
    builds: tuple[KnownBuild, ...]
    types: tuple[ProgType, ...]  # that kernels were asked about


def docs_check(docs: Docs, known: Sequence[KnownBuild], only: Only | None = None) -> DocsCheck:
    """`known` as runner.results.series.builds gives it."""
    only = only or Only()
    answers: dict[Topic, list[tuple[KnownBuild, Row]]] = defaultdict(list)
    for it in known:
        for topic, row in it.states.items():
            if topic in only:
                answers[topic].append((it, row))
    agreements, points, all_points = 0, 0, 0
    disagreements: list[Disagreement] = []
    undecided: dict[str, list[Topic]] = defaultdict(list)
    for topic in sorted(topic for topic in answers if topic.subject in docs):
        said = docs[topic.subject]
        checked = _Checked(said, topic, answers[topic])
        agreements += checked.agreements
        # flags are the kfunc's own: one program type's answer tells of all
        flagged = {it.topic.subject for it in disagreements if it.kind is Dispute.FLAGS}
        disagreements += [
            it for it in checked.disagreements() if it.kind is not Dispute.FLAGS or it.topic.subject not in flagged
        ]
        for why in checked.open():
            undecided[why].append(topic)
        if said.since_for(ProgType(topic.type)):
            all_points += 1
            points += checked.bracketed
    asked = {topic.subject for topic in answers}
    there = {topic.subject for topic, seen in answers.items() if any(_object(row) for _, row in seen)}
    return DocsCheck(
        agreements=agreements,
        disagreements=tuple(disagreements),
        undecided=tuple(Undecided(why, tuple(topics)) for why, topics in undecided.items()),
        points=points,
        all_points=all_points,
        unknown=tuple(sorted(there - docs.keys())),
        unasked=tuple(sorted(docs.keys() - asked)),
        builds=tuple(known),
        types=tuple(it for it in ProgType if any(topic.type == it for topic in answers)),
    )


class _Checked:
    """One kfunc and program type on all kernels."""

    def __init__(self, said: Documented, topic: Topic, answers: Iterable[tuple[KnownBuild, Row]]) -> None:
        self.said = said
        self.topic = topic
        self.type = ProgType(topic.type)
        self.answers = tuple(answers)
        self.wrong: dict[Dispute, list[tuple[KnownBuild, Row]]] = defaultdict(list)
        self.agreements = 0
        self.unanswered = 0
        for known, row in self.answers:
            self._take(known, row)

    def _take(self, known: KnownBuild, row: Row) -> None:
        expected = self.said.says(self.type, known.build.upstream)
        if not row.answered:
            self.unanswered += 1
        elif expected == (row.state in _CALLABLE):
            self.agreements += 1
        elif expected:
            kind = Dispute.ABSENT if row.state == State.ABSENT else Dispute.REFUSED
            self.wrong[kind].append((known, row))
        else:
            self.wrong[self._why_not(known.build)].append((known, row))
        if set(flags_of(row)) - self.said.flags:
            self.wrong[Dispute.FLAGS].append((known, row))

    def _why_not(self, build: Build) -> Dispute:
        """Why the documentation says that this kernel, which has it, does not."""
        mine = [it for it in self.said.allowances if it.prog_type in (None, self.type)]
        if not mine:
            return Dispute.UNDOCUMENTED
        ended = any(it.until and it.until.series <= build.upstream.series for it in mine)
        return Dispute.LONGER if ended else Dispute.EARLIER

    @property
    def _never_there(self) -> bool:
        """It is in no kernel, so that nothing tells a wrong version from a configuration that leaves it out."""
        return not any(_object(row) for _, row in self.answers)

    def disagreements(self) -> Iterator[Disagreement]:
        for kind, found in self.wrong.items():
            if kind is Dispute.ABSENT and self._never_there:
                continue
            known, row = found[0]
            yield Disagreement(
                kind=kind,
                topic=self.topic,
                documented=self._documented(kind),
                builds=tuple(it.build for it, _ in found),
                row=row,
                seen=known.evidence(self.topic),
            )

    @property
    def _answered(self) -> list[KernelVersion]:
        return [known.build.upstream for known, row in self.answers if row.answered]

    def _documented(self, kind: Dispute) -> str:
        if kind is Dispute.FLAGS:
            return ", ".join(sorted(self.said.flags)) or "no flags"
        return self.said.words(self.type)

    def open(self) -> Iterator[str]:
        if not self._answered:
            yield "no kernel gave an answer"
            return
        if Dispute.ABSENT in self.wrong and self._never_there:
            yield "absent from every kernel: their configuration may leave it out"
        oldest, since = min(self._answered), self.said.since_for(self.type)
        if since and since.series <= oldest.series and not self.wrong:
            yield f"there as documented, but {oldest} is the oldest kernel: since which version is not decided"

    @property
    def bracketed(self) -> bool:
        """Was a kernel before the documented version seen without it, and one from it on with it?"""
        since = self.said.since_for(self.type)
        if since is None or self.wrong:
            return False
        return len({version.series >= since.series for version in self._answered}) == 2


def flags_of(row: Row) -> tuple[str, ...]:
    """As far as the kernel shows them."""
    return tuple(cast("list[str]", row.details.get("flags", ())))


def _object(row: Row) -> str:
    """What holds it."""
    return str(row.details.get("object", ""))
