"""The claims and the census by the types that reports and results still have. Goes when they have rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.model import (
    ClaimVerdict,
    KfuncState,
    ProgType,
    Row,
    State,
)
from runner.probes.census.judge import Known
from runner.probes.census.kfuncs import NO_KFUNCS, KfuncList
from runner.probes.claims import ClaimFile
from runner.probes.expectations import Expectations
from runner.probes.issues import Issue
from runner.probes.kind import ProbeFile


def of(
    files: Iterable[ClaimFile], known: KfuncList = NO_KFUNCS, issues: Sequence[Issue] = (), root: Path = Path()
) -> Expectations:
    files = tuple(files)
    probes = tuple(ProbeFile(file.name, file) for file in files)
    return Expectations(root, probes, {"claims": files, "census": Known(known, files)}, tuple(issues))


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
