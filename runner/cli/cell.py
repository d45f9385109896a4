"""`runner cell`: show one cell, boot it once more, or enter its guest."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group as Lines
from rich.text import Text

from runner.caches import cache_root
from runner.cli import repro
from runner.cli.booting import way_in
from runner.cli.options import CellId, Gdb, Offline, RunOfCell, Shown, command, group, progress_console
from runner.cli.project import Project
from runner.engine.cellrun import this_machine
from runner.errors import UserError
from runner.guest.interface import BootOrder
from runner.model import Cell
from runner.model.architecture import architecture
from runner.reports.cell import cell_report, probe_report
from runner.reports.export import exported_cell, exported_probe, to_json
from runner.results import evidence

app = group("Show one cell, boot it again, or enter its guest.", "cell show 6.12.117-x86_64")

_SSH_BROKE = 255  # ssh(1)
_OR_KERNEL = "or give KERNEL ARCH, such as 6.12 arm64"


@command(app, "show")
def show(
    project: Project,
    cell: CellId,
    probe: Annotated[str, typer.Option(help="Show one probe: its raw answer and the verifier's log.")] = "",
    run: RunOfCell = None,
    every: Annotated[bool, typer.Option("--all", help="Show every kfunc that was asked about.")] = False,
) -> Shown:
    """Show everything about one cell of a run, or one probe's raw answer.

    Example: runner cell show 6.12.117-x86_64
    """
    judged = project.run(run, cell_id=cell, consoles=True)
    found, run_id = judged.cell(cell), judged.run.id
    if not probe:
        asked = project.asked(run_id)
        path = evidence.console_path(project.reports, run_id, cell, attempt=len(found.earlier) + 1)
        return Shown(
            lambda: cell_report(found, every=every, console_path=str(path)),
            lambda: to_json(exported_cell(found, asked.cells.get(cell) if asked else None)),
        )
    said = next((it for it in project.expectations.said() if it.probe == probe), None)
    says, source = (said.says, said.sources) if said else ("", "")
    trace = evidence.read_trace(project.reports, run_id, cell, probe)
    report = probe_report(found, probe, says=says, source=source, trace=trace)
    if trace is None:
        hint = f"runner cell repro {cell}{f' --run {run}' if run else ''} --probe {probe}"
        report = Lines(report, Text(), Text(f"its trace: `{hint}`", "dim"))
    return Shown(report, lambda: to_json(exported_probe(found, probe)))


app.registered_commands += repro.app.registered_commands


@command(app, "shell")
def shell(
    project: Project,
    kernel: Annotated[
        str, typer.Argument(metavar="ID|KERNEL", help="A cell's id, or a kernel's name or version in the matrix.")
    ],
    arch: Annotated[str, typer.Argument(help="An architecture, such as arm64, after a kernel.")] = "",
    run: Annotated[str | None, typer.Option(help="With a cell's id: the run. [default: the last run]")] = None,
    gdb: Gdb = False,
    offline: Offline = False,
) -> None:
    """Boot a cell of a run, or a kernel of the matrix, and open a shell in it. The guest ends with the shell.

    Example: runner cell shell 6.12 arm64
    """
    cell = _of_matrix(project, kernel, arch, offline=offline) if arch else _of_run(project, kernel, run)
    machine, console = this_machine(offline=offline), progress_console()
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
        with project.store() as store:
            run = store.load(run_id)
    except UserError as error:
        raise UserError(error.what, hint=f"{error.hint}; {_OR_KERNEL}") from None
    for cell in run.cells:
        if cell.id == cell_id:
            return cell
    there = ", ".join(cell.id for cell in run.cells)
    raise UserError(f"run {run.id} has no cell {cell_id!r}", hint=f"it has: {there}; {_OR_KERNEL}")


def _of_matrix(project: Project, kernel: str, arch: str, *, offline: bool) -> Cell:
    cells = project.matrix.cells(project.settled(mode="keep", offline=offline))
    for cell in cells:
        if kernel in {cell.name, cell.kernel.version, cell.id} and cell.arch == arch:
            return cell
    there = ", ".join(f"{cell.name} {cell.arch}" for cell in cells)
    raise UserError(f"the matrix has no kernel {kernel!r} on {arch!r}", hint=f"it has: {there}")
