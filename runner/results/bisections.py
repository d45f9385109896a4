"""A stored bisection: reports/bisections/<id>.json, rewritten after each answer, so that a killed one is resumed.

What is asked, of which kernels, every reply that came, and, when it came to its end, what was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from runner.errors import InfraError
from runner.model import KnownIssue, Outcome, Plain, ProgType, StructLayout
from runner.results.database import faults
from runner.results.evidence import publish
from runner.results.model import RunId


class Why(StrEnum):
    """Why a kernel is asked."""

    ENDS = "end"
    SEARCH = "search"
    REPEAT = "repeat"  # it answered in two ways
    CONFIRM = "confirm"  # it is an end of a change
    SAMPLE = "sample"  # outside of every change that was found
    KNOWN = "known"  # the store has its answer from another run


class OneKernel(Plain):
    """What names a kernel."""

    version: str
    release: str
    arch: str
    build: str = ""  # the package's version, or what else tells two builds of one version apart
    variant: str = ""  # rt, 16k; empty: the generic configuration

    @property
    def title(self) -> str:
        """`6.18.15 (6.18.15-1~bpo13+1) x86_64 rt`."""
        return " ".join(filter(None, (self.version, f"({self.build or self.release})", self.arch, self.variant)))


class Candidate(OneKernel):
    """A kernel that may be asked. `key` is its own among the candidates of a bisection."""

    key: str
    source: str
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

    @property
    def fresh(self) -> bool:
        """Was it booted for this bisection?"""
        return self.why is not Why.KNOWN

    @property
    def machines_fault(self) -> bool:
        """It has no answer, and that was not the kernel's doing: asking again may help."""
        return not self.answer and self.outcome not in (Outcome.RAN, Outcome.BOOT_FAILED)


class Question(Plain):
    """What is asked of each kernel."""

    target: str  # as the command line names it: nat-manip-2:tc, bpf_ct_set_nat_info:xdp
    kfunc: str
    prog_type: ProgType
    says: str = ""  # the claim's words


class Answered(OneKernel):
    """One end of a change: the kernel, its answer, the raw evidence, and how to see it again."""

    source: str
    suite: str
    answer: str
    boots: int  # that gave an answer, those of other runs too
    agree: int
    confirmed: bool
    run: str
    cell: str
    probe: str = ""  # whose observation it is; empty: the census's
    errno: int | None = None
    run_errno: int | None = None
    fields: dict[str, int] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)  # the fields as people read them: -EINVAL, not written
    log: str = ""
    reason: str = ""  # the line of the log in which the verifier says why it refuses
    prototype: str = ""  # from BTF, as the layouts
    layouts: tuple[StructLayout, ...] = ()  # of the structures that programs hand to the kfunc
    config: dict[str, str] = Field(default_factory=dict)
    known_issue: str = ""  # the id of the one that this answer shows
    show: str = ""  # the command that shows the raw answer
    again: str = ""  # the command that boots this kernel and asks it again


class Unanswered(OneKernel):
    """A kernel that was asked and has no answer."""

    cause: str


class LogDifference(Plain):
    """The first line in which two logs of the verifier differ, counted from 1; empty where one has ended."""

    line: int
    before: str
    after: str


class LayoutDifference(Plain):
    """A structure that two kernels lay out differently; None: no program hands one to the kfunc there."""

    name: str
    before: StructLayout | None
    after: StructLayout | None


class Mention(Plain):
    """A line of the distribution's changelog. `upstream`: of which stable release; empty: the distribution's own."""

    build: str
    upstream: str
    text: str


class Change(Plain):
    """Two neighbours that answer differently, the older one first."""

    last_good: Answered
    first_bad: Answered
    between: tuple[Unanswered, ...] = ()
    differs: str  # "version"; of one version what else differs: "build", "architecture and configuration"
    log_difference: LogDifference | None = None
    layout_differences: tuple[LayoutDifference, ...] = ()
    config_differences: dict[str, tuple[str, str]] = Field(default_factory=dict)
    stable_range: str = ""  # as git has it: v6.12.111..v6.12.113
    changelog: tuple[Mention, ...] = ()
    changelog_note: str = ""  # why there is none

    @property
    def same_version(self) -> bool:
        """Is it a difference of builds, and not of versions?"""
        return self.differs != "version"

    @property
    def explained(self) -> bool:
        """Does a known issue come or go here? Then it says more about a build than about the kfunc."""
        return self.last_good.known_issue != self.first_bad.known_issue


class Explained(Plain):
    """A known issue, and the kernels whose answer it is."""

    issue: KnownIssue
    kernels: tuple[str, ...]


class Found(Plain):
    """What a bisection came to. `answers`: each different one, with the kernels that gave it."""

    changes: tuple[Change, ...]
    monotonic: bool
    answers: dict[str, tuple[str, ...]]
    unanswered: tuple[Unanswered, ...]
    wavering: tuple[str, ...]
    sampled: int
    known_issues: tuple[Explained, ...] = ()

    @property
    def main(self) -> Change | None:
        """The change that leads to how the newest kernel answers; one that no known issue explains goes first."""
        own = [change for change in self.changes if not change.explained]
        return next(reversed(own or self.changes), None)


class Bisection(Plain):
    """The document."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    id: RunId  # of the run that holds its boots as well
    key: str  # equal for the same question to the same kernels
    question: Question
    started: AwareDatetime
    finished: AwareDatetime | None = None
    slots: int
    samples: int
    every: bool = False  # ask all of them, instead of searching
    candidates: tuple[Candidate, ...]
    replies: tuple[Reply, ...] = ()
    rounds: int = 0
    last_good: Answered | None = None
    first_bad: Answered | None = None
    found: Found | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @property
    def boots(self) -> int:
        return sum(reply.fresh for reply in self.replies)

    @property
    def shown_runs(self) -> frozenset[str]:
        """The runs that the commands of the document name."""
        changes = self.found.changes if self.found else ()
        return frozenset(side.run for change in changes for side in (change.last_good, change.first_bad))


def bisections_folder(reports: Path) -> Path:
    return reports / "bisections"


def bisection_path(reports: Path, bisection_id: str) -> Path:
    return bisections_folder(reports) / f"{bisection_id}.json"


def load_bisections(reports: Path) -> Iterator[Bisection]:
    """Every bisection that is kept, the last one first. InfraError when one cannot be read."""
    for path in sorted(bisections_folder(reports).glob("bisect-*.json"), reverse=True):
        try:
            yield Bisection.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InfraError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InfraError(f"{path} is no bisection: {place}: {first['msg']}", hint="delete it") from None


def join_bisections(into: Path, other: Path) -> None:
    """Add the documents that another store has, also in the place of one that did not come to its end here."""
    ours = {bisection.id: bisection for bisection in load_bisections(into)}
    for bisection in load_bisections(other):
        mine, path = ours.get(bisection.id), bisection_path(into, bisection.id)
        if mine is None or (bisection.finished and not mine.finished):
            with faults(path):
                publish(path, bisection.model_dump_json(indent=1).encode() + b"\n")
