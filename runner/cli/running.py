# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner matrix run` and `runner load`: the cells, the plan, the sinks, and what is printed in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_NO_ANSWER, EXIT_OK, EXIT_SKIP
from runner.cli.booting import Display, JsonLines, fleet_of, resumable, stoppable
from runner.cli.exec import Exec
from runner.cli.load import Load
from runner.cli.matrix import FailOn, Request
from runner.cli.options import Format, exit_status, out_console, progress_console
from runner.engine.execute import execute
from runner.engine.fleet import Fleet
from runner.engine.kept import keep
from runner.engine.plan import THIS_MACHINE, Files, Plan, RunEnd, Sink, cell_orders, payloads
from runner.engine.storing import StoreSink, after, new_run, reminded, stopped_run
from runner.errors import UserError
from runner.matrix.cells import select, shard
from runner.model import NETWORK_TYPES, Cell, CellResult, Outcome, ProgType, Verdict
from runner.model.architecture import ARCHITECTURES
from runner.probes import Expectations
from runner.probes.files import NO_KFUNCS, ProbeFile
from runner.probes.objects.files import objects_of
from runner.project import Project
from runner.reports.changes import changes_report
from runner.reports.findings import broken, incomplete
from runner.reports.markdown import availability_markdown
from runner.reports.summary import outputs_report, run_report, totals
from runner.results.diff import builds_compared
from runner.results.evidence import keep_files
from runner.results.model import JudgedRun, Run, RunKind, Side, judge_run, of_run
from runner.results.series import baseline, compare, judged_run
from runner.results.store import ResultStore
from runner.store import write_atomically
from runner.text import counted, held


@dataclass(frozen=True, slots=True)
class Engine:
    """What compiles programs and boots guests; another one is a fake."""

    payloads: Callable[..., Mapping[str, Files]] = payloads
    execute: Callable[[Plan, Sequence[Sink]], RunEnd] = execute
    machine: str = THIS_MACHINE


def run(project: Project, request: Request, engine: Engine) -> int:
    """Run cells of the matrix, store and show their answers. Returns the exit status.

    Raises UserError when there is no run to resume, or when the matrix has changed since it began.
    """
    if request.resume and not project.database.exists():
        raise UserError(f"there is no run to resume in {project.database}", hint="`runner matrix run` begins one")
    return _run(project, request, engine, () if request.resume else _chosen(project, request))


def load(project: Project, asked: Load, engine: Engine) -> int:
    """Ask kernels about object files. Returns the exit status.

    Raises UserError when there is no such file, kernel or run, BuildError when a source does not compile.
    """
    request = _request(asked, fresh=asked.fresh)
    own = _Own(RunKind.LOAD, bisects=asked.bisect, stats=asked.stats or "")
    if asked.resume:
        return _run(project.of_run(asked.resume), request, engine, own=own)
    with asked.compiled(project) as compiled:
        entries = asked.entries(compiled)
        named = (ProbeFile("", it) for it in entries)
        for each in objects_of(project.root, named, NO_KFUNCS):  # before an archive is asked
            for arch in set(asked.arch or ()) & ARCHITECTURES.keys():
                each.file(arch)
        loading, cells = project.naming(asked.kernel or (), asked.arch or (), entries, offline=asked.offline)
        return _run(loading, request, engine, cells, own)


def run_command(project: Project, asked: Exec, engine: Engine) -> int:
    """Run a user's command on kernels. Returns the exit status.

    Raises UserError when there is no such file, kernel or run, or when its program cannot start in the guests.
    """
    request = _request(asked, fresh=True)
    own = _Own(RunKind.EXEC, bisects=asked.bisect)
    if asked.resume:
        return _run(project.of_run(asked.resume), request, engine, own=own)
    sized, entry = asked.sized(project), asked.entry()
    running, cells = sized.naming(asked.kernel or (), asked.arch or (), (entry,), offline=asked.offline)
    asked.check_program(running, cells)
    return _run(running, request, engine, cells, own)


def _request(asked: Load | Exec, *, fresh: bool) -> Request:
    return Request(
        resume=bool(asked.resume), resumed=asked.resume or None, fresh=fresh, slots=asked.slots,
        hosts=asked.hosts, offline=asked.offline, format_=asked.format_, snapshots=not asked.no_snapshot,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Own:
    """What is particular to a run that is none of a matrix."""

    kind: RunKind
    bisects: bool = False
    stats: str = ""


def _own_status(done: JudgedRun, own: _Own) -> int:
    """For a bisection of the user's commits: what a kernel does besides says nothing about one.

    Of two builds, neither does what both have in common.
    """
    if not own.bisects:
        return exit_status(done)
    if builds_compared(done):
        return EXIT_SKIP if exit_status(done) == EXIT_NO_ANSWER else exit_status(done)
    rows = [row for cell in done.cells for row in cell.rows]
    if any(row.verdict is Verdict.BROKEN and not row.known_issue for row in rows):
        return EXIT_BROKEN
    return EXIT_SKIP if not rows or any(row.verdict is Verdict.NO_ANSWER for row in rows) else EXIT_OK


def _run(
    project: Project, request: Request, engine: Engine, cells: tuple[Cell, ...] = (), own: _Own | None = None
) -> int:
    """`cells` are those of a run that begins. Unless it is an `own` one it is one of the matrix."""
    expectations, kind = project.expectations, own.kind if own else RunKind.MATRIX

    def describe(result: CellResult) -> str:
        return describe_result(result, expectations)

    events = JsonLines(describe) if request.format_ is Format.JSON else None
    console = progress_console() if events else out_console()
    if request.resumed:
        _require_kind(project, request.resumed, kind)
    with stoppable(), project.store(read_only=False) as store:
        matrix = project.matrix.sha256
        if request.resume:
            begun = stopped_run(store, matrix_sha256=matrix, run_id=request.resumed)
        else:
            run_id = request.run_id or None
            begun = new_run(store, cells, matrix_sha256=matrix, run_id=run_id, kind=kind, fresh=request.fresh)
        before = baseline(store, expectations, request.baseline, cells) if request.baseline else None
        if before:  # a name that was there, and is not any more
            expectations = expectations.grown(cell.result for cell in before.cells)
        sinks: tuple[Sink, ...] = (StoreSink(store), *((events,) if events else ()), Display(console, describe))
        complete = True
        if missing := begun.missing_cells():
            with fleet_of(request.hosts, request.slots, missing, console) as fleet:
                plan = _plan(project, request, begun, fleet, store, engine)
                console.print(Text(_beginning(begun, plan, fleet)), soft_wrap=True)
                with resumable(f"`{resuming(begun.id)}` boots the cells without a result"):
                    complete = engine.execute(plan, sinks).complete
                    if complete and before and (again := _again(plan, store, before, expectations)).orders:
                        number = f"{counted(len(again.orders), 'cell')} of {len(cells)}"
                        console.print(Text(f"worse than {before.name}: {number}, booted again to confirm it"))
                        complete = engine.execute(again, sinks).complete
        else:
            console.print(Text(f"run {begun.id} has every result"), soft_wrap=True)
            if begun.finished is None:
                store.finish(begun.id, max(datetime.now(UTC), begun.started))
        done = judged_run(store, expectations, begun.id)
        show(done, project, console, finished=complete, stats=own.stats if own else "")
    status = EXIT_INTERRUPTED
    if complete:
        status = _own_status(done, own) if own else _status(done, before, request, expectations, console)
    if events:
        events.exits(done.run.id, totals(done), status)
    return status


def _require_kind(project: Project, run_id: str, kind: RunKind) -> None:
    """Raises UserError when there is no such run, or it is of another command."""
    if RunKind.of(run_id) is not kind:
        project.run(run_id)  # raises when there is none
        raise UserError(f"{run_id} is no run of this command", hint=f"`{resuming(run_id)}`")


def _chosen(project: Project, request: Request) -> tuple[Cell, ...]:
    lock = project.settled(mode="locked" if request.locked else "keep", offline=request.offline)
    cells = select(project.matrix.cells(lock), *request.only or ())
    return shard(cells, request.part) if request.part else cells


def _plan(project: Project, request: Request, run: Run, fleet: Fleet, store: ResultStore, engine: Engine) -> Plan:
    """What `run` still lacks; attempts are counted on."""
    cells, expectations = run.missing_cells(), project.expectations
    asked = {it.probe.rpartition(":")[2] for result in run.results for it in result.answers if it.item}  # a resumed run
    chosen = ProgType if request.every_type else NETWORK_TYPES
    prog_types = tuple(it for it in ProgType if it in {*chosen, *asked})
    orders = cell_orders(cells, expectations, prog_types)
    deadline = project.limits.deadline("prepare_s")
    plan = Plan(
        run=run.header,
        orders=after(run, reminded(store, (it.model_copy(update={"snapshot": request.snapshots}) for it in orders))),
        payload=engine.payloads(cells, expectations, cache=cache_root(), offline=request.offline, deadline=deadline),
        fleet=fleet,
        folder=project.reports / "runs" / run.id,
        known_s=store.seconds(),
        offline=request.offline,
        machine=engine.machine,
    )

    def holds(result: CellResult) -> set[str]:
        return {row.probe for row in expectations.rows(result) if row.verdict is Verdict.HOLDS}

    if not run.fresh:
        plan = keep(plan, store, holds=holds, recheck_percent=request.recheck_percent)
    slots = run.slots or min(fleet.slots, len(plan.orders) - len(plan.unbooted)) or None
    return replace(plan, run=plan.run.model_copy(update={"slots": slots}))


def _beginning(run: Run, plan: Plan, fleet: Fleet) -> str:
    missing, booted = len(plan.orders), len(plan.orders) - len(plan.unbooted)
    slots = f"{min(fleet.slots, booted)} concurrent" if booted else "none is booted"
    if plan.unbooted and booted:
        slots = f"{len(plan.unbooted)} reused, {slots}"
    if not run.results:
        first = f"run {run.id}: {counted(missing, 'cell')}, {slots}"
    else:
        there = len(run.cells) - missing
        first = f"run {run.id} resumes: {there} of {counted(len(run.cells), 'cell')} done, {slots}"
    return "\n".join([first, *_kept_lines(plan)])


def _kept_lines(plan: Plan) -> Iterator[str]:
    """Of cells that are reused in part, what is asked, and why a cell is booted all the same."""
    left = {it.cell.id: len(it.asks) - len(it.known.probes) for it in plan.orders if it.known}
    unsure = [cell_id for cell_id, number in left.items() if not number]
    for order in plan.orders:
        if number := left.get(order.cell.id):
            yield f"{order.cell.id} is asked {number} of {counted(len(order.asks), 'probe')}"
    if unsure:
        yield f"not booted unless its kernel or image is another one there: {', '.join(unsure)}"
    if again := [cell_id for cell_id, it in plan.kept.items() if it.recheck]:
        yield f"rechecked: {', '.join(again)}"


def resuming(run_id: str) -> str:
    """The command that resumes a run."""
    kind = RunKind.of(run_id)
    return f"runner {kind if kind in {RunKind.LOAD, RunKind.EXEC} else 'matrix run'} --resume {run_id}"


def _again(plan: Plan, store: ResultStore, before: Side, expectations: Expectations) -> Plan:
    """The cells that got worse, to be booted once more."""
    done = judge_run(store.load(plan.run.id), expectations)
    found = compare(before, of_run(done), expectations)
    worse = {change.key.cell for change in found.worse if not found.confirmed(change)}
    orders = (order.model_copy(update={"known": None}) for order in plan.orders if order.cell.id in worse)
    return replace(plan, orders=after(done.run, orders), kept={})


def _status(done: JudgedRun, before: Side | None, request: Request, expectations: Expectations, to: Console) -> int:
    """Print what changed; return the exit status."""
    fail_on, worse = request.fail_on or FailOn, False
    if before is not None and before.cells:
        found = compare(before, of_run(done), expectations)
        to.print(Text(), changes_report(found), crop=False)
        worse = bool(found.worse)
    elif before is not None:
        to.print(Text("no baseline yet: this is the first answer of these kernels"))
    if (FailOn.BROKEN in fail_on and broken(done)) or (FailOn.WORSE in fail_on and worse):
        return EXIT_BROKEN
    return EXIT_NO_ANSWER if FailOn.INCOMPLETE in fail_on and incomplete(done) else EXIT_OK


# --- what is shown -------------------------------------------------------------------------------------------------


def describe_result(result: CellResult, expectations: Expectations) -> str:
    """What came of a cell, in a few words: `96 hold, 2 broken, 4 by known issues`, or why it did not run."""
    if result.outcome is not Outcome.RAN:
        return f"{result.outcome}: {result.cause.splitlines()[0] if result.cause else ''}"
    rows = [row for row in expectations.rows(result) if row.verdict]
    count = Counter("by known issues" if row.known_issue else str(row.verdict) for row in rows)
    said = [held(count[Verdict.HOLDS])]
    words = (Verdict.BROKEN, Verdict.NO_ANSWER, "by known issues")
    return ", ".join(said + [f"{count[word]} {word}" for word in words if count[word]])


def show(done: JudgedRun, project: Project, console: Console, *, finished: bool = True, stats: str = "") -> None:
    """The grid and the summary on the terminal; of the whole matrix also the table that is worth committing."""
    missing, cells = done.run.missing_cells(), done.run.cells
    console.print()
    if finished or len(missing) < len(cells):
        is_last = done.run.kind is RunKind.MATRIX
        console.print(run_report(done, every_hint="runner report show --all", is_last=is_last, stats=stats), crop=False)
        if done.run.kind is RunKind.EXEC:
            console.print(outputs_report(done), crop=False)
        for line in keep_files(project.reports, done):
            console.print(Text(line), soft_wrap=True)
    if finished and not missing and done.run.kind is RunKind.MATRIX and _is_whole(done, project):
        write_atomically(project.table, availability_markdown(done).encode())
    if missing or not finished:
        what = "without an answer" if finished else "never finished, the run was interrupted"
        names = ", ".join(cell.id for cell in missing)
        console.print(Text(f"{len(missing)} of {counted(len(cells), 'cell')} {what}: {names}"), soft_wrap=True)
        console.print(Text(f"`{resuming(done.run.id)}` runs only those"), soft_wrap=True)


def _is_whole(done: JudgedRun, project: Project) -> bool:
    """Every cell of the matrix, and not a part that was chosen. A run that is resumed needs no lock: without it, no."""
    try:
        cells = project.matrix.cells(project.lock())
    except UserError:
        return False
    return {cell.id for cell in done.run.cells} >= {cell.id for cell in cells}
