"""`runner matrix`: run it, list its cells, check it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from runner.cli import Finished
from runner.cli.judging import expectations_of
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    Group,
    Hosts,
    MatrixFile,
    Offline,
    Output,
    Project,
    Verbose,
    emit,
    emit_json,
)
from runner.cli.watching import FailOn, checked_run_id, watched
from runner.errors import UserError
from runner.matrix.select import select
from runner.model import NETWORK_TYPES, Cell, ProgType
from runner.text import counted

app = typer.Typer(
    cls=Group,
    help="The matrix of kernels and architectures.",
    epilog="Example: runner matrix run --only 'arch=arm64,kernel=6.*'",
    no_args_is_help=True,
)

Only = Annotated[str, typer.Option("--only", help="Only these cells: 'arch=arm64,kernel=6.*'.")]


@app.command("run")
def run(
    resumed: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run to --resume. [default: the last one that was stopped]"),
    ] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    only: Only = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume a stopped run; boot only the cells without a result.")
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option("-n", "--slots", min=1, help="Concurrent guests. [default: what this machine carries]"),
    ] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Fail when a pinned package has left the archive.")] = False,
    every_type: Annotated[
        bool,
        typer.Option("--all-program-types", help="Ask of every kfunc for every program type, not only TC and XDP."),
    ] = False,
    offline: Offline = False,
    verbose: Verbose = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|last|PATH", help="Compare with this run, the last answers, or another store's last run."
        ),
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            "--fail-on",
            help='Conditions that fail the run (exit 1; 2 for "incomplete"). May be repeated. [default: all]',
        ),
    ] = None,
    hosts: Hosts = None,
    part: Annotated[
        str, typer.Option("--shard", metavar="K/N", help="Only the K-th of N parts of the cells, for N jobs.")
    ] = "",
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="The run's id: equal for the shards of one run, see `results merge`.")
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="json: a JSON object per event on stdout, all else on stderr.")
    ] = Format.TEXT,
) -> None:
    """Boot every cell, ask every probe, show what the kernels answered.

    Exit status: 0 everything answered and as expected; 1 a claim is broken, or a kernel crashed or did not boot;
    2 something has no answer; 64 bad usage. With --baseline, 1 also when an answer got worse; each such cell is booted
    again to confirm it.
    Ctrl-C stops the run: results are stored, and --resume boots the rest. A second Ctrl-C ends immediately.

    Example: runner matrix run --only 'arch=x86_64,kernel=6.*'
    """
    from runner.cli import running  # noqa: PLC0415  late: it brings pytest, and `list` and `validate` need none

    project = Project.at(matrix)
    expectations = expectations_of(project)  # what is wrong with it is said before anything is fetched
    if resumed is not None and not resume:
        raise UserError(f"unexpected argument {resumed}: only valid with --resume", hint="`--only` chooses cells")
    request = running.Request(
        only=only, part=part, locked=locked, resume=resume, run_id=resumed or checked_run_id(run_id),
        prog_types=tuple(ProgType) if every_type else NETWORK_TYPES, slots=slots, hosts=hosts, offline=offline,
    )  # fmt: skip
    request.checked(baseline)
    watch = watched(expectations, baseline, fail_on)
    raise Finished(running.run(project, expectations, request, watch, json=format_ is Format.JSON))


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
    lock = project.lock()
    pinned = {(kernel.source, kernel.arch) for kernel in lock.kernels}
    if not all((wanted.source, wanted.arch) in pinned for wanted in project.matrix.wanted()):
        emit(_unpinned(project), output)
        return
    cells = select(project.matrix.cells(lock), only)
    if format_ is Format.JSON:
        emit_json([cell.model_dump(mode="json") for cell in cells], output)
    else:
        emit(_table(cells), output)


def _unpinned(project: Project) -> Table:
    """What is wanted, when the lock does not say yet which kernels that means."""
    table = Table("kernel", "architecture", "source", box=None, pad_edge=False)
    table.title = f"not pinned yet: `runner kernels lock` writes {project.lock_path}"
    table.title_justify = "left"
    for wanted in project.matrix.wanted():
        table.add_row(wanted.name, wanted.arch, wanted.source)
    return table


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
    expectations = expectations_of(project)
    cells = counted(len(project.matrix.wanted()), "cell")
    said = len({each.id for each in expectations.said()})
    claims = f"{counted(said, 'claim')} in {counted(len(expectations.files), 'file')}"
    issues = counted(len(expectations.issues), "known issue")
    Console(highlight=False).print(f"{matrix}: {cells}, {claims}, {issues}", soft_wrap=True)
