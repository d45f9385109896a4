# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection: a run of that kind, with a document that is rewritten after each answer, so that it can be resumed.

It says what was asked of which kernels, every reply, and, when it came to its end, where the answer changed. The
kernels are releases of an archive, or commits of a repository, each of which is built.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import zip_longest
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from runner.model import KnownIssue, Outcome, Plain
from runner.probes.verifier import steady
from runner.results.database import faults
from runner.results.model import RunId
from runner.results.store import ResultStore


class Why(StrEnum):
    """Why a kernel is asked."""

    ENDS = "end"
    SEARCH = "search"
    REPEAT = "repeat"  # it answered in two ways
    CONFIRM = "confirm"  # it is an end of a change
    SAMPLE = "sample"  # outside of every change that was found
    KNOWN = "known"  # the store has its answer from another run


class KernelTitle(Plain):
    """What names a kernel: a release, or the commit that it is built from."""

    arch: str
    version: str = ""
    release: str = ""
    build: str = ""  # the package's version, or what else tells two builds of one version apart
    variant: str = ""  # rt, 16k; empty: the generic configuration
    commit: str = ""
    summary: str = ""  # of the commit; somebody else's text

    @property
    def title(self) -> str:
        """`6.18.15 (6.18.15-1~bpo13+1) x86_64 rt`; of a commit the first 12 digits."""
        if self.commit:
            return self.commit[:12]
        return " ".join(filter(None, (self.version, f"({self.build or self.release})", self.arch, self.variant)))


class Candidate(KernelTitle):
    """A kernel that may be asked. `key` is unique among the candidates of a bisection."""

    key: str
    source: str = ""
    suite: str = ""


class Reply(Plain):
    """What came of asking a candidate once. Without an `answer` there is a `cause`, and nothing is said about it."""

    candidate: str
    why: Why
    answer: str = ""
    cause: str = ""
    outcome: Outcome = Outcome.RAN
    run: str = ""
    cell: str = ""
    kernel: str = ""  # the digest of a kernel that was built: the same kernel is not booted twice

    @property
    def fresh(self) -> bool:
        """Was it booted for this bisection?"""
        return self.why is not Why.KNOWN

    @property
    def machines_fault(self) -> bool:
        """It has no answer, and that was not the kernel's doing: a retry may help."""
        return not self.answer and self.outcome not in (Outcome.RAN, Outcome.BOOT_FAILED)


class BisectionQuestion(Plain):
    """What each kernel is asked."""

    target: str  # as on the command line: nat-manip-2:tc, bpf_ct_set_nat_info:xdp
    subject: str  # a kfunc, or whatever else the kind of probe is about
    type: str = ""
    says: str = ""  # what the probe states, in words


class ChangeEnd(KernelTitle):
    """One end of a change: the kernel, its answer, the raw evidence, and the commands that show it."""

    source: str = ""
    suite: str = ""
    answer: str
    boots: int  # that gave an answer, those of other runs too
    agree: int
    confirmed: bool
    run: str
    cell: str
    probe: str = ""
    evidence: dict[str, str] = Field(default_factory=dict)  # what was observed, in words: load -> "-EINVAL"
    declared: tuple[str, ...] = ()  # lines of C from the kernel's BTF: the prototype, structures
    log: str = ""
    reason: str = ""  # the line of the log in which the verifier says why it refuses
    config: dict[str, str] = Field(default_factory=dict)
    known_issue: str = ""  # the id of the one that this answer shows
    show: str = ""  # the command that shows the raw answer
    repeat: str = ""  # the command that boots this kernel and asks it once more; none of a commit


class Unanswered(KernelTitle):
    """A kernel that was asked and has no answer."""

    cause: str


class LogDifference(Plain):
    """The first line in which two logs of the verifier differ, counted from 1; empty where one has ended."""

    line: int
    before: str
    after: str


class Mention(Plain):
    """A line of the distribution's changelog. `upstream`: of which stable release; empty: the distribution's own."""

    build: str
    upstream: str
    text: str


class AnswerChange(Plain):
    """Two neighbours that answer differently, the older one first."""

    last_good: ChangeEnd
    first_bad: ChangeEnd
    between: tuple[Unanswered, ...] = ()
    differs: str  # "version", "commit"; of one version what else differs: "build", "architecture and configuration"
    git_range: str = ""  # v6.12.111..v6.12.113
    changelog: tuple[Mention, ...] = ()
    changelog_note: str = ""  # why there is none, or what is not in it

    @property
    def same_version(self) -> bool:
        """Do builds of one version differ, and not versions?"""
        return self.differs not in {"version", "commit"}

    @property
    def explained(self) -> bool:
        """Does a known issue come or go here? Then it says more about a build than about the kfunc."""
        return self.last_good.known_issue != self.first_bad.known_issue

    @property
    def config_differences(self) -> dict[str, tuple[str, str]]:
        """CONFIG_ options of both that differ."""
        old, new = self.last_good.config, self.first_bad.config
        return {name: (old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]}

    @property
    def log_difference(self) -> LogDifference | None:
        """The first line that differs, addresses and BTF ids apart; None when none does, or where one has no log."""
        before, after = self.last_good.log.rstrip(), self.first_bad.log.rstrip()
        if before and after:
            for number, (old, new) in enumerate(zip_longest(before.splitlines(), after.splitlines(), fillvalue=""), 1):
                if steady(old) != steady(new):
                    return LogDifference(line=number, before=old, after=new)
        return None


class ExplainedKernels(Plain):
    """A known issue, and the kernels whose answer it is."""

    issue: KnownIssue
    kernels: tuple[str, ...]


class Conclusion(Plain):
    """What a bisection found. `answers`: each different one, with the kernels that gave it."""

    changes: tuple[AnswerChange, ...]
    monotonic: bool = True
    answers: dict[str, tuple[str, ...]]
    unanswered: tuple[Unanswered, ...] = ()
    wavering: tuple[str, ...] = ()
    sampled: int = 0
    known_issues: tuple[ExplainedKernels, ...] = ()
    possible: tuple[KernelTitle, ...] = ()  # commits: each may be the first bad one
    doubt: str = ""  # why the commit that was found may be the wrong one

    @property
    def main(self) -> AnswerChange | None:
        """The change that leads to how the newest kernel answers; one that no known issue explains goes first."""
        own = [change for change in self.changes if not change.explained]
        return next(reversed(own or self.changes), None)

    @property
    def certain(self) -> bool:
        """Every end of every change was confirmed, and some kernel answered."""
        sides = [side for change in self.changes for side in (change.last_good, change.first_bad)]
        return bool(self.answers) and all(side.confirmed for side in sides) and not (self.possible or self.doubt)


class Bisection(Plain):
    """The document."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    id: RunId  # of the run that holds its boots as well
    key: str  # equal for the same question to the same kernels
    question: BisectionQuestion
    started: AwareDatetime
    finished: AwareDatetime | None = None
    slots: int = 1
    samples: int = 0
    every: bool = False  # ask all of them, instead of searching
    repository: str = ""  # whose commits the candidates are
    candidates: tuple[Candidate, ...]  # in order; of commits those that were tested
    replies: tuple[Reply, ...] = ()
    rounds: int = 0
    found: Conclusion | None = None
    git_log: str = ""  # `git bisect replay` takes it

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @property
    def boots(self) -> int:
        return sum(reply.fresh and bool(reply.cell) for reply in self.replies)

    @property
    def shown_runs(self) -> frozenset[str]:
        """The runs that the commands of the document name."""
        changes = self.found.changes if self.found else ()
        return frozenset(side.run for change in changes for side in (change.last_good, change.first_bad))


def load_bisections(store: ResultStore) -> tuple[Bisection, ...]:
    """Every bisection that is stored, the last one first."""
    with faults(store.path):
        return tuple(map(Bisection.model_validate_json, store.documents()))


def write_bisection(store: ResultStore, bisection: Bisection) -> None:
    store.write_document(bisection.id, bisection.model_dump_json().encode())
