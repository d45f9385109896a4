"""The claims and the census by the types that reports and results still have. Goes when they have rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from runner.model import (
    CellResult,
    ClaimVerdict,
    KfuncState,
    Observation,
    ProgType,
    Row,
    State,
)
from runner.probes.census import CENSUS
from runner.probes.census.judge import Known
from runner.probes.census.kfuncs import NO_KFUNCS, KfuncList
from runner.probes.claims import CLAIMS, ClaimFile, questions
from runner.probes.claims.judge import Evidence, Question
from runner.probes.claims.judge import judge as row_of
from runner.probes.claims.matching import matches
from runner.probes.expectations import Expectations
from runner.probes.issues import Issue
from runner.probes.kind import ProbeFile


def of(
    files: Iterable[ClaimFile], known: KfuncList = NO_KFUNCS, issues: Sequence[Issue] = (), root: Path = Path()
) -> Expectations:
    files = tuple(files)
    probes = tuple(ProbeFile(file.name, file) for file in files)
    return Expectations(root, probes, {"claims": files, "census": Known(known, files)}, tuple(issues))


def judge(result: CellResult, files: Iterable[ClaimFile]) -> tuple[ClaimVerdict, ...]:
    return tuple(verdict_of(row) for row in CLAIMS.judge(result, tuple(files), ()))


def judge_one(result: CellResult, question: Question, seen: Observation | None) -> ClaimVerdict:
    return verdict_of(row_of(Evidence.of(result), question, seen))


def states(result: CellResult, files: Iterable[ClaimFile], known: KfuncList = NO_KFUNCS) -> tuple[KfuncState, ...]:
    files = tuple(files)
    earlier = tuple(CLAIMS.judge(result, files, ()))
    return tuple(state_of(row) for row in CENSUS.judge(result, Known(known, files), earlier))


def essences(files: Iterable[ClaimFile]) -> Callable[[Observation], Hashable]:
    answers = {question.probe: question.claim.answer for question in questions(files)}

    def essence(seen: Observation) -> Hashable:
        as_said = seen.probe in answers and matches(answers[seen.probe], seen)
        return seen.probe, seen.failed, seen.load_errno, seen.run_errno, seen.log, as_said

    return essence


def verdict_of(row: Row) -> ClaimVerdict:
    assert row.verdict is not None  # noqa: S101
    return ClaimVerdict(
        id=row.probe.rpartition(":")[0],
        probe=row.probe,
        kfunc=row.subject,
        prog_type=ProgType(row.type),
        verdict=row.verdict,
        expected=row.expected,
        observed=row.observed,
        cause=row.cause,
        crashed=row.crashed,
        known_issue=row.known_issue,
    )


def state_of(row: Row) -> KfuncState:
    return KfuncState(
        kfunc=row.subject,
        prog_type=ProgType(row.type),
        state=State(row.state),
        cause=row.cause,
        errno=row.errno,
        log=row.log,
        hidden=row.hidden,
        **row.details,  # type: ignore[arg-type]
    )


class OldJudge:
    """By states."""

    def __init__(self, expectations: Expectations) -> None:
        self._expectations = expectations

    def states(self, result: CellResult) -> tuple[KfuncState, ...]:
        return tuple(state_of(row) for row in self._expectations.rows(result) if row.state)

    def essences(self) -> Callable[[Observation], Hashable]:
        return essences(self._expectations.known["claims"])
