"""From what a cell answered to verdicts and states. Pure: a wrong expectation is mended without a boot.

No answer is the default. Only the kernel's own words make anything else of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner.model import (
    CellResult,
    CensusObservation,
    ClaimVerdict,
    KfuncState,
    Observation,
    Outcome,
    ProgType,
    State,
    Verdict,
)
from runner.probes.asks import census_id, probe_id
from runner.probes.claims import Answer, Claim, ClaimFile, errno_name
from runner.probes.matching import expected_words, matches, names_words, observed_words
from runner.probes.verifier import calls_missing, permission, platform_trouble, verdict_line

_CRASHED = "crashed the kernel"


def judge(result: CellResult, files: Iterable[ClaimFile]) -> tuple[ClaimVerdict, ...]:
    """A verdict for every claim of `files` and each of its program types."""
    seen = {observation.probe: observation for observation in result.observations}
    return tuple(
        _verdict(result, file, claim, prog_type, seen)
        for file in files
        for claim in file.claims
        for prog_type in claim.types
    )


def states(result: CellResult, files: Iterable[ClaimFile]) -> tuple[KfuncState, ...]:
    """A state for every kfunc of `files` and each program type."""
    files = tuple(files)
    answers = {(answer.kfunc, answer.prog_type): answer for answer in result.census}
    usable = set(_usable(result, files))
    owners = {name: file for file in reversed(files) for name in file.kfunc_names}
    return tuple(
        _state(
            result,
            owners[kfunc],
            kfunc,
            prog_type,
            answer=answers.get((kfunc, prog_type)),
            usable=(kfunc, prog_type) in usable,
        )
        for kfunc in sorted(owners)
        for prog_type in ProgType
    )


def _verdict(
    result: CellResult, file: ClaimFile, claim: Claim, prog_type: ProgType, seen: Mapping[str, Observation]
) -> ClaimVerdict:
    probe = probe_id(claim, prog_type)
    version = result.cell.kernel.upstream
    answer = claim.expected(version)
    observation = seen.get(probe)
    observed, crashed = "", False
    if probe in result.crashed:
        verdict, cause, observed, crashed = Verdict.BROKEN, result.cause, _CRASHED, True
    elif version not in claim.interval:
        verdict, cause = Verdict.NOT_APPLICABLE, f"says nothing about {version}: {claim.interval}"
    elif cause := _no_answer(result, file, probe, answer, observation):
        verdict = Verdict.NO_ANSWER
    else:
        assert observation is not None  # noqa: S101  _no_answer has a cause without one
        missing = bool(observation.load_errno) and calls_missing(observation.log)
        verdict = Verdict.HOLDS if matches(answer, observation) and not missing else Verdict.BROKEN
        cause = "the program needs a kfunc or a field that this kernel does not have" if missing else ""
    return ClaimVerdict(
        id=claim.id,
        probe=probe,
        kfunc=file.kfunc(claim, prog_type),
        prog_type=prog_type,
        verdict=verdict,
        expected=expected_words(answer),
        observed=observed or (observed_words(answer, observation) if observation else ""),
        cause=cause,
        crashed=crashed,
    )


def _no_answer(result: CellResult, file: ClaimFile, probe: str, answer: Answer, seen: Observation | None) -> str:
    """Why there is no answer to a claim; empty when there is one."""
    if seen is None:
        return _not_asked(result, probe)
    if seen.failed:
        return seen.failed
    if seen.load_errno is None:
        return "the program was not given to the kernel"
    if names_words(answer) and matches(answer, seen):
        return ""  # the refusal that it speaks of, even one that elsewhere shows nothing
    if seen.load_errno:
        if trouble := platform_trouble(seen.load_errno, seen.log):
            return trouble
        return _unready(result, file) if calls_missing(seen.log) else ""
    if seen.run_errno is None and answer.load != "ok":
        return ""  # it was to be refused
    if seen.run_errno is None:
        return "the program was loaded and not run"
    return f"BPF_PROG_TEST_RUN: -{errno_name(seen.run_errno)}" if seen.run_errno else ""


def _not_asked(result: CellResult, probe: str) -> str:
    if result.outcome is not Outcome.RAN:
        return f"{result.outcome}: {result.cause}" if result.cause else str(result.outcome)
    return result.cause or f"{probe} was not asked"


def _unready(result: CellResult, file: ClaimFile) -> str:
    """What was not there, so that a missing kfunc shows nothing. Empty when everything was."""
    facts = result.facts
    if "vmlinux" not in facts.btf:
        return "the kernel has no BTF"
    for module in file.modules:
        if module not in facts.modules:
            return f"module {module} was not loaded"
        if reason := facts.modules[module]:
            return f"module {module} did not load: {reason}"
        if module not in facts.btf:
            return f"module {module} has no BTF in this kernel"
    return ""


def _usable(result: CellResult, files: Iterable[ClaimFile]) -> Iterator[tuple[str, ProgType]]:
    """The kfuncs that a claim has shown at work."""
    seen = {observation.probe: observation for observation in result.observations}
    for file in files:
        for claim in file.claims:
            for prog_type in claim.types if claim.usable else ():
                observation = seen.get(probe_id(claim, prog_type))
                if observation and not observation.failed and matches(claim.answer, observation):
                    yield file.kfunc(claim, prog_type), prog_type


def _state(
    result: CellResult,
    file: ClaimFile,
    kfunc: str,
    prog_type: ProgType,
    *,
    answer: CensusObservation | None,
    usable: bool,
) -> KfuncState:
    refused, log = (answer.load_errno, answer.log) if answer else (None, "")
    if usable:  # it ran: whatever became of the census, the kernel has said yes
        state, cause = State.USABLE, ""
    elif answer is None:
        crashed = census_id(prog_type) in result.crashed
        state, cause = State.NO_ANSWER, f"the census {_CRASHED}" if crashed else _not_asked(result, "the census")
    elif answer.failed:
        state, cause = State.NO_ANSWER, answer.failed
    elif refused is None:
        state, cause = _not_in_btf(result, file, answer)
    else:
        reading = permission(refused, log)
        state, cause = reading.state, reading.cause
        if state is State.REGISTERED:
            cause, why = _unshown(result, file, kfunc, prog_type)
            log = why or log
    return KfuncState(
        kfunc=kfunc,
        object=answer.object if answer else "",
        prog_type=prog_type,
        state=state,
        cause=cause,
        errno=refused,
        log="" if state is State.USABLE else log,
    )


def _not_in_btf(result: CellResult, file: ClaimFile, answer: CensusObservation) -> tuple[State, str]:
    if answer.object:
        return State.NO_ANSWER, f"found in {answer.object}, but not asked"
    if unready := _unready(result, file):
        return State.NO_ANSWER, unready
    return State.ABSENT, "not in the kernel's BTF"


def _unshown(result: CellResult, file: ClaimFile, kfunc: str, prog_type: ProgType) -> tuple[str, str]:
    """Why a kfunc that may be called was not seen at work, and the log that says so."""
    seen = {observation.probe: observation for observation in result.observations}
    mine = [claim for claim in file.claims if prog_type in claim.types and file.kfunc(claim, prog_type) == kfunc]
    showing = [claim for claim in mine if claim.usable]
    answers = [answer for claim in showing or mine if (answer := seen.get(probe_id(claim, prog_type)))]
    for answer in answers:
        if answer.load_errno:
            return verdict_line(answer.log) or f"load refused: -{errno_name(answer.load_errno)}", answer.log
    if not showing:
        return "no claim runs it from this program type", ""
    return (
        "may be called; that it works was not seen" if answers else "the claim that would show more was not asked",
        "",
    )
