"""A run from the store, judged by what the project says now."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Self

from runner.cli.options import Project
from runner.cli.stores import store_of
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
    """A run, by default the last one. Raises UserError when there is none."""
    with store_of(project, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return Knowledge.of(project).judged(run)
