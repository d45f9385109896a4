"""What came of a search over commits. Frozen, no I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from runner.model import CensusObservation, Observation, Plain, Sha256

CommitId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]


class CommitAnswer(Plain):
    """One commit that was looked at. An empty `answer`: it has none, and `cause` says why; such a commit is skipped."""

    commit: CommitId
    answer: str = ""
    cause: str = ""
    kernel: Sha256 | None = None  # over image and modules; None: it did not build
    booted: bool = False  # False: it did not build, or the very same kernel was asked before
    observation: Observation | CensusObservation | None = None


class NamedCommit(Plain):
    """A commit, with what names it for people. The subject is somebody else's text."""

    id: CommitId
    subject: str

    @property
    def short(self) -> str:
        return self.id[:12]


class CommitBisection(Plain):
    """The document that `runner bisect --git --format json` prints."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    question: str  # nat-manip-2:tc
    repository: str
    arch: str
    good: NamedCommit  # the ends, as they were given
    bad: NamedCommit
    good_answer: str
    bad_answer: str
    first_bad: NamedCommit | None  # None: the ends answer alike, or only skipped commits are left
    candidates: tuple[NamedCommit, ...] = ()  # where it is not one: each may be the first bad one
    tested: tuple[CommitAnswer, ...]
    log: str = ""  # of git bisect: `git bisect replay` takes it

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @property
    def skipped(self) -> tuple[CommitAnswer, ...]:
        return tuple(one for one in self.tested if not one.answer)
