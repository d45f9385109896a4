"""`runner cell repro`: boot one cell again, and say whether it answers the same."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.booting import stoppable, way_in
from runner.cli.displays import Display
from runner.cli.options import CellId, Gdb, Offline, RunOfCell, Shown, command, progress_console
from runner.cli.project import Project
from runner.engine.plan import CellOrder, OpenGuests, order_again
from runner.engine.repeat import Earlier, Repeated, Repetition
from runner.errors import UserError
from runner.guest.interface import Guest
from runner.model import Outcome, Trace
from runner.reports.cell import probe_report
from runner.reports.comparison import comparison_report
from runner.reports.export import imported_cell
from runner.results.evidence import write_trace
from runner.results.model import judged_cell

app = typer.Typer()  # `runner cell` takes this command into its own

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing
_STATUS = {True: EXIT_OK, False: EXIT_BROKEN, None: EXIT_NO_ANSWER}


@command(app, "repro")
def repro(
    project: Project,
    cell: CellId,
    probe: Annotated[
        str, typer.Option(help="Ask only this probe, and trace it for `runner cell show`. [default: all probes]")
    ] = "",
    run: RunOfCell = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="JSON export to reproduce from; may come from another machine."),
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Leave the guest open and print how to enter it.")] = False,
    gdb: Gdb = False,
    offline: Offline = False,
) -> Shown:
    """Boot exactly that cell again, with the same kernel, image, programs and parameters; compare the answers.

    With --gdb nothing is asked before Enter is pressed. Exit status: 0 the same answer; 1 another one; 2 no answer.

    Example: runner cell repro 6.12.117-x86_64 --probe nat-source:tc
    """
    expectations, run_id = project.expectations, ""
    if from_:
        earlier = _of_file(from_, cell)
    else:
        judged = project.run(run, cell_id=cell)
        run_id, asked = judged.run.id, project.asked(judged.run.id)
        recorded, objects = (asked.cells.get(cell), asked.objects) if asked else (None, {})
        earlier = Earlier(f"run {run_id}", judged.cell(cell).result, recorded, objects)
    order = order_again(earlier.result.cell, earlier.asked(expectations), probe, trace=bool(probe))
    if gdb:
        limits = order.cell.limits.model_copy(update={"probe_s": _UNLIMITED_S, "cell_s": _UNLIMITED_S})
        order = order.model_copy(update={"cell": order.cell.model_copy(update={"limits": limits}), "gdb": True})
    console, deadline = progress_console(), project.limits.deadline("prepare_s")
    shown = Display(console, lambda result: result.cause or str(result.outcome))
    guests = _open_guests(order, console, hold=hold, gdb=gdb) if hold or gdb else None
    again = Repetition(expectations, project.matrix.sha256, cache_root(), deadline, shown, offline)
    with stoppable(), tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        done = again.run(earlier, order, Path(folder), guests)
    if done is None:
        raise Finished(EXIT_INTERRUPTED)
    trace = done.trace(probe)
    if run_id and trace and done.same:
        write_trace(project.reports, run_id, cell, trace)
    parts = [comparison_report(earlier.where, earlier.result, done.result, done.changed, notes=done.notes)]
    if probe and done.result.outcome is Outcome.RAN:
        parts.insert(0, probe_report(judged_cell(done.result, expectations), probe, trace=trace))
    return Shown(Group(*parts), lambda: _document(done, trace), _STATUS[done.same])


def _of_file(path: Path, cell_id: str) -> Earlier:
    """From what `runner report export` or `runner cell show --format json` printed. Raises UserError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    found = imported_cell(text, cell_id, str(path))
    return Earlier(str(path), found.result, found.asked, found.objects)


def _document(done: Repeated, trace: Trace | None) -> dict[str, object]:
    return {
        "cell": done.result.cell.id,
        "earlier": done.earlier.where,
        "outcome": done.result.outcome,
        "cause": done.result.cause,
        "same": done.same is True,
        "answered": done.same is not None,
        "changed": [one.model_dump(exclude={"cell"}) for one in done.changed],
        "notes": done.notes,
        "answers": [one.model_dump(mode="json") for one in done.result.answers],
        "crashes": [one.model_dump() for one in done.result.crashes],
        "trace": trace.model_dump(mode="json") if trace else None,
    }


def _open_guests(order: CellOrder, console: Console, *, hold: bool, gdb: bool) -> OpenGuests:
    def stop(guest: Guest, title: str, then: str) -> None:
        console.print(Text(f"{order.cell.id}: {title}"), soft_wrap=True)
        way_in(guest, console)
        console.print(Text(then))
        if not sys.stdin.readline():
            while True:  # there is nobody to press it: until Ctrl-C
                time.sleep(3600)

    def before(guest: Guest) -> None:
        stop(guest, "the guest is open, and was not asked anything yet:", "Press Enter to ask it.")

    def after(guest: Guest) -> None:
        with suppress(KeyboardInterrupt):
            stop(guest, "everything was asked. The guest is open:", "Press Enter or Ctrl-C to end it.")

    defaults = OpenGuests()
    return OpenGuests(before if gdb else defaults.before, after if hold else defaults.after)
