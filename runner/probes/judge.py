"""From what a cell answered to verdicts and states. Pure: a wrong expectation is mended without a boot.

No answer is the default. Only the kernel's own words make anything else of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from runner.model import (
    CellResult,
    CensusObservation,
    ClaimVerdict,
    KfuncState,
    Level,
    Observation,
    Outcome,
    ProgType,
    State,
    Verdict,
)
from runner.model.errnos import errno_name
from runner.model.version import KernelVersion
from runner.probes import census
from runner.probes.asks import census_id, probe_id
from runner.probes.census import asked_types
from runner.probes.claims import Answer, Claim, ClaimFile
from runner.probes.kfuncs import NO_KFUNCS, KfuncList
from runner.probes.levels import levels
from runner.probes.matching import expected_words, matches, names_words, observed_words
from runner.probes.missing import missing_words, other_prototype
from runner.probes.verifier import JIT_OFF, calls_missing, plain_words, platform_trouble, verdict_line

_CRASHED = "crashed the kernel"
_NO_JIT = "the kernel is built without a BPF JIT"


@dataclass(frozen=True, slots=True)
class Question:
    """A claim, asked of programs of one type."""

    file: ClaimFile
    claim: Claim
    prog_type: ProgType

    @property
    def probe(self) -> str:
        return probe_id(self.claim, self.prog_type)

    @property
    def kfunc(self) -> str:
        return self.file.kfunc(self.claim, self.prog_type)

    def essence(self, version: KernelVersion) -> Hashable:
        """What of a kernel's version a verdict depends on."""
        if version not in self.claim.interval:
            return version
        return next((at for at, entry in enumerate(self.claim.expect) if version in entry.interval), None)


def questions(files: Iterable[ClaimFile]) -> tuple[Question, ...]:
    """Every claim of `files` and each of its program types."""
    return tuple(
        Question(file, claim, prog_type) for file in files for claim in file.claims for prog_type in claim.types
    )


def judge(result: CellResult, files: Iterable[ClaimFile]) -> tuple[ClaimVerdict, ...]:
    """A verdict for every question of `files`."""
    seen = {observation.probe: observation for observation in result.observations}
    return tuple(judge_one(result, question, seen.get(question.probe)) for question in questions(files))


def judge_one(result: CellResult, question: Question, seen: Observation | None) -> ClaimVerdict:
    """The verdict of one question, whose answer was `seen`. The observations of `result` are not looked at."""
    file, claim, probe = question.file, question.claim, question.probe
    version = result.cell.kernel.upstream
    answer = claim.expected(version)
    observed, crashed = "", False
    if probe in result.crashed:
        why = next(crash.cause for crash in result.crashes if crash.probe == probe)
        verdict, cause, observed, crashed = Verdict.BROKEN, why or result.cause, _CRASHED, True
    elif version not in claim.interval:
        verdict, cause = Verdict.NOT_APPLICABLE, f"says nothing about {version}: {claim.interval}"
    elif cause := _no_answer(result, file, probe, answer, seen):
        verdict = Verdict.NO_ANSWER
    else:
        assert seen is not None  # noqa: S101  _no_answer has a cause without one
        missing = bool(seen.load_errno) and calls_missing(seen.log)
        verdict = Verdict.HOLDS if matches(answer, seen) and not missing else Verdict.BROKEN
        cause = missing_words(result, file, seen.log) if missing else ""
    return ClaimVerdict(
        id=claim.id,
        probe=probe,
        kfunc=question.kfunc,
        prog_type=question.prog_type,
        verdict=verdict,
        expected=expected_words(answer),
        observed=observed or (observed_words(answer, seen) if seen else ""),
        cause=cause,
        crashed=crashed,
    )


def states(result: CellResult, files: Iterable[ClaimFile], known: KfuncList = NO_KFUNCS) -> tuple[KfuncState, ...]:
    """A state for every kfunc that `files` are about or that the cell was asked about, and each program type."""
    files = tuple(files)
    answers = {(answer.kfunc, answer.prog_type): answer for answer in result.census}
    usable = set(_usable(result, files))
    reached = levels(result, files)
    owners = {name: file for file in reversed(files) for name in file.kfunc_names}
    homes = census.homes(result, {name: file.modules for name, file in owners.items()}, known)
    flags = _flags(result)
    types = asked_types(result)
    return tuple(
        _state(
            result,
            kfunc,
            prog_type,
            known=known,
            homes=homes[kfunc],
            file=owners.get(kfunc),
            answer=answers.get((kfunc, prog_type)),
            usable=(kfunc, prog_type) in usable,
            flags=flags.get(kfunc, ()),
            level=reached.get((kfunc, prog_type), Level.NONE),
        )
        for kfunc in homes
        for prog_type in types
    )


def essences(files: Iterable[ClaimFile]) -> Callable[[Observation], Hashable]:
    """What of an observation `states` looks at. A timeout that ran down by a second more is nothing of it."""
    answers = {
        probe_id(claim, prog_type): claim.answer for file in files for claim in file.claims for prog_type in claim.types
    }

    def essence(seen: Observation) -> Hashable:
        as_said = seen.probe in answers and matches(answers[seen.probe], seen)
        return seen.probe, seen.failed, seen.load_errno, seen.run_errno, seen.log, as_said

    return essence


def _flags(result: CellResult) -> dict[str, tuple[str, ...]]:
    """What the answers of all program types together show of each kfunc."""
    answers: dict[str, list[CensusObservation]] = defaultdict(list)
    for answer in result.census:
        answers[answer.kfunc].append(answer)
    return {kfunc: census.flags(some) for kfunc, some in answers.items()}


def _no_answer(result: CellResult, file: ClaimFile, probe: str, answer: Answer, seen: Observation | None) -> str:
    """Why there is no answer to a claim; empty when there is one."""
    if seen is None:
        return _not_asked(result, probe)
    if seen.failed:  # a module that is not there makes much else fail, too
        return _unready(result, file) or seen.failed
    if seen.load_errno is None:
        return "the program was not given to the kernel"
    if names_words(answer) and matches(answer, seen):
        return ""  # the refusal that it speaks of, even one that elsewhere shows nothing
    if seen.load_errno:
        if trouble := platform_trouble(seen.load_errno, seen.log):
            return _jit(result, trouble)
        if calls_missing(seen.log):
            return _unready(result, file) or other_prototype(result, file, seen.log)
        return ""
    if seen.run_errno is None and answer.load != "ok":
        return ""  # it was to be refused
    if seen.run_errno is None:
        return "the program was loaded and not run"
    return f"BPF_PROG_TEST_RUN: -{errno_name(seen.run_errno)}" if seen.run_errno else ""


def _jit(result: CellResult, cause: str) -> str:
    """A kernel says the same of a JIT that is off and of one that it does not have; its configuration tells."""
    return _NO_JIT if cause == JIT_OFF and result.config.get("BPF_JIT") == "n" else cause


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
    kfunc: str,
    prog_type: ProgType,
    *,
    known: KfuncList,
    homes: tuple[str, ...],
    file: ClaimFile | None,
    answer: CensusObservation | None,
    usable: bool,
    flags: tuple[str, ...],
    level: Level,
) -> KfuncState:
    refused, log = (answer.load_errno, answer.log) if answer else (None, "")
    hidden = False
    if usable:  # it ran: whatever became of the census, the kernel has said yes
        state, cause = State.USABLE, ""
    elif answer is not None and answer.failed:
        state, cause = State.NO_ANSWER, answer.failed
    elif answer is None or refused is None:
        state, cause = _without_answer(result, known, homes, kfunc, prog_type)
    else:
        reading = census.read(answer)
        state, cause, hidden = reading.state, _jit(result, reading.cause), reading.hidden
        if state is State.REGISTERED:
            shown, why = _unshown(result, file, kfunc, prog_type, loads=refused == 0)
            cause, log = cause or shown, why or log
        if answer.again:
            log = f"{plain_words(log).rstrip()}\n\n{answer.again}:\n{answer.again_log}"
    return KfuncState(
        kfunc=kfunc,
        object=answer.object if answer else "",
        prog_type=prog_type,
        state=state,
        cause=cause,
        errno=refused,
        log="" if state is State.USABLE else plain_words(log),
        hidden=hidden,
        prototype=answer.prototype if answer else "",
        layouts=answer.layouts if answer else (),
        flags=flags,
        level=level,
    )


def _without_answer(
    result: CellResult, known: KfuncList, homes: tuple[str, ...], kfunc: str, prog_type: ProgType
) -> tuple[State, str]:
    if f"{census_id(prog_type)}:{kfunc}" in result.crashed:
        return State.NO_ANSWER, f"asking {_CRASHED}: {result.cause}"
    if cause := census.unanswered(result, prog_type):
        return State.NO_ANSWER, cause
    if prog_type not in result.census_ended:
        return State.NO_ANSWER, _not_asked(result, "the census")
    return census.absence(result, kfunc, known, homes)


def _unshown(
    result: CellResult, file: ClaimFile | None, kfunc: str, prog_type: ProgType, *, loads: bool
) -> tuple[str, str]:
    """Why a kfunc that may be called was not seen at work, and the log that says so.

    That the smallest call of it loads shows no more than that it may be called: it was not run.
    """
    if file is None:
        return "a call of it loads; no claim runs it" if loads else "may be called; no claim runs it", ""
    seen = {observation.probe: observation for observation in result.observations}
    mine = [claim for claim in file.claims if prog_type in claim.types and file.kfunc(claim, prog_type) == kfunc]
    showing = [claim for claim in mine if claim.usable]
    answers = [answer for claim in showing or mine if (answer := seen.get(probe_id(claim, prog_type)))]
    for answer in answers:
        if answer.load_errno and calls_missing(answer.log):
            why = _unready(result, file) or other_prototype(result, file, answer.log)
            return why or missing_words(result, file, answer.log), answer.log
        if answer.load_errno:
            return verdict_line(answer.log) or f"load refused: -{errno_name(answer.load_errno)}", answer.log
    if not showing:
        return "no claim runs it from this program type", ""
    return (
        "may be called; that it works was not seen" if answers else "the claim that would show more was not asked",
        "",
    )
