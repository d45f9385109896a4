# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""From what a cell answered to claims to rows. Pure: a wrong expectation is corrected without a boot.

No answer is the default. Only the kernel's own words make anything else of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from runner.model import CellResult, Level, ProgType, Row, Verdict
from runner.model.version import KernelVersion
from runner.model.words import errno_name
from runner.probes.census.answers import held, without_kfuncs
from runner.probes.claims.answers import (
    NAME,
    Observation,
    answer_words,
    expected_words,
    matches,
    names_words,
    observed_words,
    statement_true,
)
from runner.probes.claims.written import Claim, ClaimFile, Pattern
from runner.probes.files import VMLINUX
from runner.probes.kind import CRASHED, not_asked, unready
from runner.probes.verifier import NO_JIT, NO_KFUNCS, calls_missing, platform_trouble, without_jit


@dataclass(frozen=True, slots=True)
class Question:
    """A claim, asked of programs of one type."""

    file: ClaimFile
    claim: Claim
    prog_type: ProgType

    @property
    def probe(self) -> str:
        return f"{self.claim.id}:{self.prog_type}"

    def kfunc(self, present: frozenset[str] = frozenset()) -> str:
        """Its name, on a kernel where these are `present`."""
        return self.file.kfunc(self.claim, self.prog_type, present)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A cell's result, and what is known about the kfuncs of its kernel."""

    result: CellResult
    present: frozenset[str] = frozenset()  # in some BTF
    no_kfuncs: bool = False  # the kernel does not know what that is
    version: KernelVersion | None = None  # that it is judged as

    @classmethod
    def of(cls, result: CellResult) -> Self:
        return cls(result, held(result), without_kfuncs(result), result.cell.kernel.judged_as)


def judge(evidence: Evidence, question: Question, seen: Observation | None) -> Row:
    """The row of one question, whose answer was `seen`."""
    result, claim, probe = evidence.result, question.claim, question.probe
    version = evidence.version
    pattern = claim.expected(version)
    observed, crashed, answered = "", False, False
    missing = seen is not None and bool(seen.load_errno) and calls_missing(seen.log)
    if probe in result.crashed:
        why = next(crash.cause for crash in result.crashes if crash.probe == probe)
        verdict, cause, observed, crashed = Verdict.BROKEN, why or result.cause, CRASHED, True
        answered = True
    elif version is not None and version not in claim.interval:
        verdict, cause = Verdict.NOT_APPLICABLE, f"says nothing about {version}: {claim.interval}"
    elif cause := _no_answer(evidence, question, pattern, seen):
        verdict = Verdict.NO_ANSWER
    elif version is None:
        verdict, cause, answered = Verdict.NOT_APPLICABLE, result.cell.kernel.vendor.note, True
    else:
        assert seen is not None  # noqa: S101  _no_answer has a cause without one
        verdict = Verdict.HOLDS if matches(pattern, seen) and not missing else Verdict.BROKEN
        cause, answered = missing_words(seen) if missing else "", True
    subject, expected = question.kfunc(evidence.present), expected_words(pattern)
    if seen is None and not crashed:
        return _unanswered(probe, subject, question.prog_type, verdict, cause, expected, bool(claim.usable))
    return Row(
        kind=NAME,
        probe=probe,
        subject=subject,
        type=question.prog_type,
        verdict=verdict,
        cause=cause,
        expected=expected,
        observed=observed or (observed_words(pattern, seen) if seen else ""),
        answer=_answer(claim, seen) if seen and answered else "",
        true=statement_true(claim, seen) if seen else None,
        crashed=crashed,
        errno=seen.load_errno if seen else None,
        log=seen.log if seen else "",
        details=_details(evidence, question, seen, missing=missing),
    )


@lru_cache(maxsize=1 << 14)  # an old kernel is asked few of a matrix's claims
def _unanswered(  # noqa: PLR0917  what its rows depend on
    probe: str, subject: str, prog_type: ProgType, verdict: Verdict, cause: str, expected: str, usable: bool
) -> Row:
    """The same object for all kernels of which this is so."""
    details = {"usable": True} if usable else {}
    return Row(NAME, probe, subject, prog_type, verdict=verdict, cause=cause, expected=expected, details=details)


def _answer(claim: Claim, seen: Observation) -> str:
    if seen.load_errno and calls_missing(seen.log):
        return f"load refused: -{errno_name(seen.load_errno)}, the kfunc is not there"
    return answer_words(claim, seen)


def _details(
    evidence: Evidence, question: Question, seen: Observation | None, *, missing: bool
) -> Mapping[str, object]:
    """`usable`: its answer can show the kfunc at work. Of what was seen: `level`, how far the program got; `missing`,
    what the program needs and was not there; `unusable`, the reason why the kfunc cannot be put to use."""
    claim = question.claim
    details: dict[str, object] = {"usable": True} if claim.usable else {}
    if seen is None:
        return details
    effect = claim.usable and statement_true(claim, seen)
    details["level"] = str(Level.EFFECT if effect else _level(seen))
    if claim.unusable and matches(claim.expected(evidence.version), seen):
        details["unusable"] = str(claim.unusable)
    if missing:
        details["missing"] = _unresolved(evidence, question.file, seen) or missing_words(seen)
    return details


def _level(seen: Observation) -> Level:
    """A refused program shows nothing: it may have been refused for another kfunc that it calls."""
    if seen.failed or seen.load_errno != 0:
        return Level.NONE
    return Level.RUNS if seen.run_errno == 0 else Level.LOADS


def _trouble(result: CellResult, seen: Observation) -> str:
    """Why this refusal says nothing about the kernel; empty when it does."""
    if calls_missing(seen.log) and result.config.get("BPF_JIT") == "n":
        return NO_JIT  # no kfunc can be called, whether it is there or not
    return without_jit(result, platform_trouble(seen.load_errno or 0, seen.log))


def _no_answer(evidence: Evidence, question: Question, pattern: Pattern, seen: Observation | None) -> str:
    """Why there is no answer to a claim; empty when there is one."""
    result, file = evidence.result, question.file
    if seen is None:
        return not_asked(result, question.probe)
    if evidence.no_kfuncs:
        return NO_KFUNCS
    if seen.failed:  # a module that is not there makes much else fail, too; without BTF nothing was asked
        asked = "DEBUG_INFO_BTF" not in result.build.lacks
        return (asked and _unready(result, file)) or seen.failed
    if seen.load_errno is None:
        return "the program was not given to the kernel"
    if names_words(pattern) and matches(pattern, seen):
        return ""  # the refusal that it speaks of, even one that elsewhere shows nothing
    if seen.load_errno:
        if trouble := _trouble(result, seen):
            return trouble
        return _unresolved(evidence, file, seen) if calls_missing(seen.log) else ""
    if seen.run_errno is None and pattern.load != "ok":
        return ""  # it was to be refused
    if seen.run_errno is None:
        return "the program was loaded and not run"
    return f"BPF_PROG_TEST_RUN: -{errno_name(seen.run_errno)}" if seen.run_errno else ""


def _unready(result: CellResult, file: ClaimFile) -> str:
    """What was not there, so that a missing kfunc shows nothing. Empty when everything was."""
    return next(filter(None, (unready(result, it, file.options.get(it, "")) for it in (VMLINUX, *file.modules))), "")


# --- why libbpf could not resolve what a program calls ---------------------------------------------------------------


def _unresolved(evidence: Evidence, file: ClaimFile, seen: Observation) -> str:
    """Why a call that was not resolved shows nothing. Empty when it shows that the kernel lacks something.

    libbpf leaves a weak kfunc out, without a word, when its prototype is not the program's (bpf_core_types_are_compat).
    """
    if seen.unresolved in evidence.present:
        return f"signature differs: the kernel's {seen.unresolved} has another prototype than the program's"
    return _unready(evidence.result, file)


def missing_words(seen: Observation) -> str:
    """What the program needs that this kernel does not have, once everything that could be loaded was."""
    if not seen.unresolved:
        return "the program reads a field that this kernel does not have"
    return f"the program needs a kfunc that this kernel does not have: {seen.unresolved}"
