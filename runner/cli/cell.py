# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner cell`: show one cell, boot it again and compare, or enter its guest."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Group as Lines
from rich.text import Text

from runner import userfile
from runner.cli import EXIT_BROKEN, EXIT_INTERRUPTED, EXIT_NO_ANSWER, EXIT_OK, Finished, completion
from runner.cli.booting import Display, stoppable, way_in
from runner.cli.options import NoSnapshot, Offline, Shown, command, group, progress_console
from runner.engine.fleet import this_machine
from runner.engine.plan import OpenGuests, order_again
from runner.engine.repeat import Earlier, Repeated, Shell, repeat
from runner.errors import UserError
from runner.guest.interface import Guest
from runner.model import Ask, Asked, Outcome, Trace
from runner.probes import KINDS
from runner.project import Project
from runner.reports.cell import cell_report, comparison_report, probe_report, require_probe
from runner.reports.drawing import whole
from runner.reports.export import exported_cell, exported_probe, imported_cell, to_json
from runner.results import evidence
from runner.results.model import judged_cell
from runner.text import nearest

app = group("Show one cell, boot it again, or enter its guest.", "cell show 6.12.117-x86_64")

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing
_STATUS = {True: EXIT_OK, False: EXIT_BROKEN, None: EXIT_NO_ANSWER}
_LARGEST_EXPORT = 256 << 20  # bytes; it holds the objects that were asked about

CellId = Annotated[
    str, typer.Argument(metavar="ID", autocompletion=completion.cells, help="A cell's id, such as 6.12.117-x86_64.")
]
RunOfCell = Annotated[
    str | None, typer.Option("--run", help="A run's id. [default: the one with the cell's newest answer]")
]
Gdb = Annotated[bool, typer.Option("--gdb", help="Let gdb attach to the guest, and print the command for it.")]


@command(app, "show", "cell show 6.12.117-x86_64")
def show(
    project: Project,
    cell: CellId,
    probe: Annotated[
        str,
        typer.Option(autocompletion=completion.probes, help="Show one probe: its raw answer and the verifier's log."),
    ] = "",
    run: RunOfCell = None,
    every: Annotated[bool, typer.Option("--all", help="Show every kfunc that was asked about.")] = False,
) -> Shown:
    """Show everything about one cell of a run, or one probe's raw answer."""
    judged = project.run(run, cell_id=cell, consoles=True)
    found, run_id = judged.cell(cell), judged.run.id
    if not probe:
        asked = project.asked(run_id)
        of = (found.result.kept[0].run, 1) if found.result.is_kept else (run_id, len(found.earlier) + 1)
        path = evidence.console_path(project.reports, of[0], cell, attempt=of[1])
        return Shown(
            lambda: cell_report(found, every=every, console_path=str(path)),
            lambda: to_json(exported_cell(found, asked.cells.get(cell) if asked else None)),
        )
    said = next((it for it in project.of_run(run_id).expectations.said() if it.probe == probe), None)
    says, source = (said.says, said.sources) if said else ("", "")
    trace = evidence.read_trace(project.reports, run_id, cell, probe)
    report = probe_report(found, probe, says=says, source=source, trace=trace, run_id=run or "")
    if trace is None:
        hint = f"runner cell repro {cell}{f' --run {run}' if run else ''} --probe {probe}"
        report = Lines(report, Text("Boot the cell again and ask this probe alone:", "dim"), whole(f"  {hint}", "dim"))
    return Shown(report, lambda: to_json(exported_probe(found, probe)))


@command(app, "repro", "cell repro 6.12.117-x86_64 --probe nat-source:tc")
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
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep the guest running afterwards and print how to log in.")
    ] = False,
    gdb: Gdb = False,
    no_snapshot: NoSnapshot = False,
    offline: Offline = False,
) -> Shown:
    """Boot exactly that cell again, with the same kernel, image, programs and parameters; compare the answers.

    With --gdb nothing is asked before Enter is pressed. Exit status: 0 the same answer; 1 another one; 2 no answer.
    """
    earlier, run_id = (_of_file(from_, cell), "") if from_ else _of_store(project, cell, run)
    if from_ and earlier.recorded:
        project = project.recalling(Asked(cells={cell: earlier.recorded}, objects=dict(earlier.objects)))
    else:
        project = project.of_run(run_id)
    expectations = project.expectations
    again = order_again(earlier.result.cell, earlier.asked(expectations), probe, trace=bool(probe))
    order = again.model_copy(update={"snapshot": not no_snapshot})
    if probe and earlier.result.outcome is Outcome.RAN:
        require_probe(judged_cell(earlier.result, expectations), probe, run_id)
    if gdb:
        limits = order.cell.limits.model_copy(update={"probe_s": _UNLIMITED_S, "cell_s": _UNLIMITED_S})
        order = order.model_copy(update={"cell": order.cell.model_copy(update={"limits": limits}), "gdb": True})
    shown = Display(progress_console(), lambda result: result.cause or str(result.outcome))
    guests = _open_guests(cell, hold=hold, gdb=gdb) if hold or gdb else None
    with stoppable():
        done = repeat(project, earlier, order, guests, shown, offline=offline)
    if done is None:
        raise Finished(EXIT_INTERRUPTED)
    trace = done.trace(probe)
    if run_id and trace and done.same:
        evidence.write_trace(project.reports, run_id, cell, trace)
    parts = [comparison_report(earlier.where, earlier.result, done.result, done.changed, notes=done.notes)]
    if probe and done.result.outcome is Outcome.RAN:
        parts.insert(0, probe_report(judged_cell(done.result, expectations), probe, trace=trace))
    return Shown(Lines(*parts), lambda: _document(done, trace), _STATUS[done.same])


def _of_store(project: Project, cell_id: str, run: str | None) -> tuple[Earlier, str]:
    """A stored cell, and the id of its run."""
    judged = project.run(run, cell_id=cell_id)
    run_id, asked = judged.run.id, project.asked(judged.run.id)
    recorded, objects = (asked.cells.get(cell_id), asked.objects) if asked else (None, {})
    return Earlier(f"run {run_id}", judged.cell(cell_id).result, recorded, objects), run_id


def _of_file(path: Path, cell_id: str) -> Earlier:
    """From what `runner report export` or `runner cell show --format json` printed. Raises UserError."""
    found = imported_cell(userfile.read(path, most=_LARGEST_EXPORT), cell_id, str(path))
    return Earlier(str(path), found.result, found.asked, found.objects)


def _document(done: Repeated, trace: Trace | None) -> dict[str, object]:
    return {
        "cell": done.result.cell.id,
        "earlier": done.earlier.where,
        "outcome": done.result.outcome,
        "cause": done.result.cause,
        "same": done.same is True,
        "answered": done.same is not None,
        "changed": [one.model_dump() for one in done.changed],
        "notes": done.notes,
        "answers": [one.model_dump(mode="json") for one in done.result.answers],
        "crashes": [one.model_dump() for one in done.result.crashes],
        "trace": trace.model_dump(mode="json") if trace else None,
    }


def _open_guests(cell_id: str, *, hold: bool, gdb: bool) -> OpenGuests:
    console = progress_console()

    def stop(guest: Guest, title: str, then: str) -> None:
        console.print(Text(f"{cell_id}: {title}"), soft_wrap=True)
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


@command(app, "shell", "cell shell 6.12 arm64")
def shell(
    project: Project,
    kernel: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.kernels, help="A kernel's name or version in the matrix, or a cell's id."
        ),
    ],
    arch: Annotated[str, typer.Argument(help="Its architecture. [default: the matrix's first]")] = "",
    run: Annotated[str | None, typer.Option("--run", help="Boot it as this run did, not as the lock has it.")] = None,
    with_: Annotated[
        str, typer.Option("--with", metavar="NAME", help="Open the shell where this command would run, with its files.")
    ] = "",
    gdb: Gdb = False,
    no_snapshot: NoSnapshot = False,
    offline: Offline = False,
) -> None:
    """Boot a kernel of the matrix, or a cell of a run, and open a shell in it. The guest ends with the shell."""
    cells = project.run(run).run.cells if run else project.matrix.cells(project.settled(mode="keep", offline=offline))
    named = (it for it in cells if kernel in {it.name, it.kernel.version, it.id} and arch in ("", it.arch))
    cell = next(named, None)
    if cell is None:
        there = ", ".join(f"{it.name} {it.arch}" for it in cells)
        raise UserError(f"there is no kernel {f'{kernel} {arch}'.strip()!r}", hint=f"there are: {there}")
    console = progress_console()
    expectations = (project.of_run(run) if run else project).expectations.of_files(cell.probes)
    ask = _with_a_shell(with_, expectations.asks(cell.kernel.judged_as)) if with_ else None

    def opened(guest: Guest) -> None:
        if gdb:
            way_in(guest, console)
        if ask:
            console.print(
                Text(f"the command: {shlex.join(map(str, cast('list[str]', ask.body['run'])))}"), soft_wrap=True
            )

    opens = Shell(cell, expectations, ask, gdb=gdb, snapshot=not (no_snapshot or gdb), offline=offline)
    opens.run(this_machine(offline=offline), console.print, opened)


def _with_a_shell(name: str, asks: Sequence[Ask]) -> Ask:
    """Raises UserError."""
    mine = [ask for ask in asks if KINDS[ask.kind].shell]
    if found := next((ask for ask in mine if ask.probe == name), None):
        return found
    raise UserError(
        f"there is no command {name!r}", hint=nearest(name, [ask.probe for ask in mine], "name one in `probes`")
    )
