"""What comes of answers that are held against claims. Computed on the host, never stored."""

from __future__ import annotations

from runner.model.answers import Splat
from runner.model.layouts import StructLayout
from runner.model.words import Level, Plain, ProgType, State, Verdict


class ClaimVerdict(Plain):
    """One claim for one program type in one cell, judged."""

    id: str  # the claim
    probe: str  # <claim>:<prog type>
    kfunc: str
    prog_type: ProgType
    verdict: Verdict
    expected: str  # in words: "error -EINVAL"
    observed: str  # in words: "error -EINVAL", "load -EACCES: calling kernel function ... is not allowed"
    cause: str = ""  # why there is no answer, or why it does not apply
    crashed: bool = False
    known_issue: str = ""  # the id of the KnownIssue that explains why it is broken


class JudgedSplat(Splat):
    """A splat, and the id of the KnownIssue that allows it."""

    known_issue: str = ""


class KnownIssue(Plain):
    """A deviation whose cause is understood. What it explains is shown apart, and does not fail a run."""

    id: str
    what: str
    reason: str
    link: str
    # its kernels were run, every probe that it is about was answered, and none of the answers is the deviation any more
    gone: bool = False


class KfuncState(Plain):
    """Whether programs of a type can call a kfunc in one cell, judged."""

    kfunc: str
    object: str  # vmlinux or a module; empty when in none
    prog_type: ProgType
    state: State
    cause: str = ""  # short, from evidence
    errno: int | None = None
    log: str = ""  # the verifier's own words, without the explanation that v7.3 appends
    hidden: bool = False  # no answer, and asking again will not help: the kernel refuses before it looks
    prototype: str = ""  # from BTF, as C has it
    layouts: tuple[StructLayout, ...] = ()  # of the structures that programs hand to it, from BTF
    flags: tuple[str, ...] = ()  # as far as the kernel shows them: KF_SLEEPABLE
    level: Level = Level.NONE
