"""`runner cell`: one cell, looked at closely."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from runner.architecture import architecture
from runner.caches import cache_root
from runner.cli.judging import Knowledge, judged_run
from runner.cli.locking import settled
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    MatrixFile,
    Offline,
    Output,
    Project,
    Verbose,
    emit,
)
from runner.deadline import Deadline
from runner.errors import MatrixError
from runner.execution.realmachine import this_machine
from runner.guest.interface import BootOrder
from runner.model import Cell
from runner.reports.cell import cell_report, probe_report
from runner.reports.export import exported_cell, to_json
from runner.results import evidence

app = typer.Typer(help="One cell, looked at closely.", no_args_is_help=True)


@app.command("show")
def show(
    cell: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, such as 6.12.117-x86_64.")],
    probe: Annotated[str, typer.Option(help="One probe: its raw observation and the verifier's log.")] = "",
    run: Annotated[str | None, typer.Option(help="A run's id; by default the last run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every kfunc that was asked about.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show everything about one cell of a run, or one probe's raw answer.

    Example: runner cell show 6.12.117-x86_64
    """
    project = Project.at(matrix)
    judged = judged_run(project, run, consoles=True)
    found = judged.cell(cell)
    if probe and format_ is Format.JSON:
        seen = [one.model_dump(mode="json") for one in found.result.observations if one.probe == probe]
        seen += [{**one.model_dump(), "crashed": True} for one in found.result.crashes if one.probe == probe]
        emit(json.dumps(seen[0] if seen else None, indent=1), output)
    elif probe:
        says, source = _said(project, probe)
        emit(probe_report(found, probe, says=says, source=source), output)
    elif format_ is Format.JSON:
        emit(to_json(exported_cell(found)), output)
    else:
        path = evidence.console_path(project.reports, judged.run.id, cell, attempt=len(found.earlier) + 1)
        emit(cell_report(found, every_kfunc=every, console_path=str(path)), output)


def _said(project: Project, probe: str) -> tuple[str, str]:
    """The claim's words and who says them."""
    claim_id = probe.partition(":")[0]
    for file in Knowledge.of(project).claims:
        for claim in file.claims:
            if claim.id == claim_id:
                return claim.says, f"{claim.source.kind}: {'; '.join(claim.source.refs)}"
    return "", ""


@app.command("shell")
def shell(
    kernel: Annotated[str, typer.Argument(help="A kernel's name or version in the matrix, such as 6.12.")],
    arch: Annotated[str, typer.Argument(help="An architecture, such as arm64.")],
    matrix: MatrixFile = DEFAULT_MATRIX,
    offline: Offline = False,
    verbose: Verbose = False,
) -> None:
    """Boot a kernel of the matrix and open a shell in it. The guest is gone when the shell ends.

    Example: runner cell shell 6.12 arm64
    """
    project = Project.at(matrix)
    cell = _find(project.matrix.cells(settled(project, mode="keep", offline=offline)), kernel, arch)
    machine = this_machine(offline=offline)
    console = Console(stderr=True, highlight=False)
    ready, image = machine.prepare(cell, deadline=Deadline.after(cell.limits.prepare_s, "prepare_s"))
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        order = BootOrder(
            architecture=architecture(cell.arch),
            kernel=ready,
            image=image,
            size=cell.guest,
            accel=machine.accel(cell),
            console=Path(folder) / "console.log",
            scratch=machine.scratch,
        )
        console.print(f"booting {cell.id} ({order.accel}); `exit` ends the guest")
        with machine.boot(order, deadline=Deadline.after(cell.limits.boot_s, "boot_s")) as guest:
            guest.interact()


def _find(cells: tuple[Cell, ...], kernel: str, arch: str) -> Cell:
    for cell in cells:
        if kernel in {cell.name, cell.kernel.version, cell.id} and cell.arch == arch:
            return cell
    there = ", ".join(f"{cell.name} {cell.arch}" for cell in cells)
    raise MatrixError(f"the matrix has no kernel {kernel!r} on {arch!r}", hint=f"it has: {there}")
