"""A run from the store, judged by the claims as they are now."""

from __future__ import annotations

from runner.cli.options import Project
from runner.probes import ClaimFile, KfuncList, judge, load_claims, load_kfuncs, states, tagged
from runner.results.model import JudgedRun, Run, judge_run
from runner.results.store import ResultStore


def claims_of(project: Project) -> tuple[ClaimFile, ...]:
    return load_claims(project.root, project.matrix.file.probes)


def judged(run: Run, claims: tuple[ClaimFile, ...], known: KfuncList) -> JudgedRun:
    """Every cell of a run with its verdicts. A kfunc that one of its kernels has is looked for in all of them."""
    known = known.grown(kfunc for result in run.results for kfunc in tagged(result))
    return judge_run(
        run, judge=lambda result: judge(result, claims), states=lambda result: states(result, claims, known)
    )


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last one. Raises MatrixError when there is none."""
    with ResultStore(project.database, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return judged(run, claims_of(project), load_kfuncs(project.root))
