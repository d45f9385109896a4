"""`runner cell`: show one cell, boot it once more, or enter its guest."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from runner.caches import cache_root
from runner.cli.judging import asked_by, expectations_of, judged_run, run_of
from runner.cli.locking import settled
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    Gdb,
    Group,
    MatrixFile,
    Offline,
    Output,
    Project,
    Verbose,
    emit,
    store_of,
)
from runner.cli.repro import repro, way_in
from runner.engine.cellrun import this_machine
from runner.errors import UserError
from runner.guest.interface import BootOrder
from runner.model import Cell
from runner.model.architecture import architecture
from runner.reports.cell import cell_report, probe_report
from runner.reports.export import exported_cell, exported_probe, to_json
from runner.results import evidence
from runner.results.evidence import read_trace

app = typer.Typer(
    cls=Group,
    help="Show one cell, boot it once more, or enter its guest.",
    epilog="Example: runner cell show 6.12.117-x86_64",
    no_args_is_help=True,
)

_SSH_BROKE = 255  # ssh(1)
_OR_KERNEL = "or say KERNEL ARCH, such as 6.12 arm64"


@app.command("show")
def show(
    cell: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, such as 6.12.117-x86_64.")],
    probe: Annotated[str, typer.Option(help="Show one probe: its raw answer and the verifier's log.")] = "",
    run: Annotated[str | None, typer.Option(help="A run's id.  [default: the one with its newest answer]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every kfunc that was asked about.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show everything about one cell of a run, or one probe's raw answer.

    Example: runner cell show 6.12.117-x86_64
    """
    project = Project.at(matrix)
    judged = judged_run(project, run or run_of(project, cell), consoles=True)
    found = judged.cell(cell)
    if probe and format_ is Format.JSON:
        emit(to_json(exported_probe(found, probe)), output)
    elif probe:
        says, source = _said(project, probe)
        trace = read_trace(project.reports, judged.run.id, cell, probe)
        emit(probe_report(found, probe, says=says, source=source, trace=trace), output)
        if trace is None and output is None:
            of_run = f" --run {run}" if run else ""
            hint = f"runner cell repro {cell}{of_run} --probe {probe} --keep"
            Console(stderr=True, highlight=False).print(Text(f"its trace: `{hint}`", "dim"), soft_wrap=True)
    elif format_ is Format.JSON:
        asked = asked_by(project, judged.run.id)
        emit(to_json(exported_cell(found, asked.cells.get(cell) if asked else None)), output)
    else:
        path = evidence.console_path(project.reports, judged.run.id, cell, attempt=len(found.earlier) + 1)
        emit(cell_report(found, every=every, console_path=str(path)), output)


def _said(project: Project, probe: str) -> tuple[str, str]:
    """What the probe claims, and who says it."""
    found = next((it for it in expectations_of(project).said() if it.probe == probe), None)
    return (found.says, found.sources) if found else ("", "")


app.command("repro")(repro)


@app.command("shell")
def shell(
    kernel: Annotated[
        str, typer.Argument(metavar="ID|KERNEL", help="A cell's id, or a kernel's name or version in the matrix.")
    ],
    arch: Annotated[str, typer.Argument(help="An architecture, such as arm64, after a kernel.")] = "",
    run: Annotated[str | None, typer.Option(help="With a cell's id: the run.  [default: the last run]")] = None,
    gdb: Gdb = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    offline: Offline = False,
    verbose: Verbose = False,
) -> None:
    """Boot a cell of a run, or a kernel of the matrix, and open a shell in it. The guest ends with the shell.

    Example: runner cell shell 6.12 arm64
    """
    project = Project.at(matrix)
    cell = _of_matrix(project, kernel, arch, offline=offline) if arch else _of_run(project, kernel, run)
    machine = this_machine(offline=offline)
    console = Console(stderr=True, highlight=False)
    ready, image = machine.prepare(cell, deadline=cell.limits.deadline("prepare_s"))
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        order = BootOrder(
            architecture=architecture(cell.arch),
            kernel=ready,
            image=image,
            size=cell.guest,
            accel=machine.accel(cell),
            console=Path(folder) / "console.log",
            scratch=machine.scratch,
            gdb=gdb,
        )
        console.print(f"booting {cell.id} ({order.accel}); `exit` ends the guest")
        with machine.boot(order, deadline=cell.limits.deadline("boot_s")) as guest:
            if gdb:
                way_in(guest, console)
            if subprocess.run(guest.access().ssh, check=False).returncode == _SSH_BROKE:
                guest.run("true", deadline=cell.limits.deadline("probe_s"))  # raises why


def _of_run(project: Project, cell_id: str, run_id: str | None) -> Cell:
    """The cell of a run, with the packages of then, whatever the lock says now."""
    try:
        with store_of(project, read_only=True) as store:
            run = store.load(run_id)
    except UserError as error:
        raise UserError(error.what, hint=f"{error.hint}; {_OR_KERNEL}") from None
    for cell in run.cells:
        if cell.id == cell_id:
            return cell
    there = ", ".join(cell.id for cell in run.cells)
    raise UserError(f"run {run.id} has no cell {cell_id!r}", hint=f"it has: {there}; {_OR_KERNEL}")


def _of_matrix(project: Project, kernel: str, arch: str, *, offline: bool) -> Cell:
    cells = project.matrix.cells(settled(project, mode="keep", offline=offline))
    for cell in cells:
        if kernel in {cell.name, cell.kernel.version, cell.id} and cell.arch == arch:
            return cell
    there = ", ".join(f"{cell.name} {cell.arch}" for cell in cells)
    raise UserError(f"the matrix has no kernel {kernel!r} on {arch!r}", hint=f"it has: {there}")
