"""`runner matrix`: run it, list its cells, check it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from runner.cli import Finished
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
    out_console,
)
from runner.cli.running import run_matrix
from runner.model import Cell
from runner.probes import load_claims, load_issues
from runner.select import select

app = typer.Typer(help="The matrix of kernels and architectures.", no_args_is_help=True)

Only = Annotated[str, typer.Option("--only", help="Only these cells: 'arch=arm64,kernel=6.*'.")]


@app.command("run")
def run(
    matrix: MatrixFile = DEFAULT_MATRIX,
    only: Only = "",
    slots: Annotated[
        int | None, typer.Option("-n", "--slots", min=1, help="Guests at once. Default: what this machine can carry.")
    ] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Fail when a pinned package has left the archive.")] = False,
    offline: Offline = False,
    verbose: Verbose = False,
) -> None:
    """Boot every cell, ask every probe, show what the kernels answered.

    Exit status: 0 everything answered and as expected; 1 a claim is broken, or a kernel crashed or did not boot;
    2 something has no answer; 64 bad usage.

    Example: runner matrix run --only 'arch=x86_64,kernel=6.*'
    """
    project = Project.at(matrix)
    claims = load_claims(project.root, project.matrix.file.probes)
    lock = settled(project, mode="locked" if locked else "keep", offline=offline)
    cells = select(project.matrix.cells(lock), only)
    raise Finished(run_matrix(project, cells, claims, slots=slots, offline=offline, console=out_console()))


@app.command("list")
def list_cells(
    matrix: MatrixFile = DEFAULT_MATRIX,
    only: Only = "",
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """List the cells, with the exact kernels that they are pinned to.

    Example: runner matrix list
    """
    project = Project.at(matrix)
    cells = select(project.matrix.cells(project.lock()), only)
    if format_ is Format.JSON:
        emit(json.dumps([cell.model_dump(mode="json") for cell in cells], indent=1), output)
    else:
        emit(_table(cells), output)


def _table(cells: tuple[Cell, ...]) -> Table:
    table = Table("cell", "kernel", "architecture", "release", "source", box=None, pad_edge=False)
    for cell in cells:
        table.add_row(cell.id, cell.kernel.version, cell.arch, cell.kernel.release, cell.kernel.source)
    return table


@app.command("validate")
def validate(matrix: MatrixFile = DEFAULT_MATRIX) -> None:
    """Check the matrix and its claims; nothing is fetched and nothing is booted.

    Example: runner matrix validate --matrix matrix.yaml
    """
    project = Project.at(matrix)
    claims = load_claims(project.root, project.matrix.file.probes)
    issues = load_issues(project.root)
    said = sum(len(file.claims) for file in claims)
    wanted = project.matrix.wanted()
    Console(highlight=False).print(
        f"{matrix}: {len(wanted)} cells, {said} claims in {len(claims)} files, {len(issues)} known issues",
        soft_wrap=True,
    )
