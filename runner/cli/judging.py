"""A run from the store, judged by the claims as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runner.cli.options import Project
from runner.model import CellResult, ClaimVerdict, KfuncState
from runner.probes import ClaimFile, judge, load_claims, states
from runner.results.model import JudgedCell, JudgedRun, Run, judge_run
from runner.results.store import ResultStore


def claims_of(project: Project) -> tuple[ClaimFile, ...]:
    return load_claims(project.root, project.matrix.file.probes)


def judged(run: Run, claims: tuple[ClaimFile, ...]) -> JudgedRun:
    """Every cell of a run with its verdicts."""
    return judge_run(run, judge=lambda result: judge(result, claims), states=lambda result: states(result, claims))


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges whatever is kept by the claims of a project."""

    claims: tuple[ClaimFile, ...]

    @classmethod
    def of(cls, project: Project) -> Self:
        return cls(claims_of(project))

    def run(self, run: Run) -> JudgedRun:
        return judged(run, self.claims)

    def cell(self, result: CellResult) -> JudgedCell:
        return JudgedCell(result=result, claims=self.verdicts(result), states=self.states(result))

    def verdicts(self, result: CellResult) -> tuple[ClaimVerdict, ...]:
        return judge(result, self.claims)

    def about(self, kfunc: str) -> Self:
        """One that knows only the claims about one kfunc, and is faster for that."""
        files = [
            file.model_copy(
                update={"claims": tuple(it for it in file.claims if kfunc in file.kfuncs[it.kfunc].values())}
            )
            for file in self.claims
        ]
        return type(self)(tuple(files))

    def states(self, result: CellResult) -> tuple[KfuncState, ...]:
        return states(result, self.claims)


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last one. Raises MatrixError when there is none."""
    with ResultStore(project.database, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return judged(run, claims_of(project))
