"""One run, from cells to an exit status: orders, slots, display, store, reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from runner import __version__
from runner.caches import cache_root
from runner.cli import EXIT_INTERRUPTED
from runner.cli.fleets import largest_guest
from runner.cli.judging import Knowledge
from runner.cli.live import Display
from runner.cli.options import Project
from runner.cli.watching import ANSWERS, Watch, suspects
from runner.deadline import Deadline
from runner.execution.controller import run_rounds
from runner.execution.fleet import Fleet
from runner.execution.orders import WorkerOrders
from runner.execution.prepare import worker_orders
from runner.guest.accel import accelerations, host_cpus, host_memory_mib
from runner.guest.accel import slots as slots_for
from runner.hosts.connection import printable
from runner.model import NETWORK_TYPES, Cell, CellResult, Outcome, ProgType, Verdict
from runner.reports.exitcode import exit_code
from runner.reports.markdown import availability_markdown
from runner.reports.summary import run_report
from runner.results.model import JudgedRun, Run, new_run_id
from runner.results.store import ResultStore
from runner.store import write_atomically

_ACCEL_LIMIT_S = 30
_PREPARE_LIMIT_S = 1800


def run_matrix(
    project: Project,
    cells: tuple[Cell, ...],
    knowledge: Knowledge,
    *,
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES,
    slots: int | None,
    offline: bool,
    console: Console,
    run_id: str | None = None,
    watch: Watch | None = None,
    fleet: Fleet | None = None,
) -> int:
    """Run `cells`, keep and show what they answered; the exit status. Without a `fleet` on this machine."""
    started = datetime.now(UTC)
    slots = min(fleet.slots if fleet else slots or default_slots(cells), len(cells))
    run = Run(
        id=run_id or new_run_id(started),
        started=started,
        matrix_sha256=project.matrix.sha256,
        runner_version=__version__,
        slots=slots,
        cells=cells,
    )
    orders = worker_orders(
        cells,
        knowledge.claims,
        knowledge.kfuncs,
        prog_types=prog_types,
        root=project.root,
        folder=project.reports / "runs" / run.id,
        cache=cache_root(),
        offline=offline,
        deadline=Deadline.after(_PREPARE_LIMIT_S, "the limit for compiling the probes"),
    )
    console.print(Text(f"run {run.id}: {len(cells)} cells, {slots} at once"), soft_wrap=True)
    with ResultStore(project.database) as store:
        before = watch.before(store, cells) if watch else None
        store.begin(run)
        finished = _boot_all(run, orders, knowledge, slots, store, console, fleet)
        if finished:
            store.finish(run.id, datetime.now(UTC))
        done = knowledge.judged(store.load(run.id))
        if watch and before and finished:
            again = suspects(done, before, watch, orders)
            if again.orders:
                number = f"{len(again.orders)} of {len(cells)} cells boot once more"
                console.print(Text(f"worse than {before.name}: {number}"))
                _boot_all(run, again, knowledge, slots, store, console, fleet, confirming=True)
                store.finish(run.id, datetime.now(UTC))
                done = knowledge.judged(store.load(run.id))
    show(done, project, console)
    if not finished:
        return EXIT_INTERRUPTED
    return watch.status(done, before, console) if watch else exit_code(done)


def default_slots(cells: Sequence[Cell]) -> int:
    """What this machine carries: the largest guest of the matrix counts."""
    accel = accelerations(deadline=Deadline.after(_ACCEL_LIMIT_S, "the KVM check's limit"))
    emulated = any(accel.get(cell.arch, "tcg") == "tcg" for cell in cells)
    return slots_for(host_cpus(), host_memory_mib(), largest_guest(cells), "tcg" if emulated else "kvm")


def _boot_all(
    run: Run,
    orders: WorkerOrders,
    knowledge: Knowledge,
    slots: int,
    store: ResultStore,
    console: Console,
    fleet: Fleet | None,
    *,
    confirming: bool = False,
) -> bool:
    def keep(result: CellResult) -> None:
        # a boot that was to confirm an answer and gave none does not take its place
        if not confirming or result.outcome in ANSWERS:
            store.add(run.id, result)
        display.result(result)

    with Display(
        console, (order.cell.id for order in orders.orders), lambda result: describe(result, knowledge)
    ) as display:
        return run_rounds(
            orders,
            slots=slots,
            on_result=keep,
            on_progress=display.progress,
            on_notice=lambda what: console.print(Text(printable(what), style="yellow"), soft_wrap=True),
            fleet=fleet,
            known_s=store.seconds(),
        )


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


def show(done: JudgedRun, project: Project, console: Console) -> None:
    """The grid and the summary on the terminal, and the table that is worth committing."""
    console.print()
    console.print(run_report(done, every_hint="runner report show --all"))
    write_atomically(project.reports / "availability.md", availability_markdown(done).encode())
