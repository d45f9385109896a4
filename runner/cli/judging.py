"""A run from the store, judged by what the project says now."""

from __future__ import annotations

from runner.cli import EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_OK
from runner.cli.options import Project, store_of
from runner.errors import UserError
from runner.model import Asked
from runner.probes import Expectations
from runner.reports.findings import Ending, ending
from runner.results.model import JudgedRun, judge_run
from runner.results.newest import newest, run_of_cell


def exit_status(judged: JudgedRun) -> int:
    """Of `runner matrix run`, and of the reports that show a run."""
    return {Ending.EXPECTED: EXIT_OK, Ending.BROKEN: EXIT_BROKEN, Ending.INCOMPLETE: EXIT_NO_ANSWER}[ending(judged)]


def expectations_of(project: Project) -> Expectations:
    """Raises UserError, with file and line, when one of the files is wrong."""
    return Expectations.load(project.root, project.matrix.file.probes)


def judged_run(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run, by default the last matrix run. Raises UserError when there is none."""
    with store_of(project, read_only=True) as store:
        run = store.load(run_id, consoles=consoles)
    return judge_run(run, expectations_of(project))


def run_of(project: Project, cell_id: str) -> str | None:
    """The run with the newest answer of a cell. None: no run has it."""
    with store_of(project, read_only=True) as store:
        return run_of_cell(store, cell_id)


def asked_by(project: Project, run_id: str) -> Asked | None:
    """What a run asked; None when that was not recorded."""
    with store_of(project, read_only=True) as store:
        return store.asked(run_id)


def judged_newest(project: Project, run_id: str | None, *, consoles: bool = False) -> JudgedRun:
    """A run; without one, every cell of the matrix with its newest answer. Raises UserError when there is none.

    Without a lock that is the last matrix run.
    """
    expectations = expectations_of(project)
    with store_of(project, read_only=True) as store:
        if run_id is not None:
            return judge_run(store.load(run_id, consoles=consoles), expectations)
        try:
            cells = project.matrix.cells(project.lock())
        except UserError:
            cells = store.load().cells
        run, sources = newest(store, cells, consoles=consoles)
    return judge_run(run, expectations).model_copy(update={"sources": sources})
