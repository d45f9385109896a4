"""A run from the store, judged by the claims as they are now."""

from __future__ import annotations

from runner.cli.options import Project
from runner.model import CellResult
from runner.probes import ClaimFile, judge, load_claims, states
from runner.results.model import JudgedCell, JudgedRun, Run, judge_run
from runner.results.store import ResultStore


def claims_of(project: Project) -> tuple[ClaimFile, ...]:
    return load_claims(project.root, project.matrix.file.probes)


def judged(run: Run, claims: tuple[ClaimFile, ...]) -> JudgedRun:
    """Every cell of a run with its verdicts."""
    return judge_run(run, judge=lambda result: judge(result, claims), states=lambda result: states(result, claims))


def judged_cell(result: CellResult, claims: tuple[ClaimFile, ...]) -> JudgedCell:
    """One result with its verdicts."""
    return JudgedCell(result=result, claims=judge(result, claims), states=states(result, claims))


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last one. Raises MatrixError when there is none."""
    with ResultStore(project.database, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return judged(run, claims_of(project))
