"""A run from the store, judged by what the project says now."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Self

from runner.cli.options import Project
from runner.cli.stores import store_of
from runner.errors import UserError
from runner.model import CellResult, ClaimVerdict, KfuncState, Observation
from runner.probes import (
    ClaimFile,
    Issue,
    KfuncList,
    essences,
    explained,
    issues_of,
    judge,
    load_claims,
    load_issues,
    load_kfuncs,
    states,
    tagged,
)
from runner.results.model import JudgedCell, JudgedRun, Run, judge_run
from runner.results.newest import newest, run_of_cell


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a project says about kernels: its claims, the names of kfuncs, its known issues."""

    claims: tuple[ClaimFile, ...]
    kfuncs: KfuncList
    issues: tuple[Issue, ...]

    @classmethod
    def of(cls, project: Project) -> Self:
        """Raises UserError, with file and line, when one of the files is wrong."""
        root = project.root
        return cls(load_claims(root, project.matrix.file.probes), load_kfuncs(root), load_issues(root))

    def verdicts(self, result: CellResult) -> tuple[ClaimVerdict, ...]:
        """One cell's verdicts, with the known issues that explain some of them."""
        return explained(result, judge(result, self.claims), self.issues)

    def judged(self, run: Run) -> JudgedRun:
        """Every cell of a run with its verdicts. A kfunc that one of its kernels has is looked for in all of them."""
        known = self.kfuncs.grown(kfunc for result in run.results for kfunc in tagged(result))
        return judge_run(
            run,
            judge=self.verdicts,
            states=lambda result: states(result, self.claims, known),
            known_issues=lambda cells: issues_of(cells, self.issues),
        )

    def states(self, result: CellResult) -> tuple[KfuncState, ...]:
        """One cell's states. Only kfuncs that the project or the cell itself names are looked for."""
        return states(result, self.claims, self.kfuncs)

    def essences(self) -> Callable[[Observation], Hashable]:
        """What of an observation the states depend on."""
        return essences(self.claims)

    def cell(self, result: CellResult) -> JudgedCell:
        return JudgedCell(result=result, claims=self.verdicts(result), states=self.states(result))


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last matrix run. Raises UserError when there is none."""
    with store_of(project, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return Knowledge.of(project).judged(run)


def run_of(project: Project, cell_id: str) -> str | None:
    """The run with the newest answer of a cell. None: no run has it."""
    with store_of(project, read_only=True) as store:
        return run_of_cell(store, cell_id)


def judged_newest(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run; without one, every cell of the matrix with its newest answer. Raises UserError when there is none.

    Without a lock that is the last matrix run.
    """
    knowledge = Knowledge.of(project)
    with store_of(project, read_only=True) as store:
        if run_id is not None:
            return knowledge.judged(store.load(run_id, consoles=consoles))
        try:
            cells = project.matrix.cells(project.lock())
        except UserError:
            cells = store.load().cells
        run, sources = newest(store, cells, consoles=consoles)
    return knowledge.judged(run).model_copy(update={"sources": sources})
