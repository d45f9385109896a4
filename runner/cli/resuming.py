"""`runner matrix run --resume`: a run that was stopped, killed or disturbed goes on; only what is missing is booted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.cli import EXIT_INTERRUPTED
from runner.cli.fleets import fleet_of
from runner.cli.holding import FailureHold
from runner.cli.judging import Knowledge
from runner.cli.options import Project
from runner.cli.running import boot_all, orders_of, show
from runner.cli.stopping import stoppable
from runner.cli.stores import store_of
from runner.cli.watching import Watch
from runner.engine.orders import WorkerOrders
from runner.errors import UserError
from runner.model import NETWORK_TYPES, ProgType
from runner.reports.exitcode import exit_code
from runner.results.missing import missing_cells
from runner.results.model import Run
from runner.results.store import ResultStore


def resume_matrix(
    project: Project,
    knowledge: Knowledge,
    run_id: str | None,
    *,
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES,
    slots: int | None,
    hosts: Path | None = None,
    offline: bool,
    console: Console,
    watch: Watch | None = None,
    hold: FailureHold | None = None,
) -> int:
    """Boot what a run, by default the last one that was stopped, has no answer of, with the kernels of its beginning.

    Raises UserError when there is no such run, or when the matrix is another one by now.
    """
    if not project.database.exists():
        raise UserError(f"there is no run to resume in {project.database}", hint="`runner matrix run` begins one")
    with stoppable(), store_of(project) as store:
        run = store.load(run_id or _stopped(store, project))
        if run.matrix_sha256 != project.matrix.sha256:
            raise UserError(
                f"run {run.id} was begun with another {project.matrix.path}",
                hint="put that file back, or begin a new run with `runner matrix run`",
            )
        missing, finished = missing_cells(run), True
        if missing:
            orders = left(orders_of(project, run, knowledge, prog_types=_asked(run, prog_types), offline=offline), run)
            there = len(run.cells) - len(missing)
            with fleet_of(hosts, slots, missing, console) as fleet:
                number = min(fleet.slots, len(missing))
                said = f"run {run.id} goes on: {there} of {len(run.cells)} cells are there, {number} at once"
                console.print(Text(said), soft_wrap=True)
                finished = boot_all(run, orders, knowledge, fleet, store, console, hold=hold)
        else:
            console.print(Text(f"run {run.id} lacks nothing"), soft_wrap=True)
        if finished and (missing or run.finished is None):
            store.finish(run.id, max(datetime.now(UTC), run.started))
        done = knowledge.judged(store.load(run.id))
        show(done, project, console, finished=finished)
    if not finished:
        return EXIT_INTERRUPTED
    return watch.status(done, None, console) if watch else exit_code(done)


def _stopped(store: ResultStore, project: Project) -> str | None:
    """The last run of this matrix that did not come to its end. None: all did."""
    mine = (info for info in store.runs() if info.matrix_sha256 == project.matrix.sha256)
    return next((info.id for info in mine if info.finished is None), None)


def resumed_id(resume: bool, run_id: str | None, *, baseline: str | None, only: str) -> str | None:
    """What to resume; checks what goes together. Raises UserError."""
    if run_id is not None and not resume:
        raise UserError(f"what about {run_id}?", hint="`--resume RUN` goes on with a run, `--only` chooses cells")
    if resume and (baseline or only):
        raise UserError("--resume goes on with a run as it was begun", hint="leave --only and --baseline out")
    return run_id


def left(orders: WorkerOrders, run: Run) -> WorkerOrders:
    """The orders of what is missing; attempts are counted on."""
    ids = {cell.id for cell in missing_cells(run)}
    left = tuple(
        order.model_copy(update={"attempt": len(run.attempts(order.cell.id)) + 1})
        for order in orders.orders
        if order.cell.id in ids
    )
    return orders.model_copy(update={"orders": left})


def _asked(run: Run, wanted: tuple[ProgType, ...]) -> tuple[ProgType, ...]:
    """Every program type that is wanted now, or was asked about when the run began."""
    asked = {prog_type for result in run.results for prog_type in result.census_ended}
    return tuple(it for it in ProgType if it in {*wanted, *asked})
