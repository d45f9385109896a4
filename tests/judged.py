"""Verdicts of claims and states of kfuncs as tests write them down, before they are rows."""

from __future__ import annotations

from runner.model import Level, Plain, ProgType, State, StructLayout, Verdict


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
