"""`runner matrix run`: the cells, the plan, the sinks, and what is printed in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_INTERRUPTED
from runner.cli.booting import fleet_of, stoppable
from runner.cli.displays import Display, JsonLines
from runner.cli.options import out_console, progress_console
from runner.cli.project import Project
from runner.cli.watching import Watch
from runner.engine.controller import execute
from runner.engine.fleet import Fleet
from runner.engine.plan import Plan, Sink, cell_orders, payloads
from runner.engine.storing import StoreSink, after, new_run, stopped_run
from runner.errors import InfraError, UserError
from runner.matrix.select import select, shard
from runner.model import NETWORK_TYPES, Cell, CellResult, Outcome, ProgType, Verdict
from runner.probes import Expectations
from runner.reports.markdown import availability_markdown
from runner.reports.summary import run_report, totals
from runner.results.model import JudgedRun, Run, RunId, RunKind, judge_run
from runner.results.series import keep_rows
from runner.results.store import ResultStore
from runner.store import write_atomically
from runner.text import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command line says about a run. With `resume`, `run_id` names the run; None: the last that was stopped."""

    only: str = ""
    part: str = ""
    locked: bool = False
    resume: bool = False
    run_id: str | None = None
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES
    slots: int | None = None
    hosts: Path | None = None
    offline: bool = False

    def checked(self, baseline: str | None) -> None:
        """Raises UserError for options that --resume leaves no room for."""
        alone = {"--only": self.only, "--shard": self.part, "--locked": self.locked, "--baseline": baseline is not None}
        if self.resume and (wrong := [option for option, given in alone.items() if given]):
            raise UserError(
                f"--resume executes a run as it began; {', '.join(wrong)} cannot change it",
                hint=f"leave {' and '.join(wrong)} out, or begin a new run",
            )


def checked_run_id(run_id: str | None) -> str | None:
    """It becomes a folder's name. Raises UserError."""
    if run_id is None:
        return None
    try:
        TypeAdapter(RunId).validate_python(run_id)
    except ValidationError:
        raise UserError(f"{run_id!r} is not a valid run id", hint="up to 64 of a-z 0-9 . _ -, a letter first") from None
    if (kind := RunKind.of(run_id)) is not RunKind.MATRIX:
        raise UserError(f"{run_id!r} names a run of another kind", hint=f"an id that begins with {kind}- is reserved")
    return run_id


def run(project: Project, request: Request, watch: Watch, *, json: bool) -> int:
    """Run cells of the matrix, store and show their answers. Returns the exit status.

    Raises UserError when there is no run to resume, or when the matrix has changed since it began.
    """
    expectations = project.expectations

    def describe(result: CellResult) -> str:
        return describe_result(result, expectations)

    events = JsonLines(describe) if json else None
    console = progress_console() if json else out_console()
    if request.resume and not project.database.exists():
        raise UserError(f"there is no run to resume in {project.database}", hint="`runner matrix run` begins one")
    cells = () if request.resume else _chosen(project, request)
    with stoppable(), project.store(read_only=False) as store:
        begin = partial(stopped_run, store) if request.resume else partial(new_run, store, cells)
        begun = begin(matrix_sha256=project.matrix.sha256, run_id=request.run_id)
        before = watch.before(store, cells)
        sinks: tuple[Sink, ...] = (StoreSink(store), *((events,) if events else ()), Display(console, describe))
        complete = True
        if missing := begun.missing_cells():
            with fleet_of(request.hosts, request.slots, missing, console) as fleet:
                plan = _plan(project, request, begun, fleet, store)
                console.print(Text(_beginning(begun, missing, fleet)), soft_wrap=True)
                with _resumable(begun.id):
                    complete = execute(plan, sinks).complete
                    if before and complete:
                        again = watch.suspects(judge_run(store.load(begun.id), expectations), before, plan)
                        if again.orders:
                            number = f"{len(again.orders)} of {len(cells)} cells boot again, to confirm it"
                            console.print(Text(f"worse than {before.name}: {number}"))
                            complete = execute(again, sinks).complete
        else:
            console.print(Text(f"run {begun.id} has every result"), soft_wrap=True)
            if begun.finished is None:
                store.finish(begun.id, max(datetime.now(UTC), begun.started))
        done = judge_run(store.load(begun.id), expectations)
        keep_rows(store, expectations, begun.id)
        show(done, project, console, finished=complete)
    status = watch.status(done, before, console) if complete else EXIT_INTERRUPTED
    if events:
        events.exits(done.run.id, totals(done), status)
    return status


def _chosen(project: Project, request: Request) -> tuple[Cell, ...]:
    lock = project.settled(mode="locked" if request.locked else "keep", offline=request.offline)
    cells = select(project.matrix.cells(lock), request.only)
    return shard(cells, request.part) if request.part else cells


def _plan(project: Project, request: Request, run: Run, fleet: Fleet, store: ResultStore) -> Plan:
    """What `run` still lacks; attempts are counted on."""
    cells, expectations = run.missing_cells(), project.expectations
    asked = {it.probe.rpartition(":")[2] for result in run.results for it in result.answers if it.item}  # a resumed run
    prog_types = tuple(it for it in ProgType if it in {*request.prog_types, *asked})
    slots = run.slots or min(fleet.slots, len(cells))
    return Plan(
        run=run.model_copy(update={"slots": slots}).header,
        orders=after(run, cell_orders(cells, expectations, prog_types)),
        payload=payloads(
            cells,
            expectations,
            cache=cache_root(),
            offline=request.offline,
            deadline=project.limits.deadline("prepare_s"),
        ),
        fleet=fleet,
        folder=project.reports / "runs" / run.id,
        known_s=store.seconds(),
        offline=request.offline,
    )


def _beginning(run: Run, missing: Sequence[Cell], fleet: Fleet) -> str:
    slots = min(fleet.slots, len(missing))
    if not run.results:
        return f"run {run.id}: {counted(len(missing), 'cell')}, {slots} concurrent"
    there = len(run.cells) - len(missing)
    return f"run {run.id} resumes: {there} of {len(run.cells)} cells have a result, {slots} concurrent"


@contextmanager
def _resumable(run_id: str) -> Iterator[None]:
    """Inside, an InfraError says how to resume the run."""
    try:
        yield
    except InfraError as error:
        then = f"`runner matrix run --resume {run_id}` boots the cells without a result"
        raise InfraError(error.what, hint=f"{error.hint}\n  {then}" if error.hint else then) from error


# --- what is shown -------------------------------------------------------------------------------------------------


def describe_result(result: CellResult, expectations: Expectations) -> str:
    """What came of a cell, in a few words: `96 hold, 2 broken, 4 by known issues`, or why it did not run."""
    if result.outcome is not Outcome.RAN:
        return f"{result.outcome}: {result.cause.splitlines()[0] if result.cause else ''}"
    expected = [row for row in expectations.rows(result) if row.verdict]
    known = sum(bool(row.known_issue) for row in expected)
    count = Counter(row.verdict for row in expected if not row.known_issue)
    parts = [f"{count[Verdict.HOLDS]} hold"]
    parts += [f"{count[verdict]} {verdict}" for verdict in (Verdict.BROKEN, Verdict.NO_ANSWER) if count[verdict]]
    parts += [f"{known} by known issues"] if known else []
    return ", ".join(parts)


def show(done: JudgedRun, project: Project, console: Console, *, finished: bool = True) -> None:
    """The grid and the summary on the terminal; of the whole matrix also the table that is worth committing."""
    missing, cells = done.run.missing_cells(), done.run.cells
    console.print()
    if finished or len(missing) < len(cells):
        console.print(run_report(done, every_hint="runner report show --all"), crop=False)
    if finished and not missing and _is_whole(done, project):
        write_atomically(project.table, availability_markdown(done).encode())
    if missing or not finished:
        what = "have no answer" if finished else "never finished: the run was interrupted"
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
