"""One run, from cells to an exit status: orders, slots, display, store, reports."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial

from rich.console import Console
from rich.text import Text

from runner import __version__
from runner.caches import cache_root
from runner.cli import EXIT_INTERRUPTED
from runner.cli.holding import FailureHold
from runner.cli.judging import Knowledge
from runner.cli.live import Display
from runner.cli.options import Project
from runner.cli.stopping import stoppable
from runner.cli.stores import store_of
from runner.cli.watching import Watch, suspects
from runner.engine.again import asked_of
from runner.engine.controller import run_rounds
from runner.engine.fleet import Fleet
from runner.engine.orders import WorkerOrders
from runner.engine.prepare import worker_orders
from runner.errors import InfraError, UserError
from runner.model import ANSWERS, NETWORK_TYPES, Cell, CellResult, Outcome, ProgType, Verdict
from runner.reports.exitcode import exit_code
from runner.reports.markdown import availability_markdown
from runner.reports.summary import run_report
from runner.results.asked import write_asked
from runner.results.missing import missing_cells
from runner.results.model import JudgedRun, Run, RunInfo, new_run_id
from runner.results.store import ResultStore
from runner.store import write_atomically
from runner.text import printable

log = logging.getLogger(__name__)


def run_matrix(
    project: Project,
    cells: tuple[Cell, ...],
    knowledge: Knowledge,
    *,
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES,
    fleet: Fleet,
    offline: bool,
    console: Console,
    run_id: str | None = None,
    watch: Watch | None = None,
    hold: FailureHold | None = None,
) -> int:
    """Run `cells`, keep and show what they answered; the exit status."""
    started, begun = datetime.now(UTC), time.monotonic()
    slots = min(fleet.slots, len(cells))
    run = Run(
        id=run_id or new_run_id(started),
        started=started,
        matrix_sha256=project.matrix.sha256,
        runner_version=__version__,
        slots=slots,
        cells=cells,
    )
    orders = orders_of(project, run, knowledge, prog_types=prog_types, offline=offline)
    console.print(Text(f"run {run.id}: {len(cells)} cells, {slots} at once"), soft_wrap=True)
    with stoppable(), store_of(project) as store:
        before = watch.before(store, cells) if watch else None
        run = _after(run, store.runs())

        def now() -> datetime:
            """By a clock that does not jump while the run goes on."""
            return run.started + timedelta(seconds=time.monotonic() - begun)

        store.begin(run)
        write_asked(project.reports, run.id, asked_of(orders))
        finished = boot_all(run, orders, knowledge, fleet, store, console, hold=hold)
        if finished:
            store.finish(run.id, now())
        done = knowledge.judged(store.load(run.id))
        if watch and before and finished:
            again = suspects(done, before, watch, orders)
            if again.orders:
                number = f"{len(again.orders)} of {len(cells)} cells boot once more"
                console.print(Text(f"worse than {before.name}: {number}"))
                boot_all(run, again, knowledge, fleet, store, console, confirming=True)
                store.finish(run.id, now())
                done = knowledge.judged(store.load(run.id))
        show(done, project, console, finished=finished)
    if not finished:
        return EXIT_INTERRUPTED
    return watch.status(done, before, console) if watch else exit_code(done)


def _after(run: Run, others: Sequence[RunInfo]) -> Run:
    """Runs are in the order of their beginnings: one that begins now is the last one, whatever the clock says."""
    last = max((other.started for other in others), default=run.started)
    if last < run.started or not others:
        return run
    log.warning("the clock was set back: the last run began at %s; this one is dated after it", last.isoformat())
    return run.model_copy(update={"started": last + timedelta(milliseconds=1)})


def orders_of(
    project: Project, run: Run, knowledge: Knowledge, *, prog_types: tuple[ProgType, ...], offline: bool
) -> WorkerOrders:
    """What the workers need for all cells of a run."""
    return worker_orders(
        run.cells,
        knowledge.claims,
        knowledge.kfuncs,
        prog_types=prog_types,
        root=project.root,
        folder=project.reports / "runs" / run.id,
        cache=cache_root(),
        offline=offline,
        deadline=project.limits.deadline("prepare_s"),
    )


def boot_all(
    run: Run,
    orders: WorkerOrders,
    knowledge: Knowledge,
    fleet: Fleet,
    store: ResultStore,
    console: Console,
    *,
    confirming: bool = False,
    hold: FailureHold | None = None,
) -> bool:
    """Boot what `orders` say and keep what comes; False when interrupted."""
    if hold:
        orders = hold.orders(orders)

    def keep(result: CellResult) -> None:
        # a boot that was to confirm an answer and gave none does not take its place
        if not confirming or result.outcome in ANSWERS:
            store.add(run.id, result)
        display.result(result)

    with (
        hold or nullcontext(),
        Display(
            console, (order.cell.id for order in orders.orders), lambda result: describe(result, knowledge)
        ) as display,
    ):
        try:
            return run_rounds(
                orders,
                fleet=fleet,
                on_result=keep,
                on_progress=display.progress,
                on_notice=lambda what: console.print(Text(printable(what), style="yellow"), soft_wrap=True),
                on_guest=partial(hold.on_guest, run.id) if hold else None,
                known_s=store.seconds(),
            )
        except InfraError as error:
            then = f"`runner matrix run --resume {run.id}` then goes on with what is missing"
            raise InfraError(error.what, hint=f"{error.hint}\n  {then}" if error.hint else then) from error


def describe(result: CellResult, knowledge: Knowledge) -> str:
    """What came of a cell, in a few words: `96 claims hold, 2 broken, 4 by known issues`, or why it did not run."""
    if result.outcome is not Outcome.RAN:
        return f"{result.outcome}: {result.cause.splitlines()[0] if result.cause else ''}"
    judged_claims = knowledge.verdicts(result)
    known = sum(bool(verdict.known_issue) for verdict in judged_claims)
    count = Counter(verdict.verdict for verdict in judged_claims if not verdict.known_issue)
    parts = [f"{count[Verdict.HOLDS]} claims hold"]
    parts += [f"{count[verdict]} {verdict}" for verdict in (Verdict.BROKEN, Verdict.NO_ANSWER) if count[verdict]]
    parts += [f"{known} by known issues"] if known else []
    return ", ".join(parts)


def show(done: JudgedRun, project: Project, console: Console, *, finished: bool = True) -> None:
    """The grid and the summary on the terminal; of the whole matrix also the table that is worth committing."""
    missing, cells = missing_cells(done.run), done.run.cells
    console.print()
    if finished or len(missing) < len(cells):
        console.print(run_report(done, every_hint="runner report show --all"), crop=False)
    if finished and not missing and _is_whole(done, project):
        write_atomically(project.table, availability_markdown(done).encode())
    if missing or not finished:
        what = "have no answer" if finished else "never finished, for the run was stopped"
        names = ", ".join(cell.id for cell in missing)
        console.print(Text(f"{len(missing)} of {len(cells)} cells {what}: {names}"), soft_wrap=True)
        console.print(Text(f"`runner matrix run --resume {done.run.id}` runs only those"), soft_wrap=True)


def _is_whole(done: JudgedRun, project: Project) -> bool:
    """Every cell of the matrix, and not a part that was chosen. A run that is resumed needs no lock: without it, no."""
    try:
        cells = project.matrix.cells(project.lock())
    except UserError:
        return False
    return {cell.id for cell in done.run.cells} >= {cell.id for cell in cells}
