"""A run from the store, judged by the claims as they are now."""

from __future__ import annotations

from runner.cli.options import Project
from runner.model import CellResult, ClaimVerdict
from runner.probes import ClaimFile, Issue, explained, issues_of, judge, load_claims, load_issues, states
from runner.results.model import JudgedRun, Run, judge_run
from runner.results.store import ResultStore


def claims_of(project: Project) -> tuple[ClaimFile, ...]:
    return load_claims(project.root, project.matrix.file.probes)


def verdicts(result: CellResult, claims: tuple[ClaimFile, ...], issues: tuple[Issue, ...]) -> tuple[ClaimVerdict, ...]:
    """One cell's verdicts, with the known issues that explain some of them."""
    return explained(result, judge(result, claims), issues)


def judged(run: Run, claims: tuple[ClaimFile, ...], issues: tuple[Issue, ...]) -> JudgedRun:
    """Every cell of a run with its verdicts."""
    return judge_run(
        run,
        judge=lambda result: verdicts(result, claims, issues),
        states=lambda result: states(result, claims),
        known_issues=lambda cells: issues_of(cells, issues),
    )


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last one. Raises MatrixError when there is none."""
    with ResultStore(project.database, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return judged(run, claims_of(project), load_issues(project.root))
