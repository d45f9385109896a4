"""`runner matrix`: run it, list its cells, check it."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import Finished
from runner.cli.options import Format, Hosts, Offline, Shown, Slots, columns, command, emit, group
from runner.cli.project import Project
from runner.cli.watching import FailOn, watched
from runner.errors import UserError
from runner.matrix.select import select
from runner.model import NETWORK_TYPES, ProgType
from runner.text import counted

app = group("Run, list and check the cells of the matrix.", "matrix run --only 'arch=arm64,kernel=6.*'")

Only = Annotated[str, typer.Option("--only", help="Only these cells: 'arch=arm64,kernel=6.*'.")]


@command(app, "run")
def run(
    project: Project,
    resumed: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run to --resume. [default: the last one that was stopped]"),
    ] = None,
    only: Only = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume a stopped run; boot only the cells without a result.")
    ] = False,
    slots: Slots = None,
    hosts: Hosts = None,
    locked: Annotated[bool, typer.Option("--locked", help="Fail when a pinned package has left the archive.")] = False,
    offline: Offline = False,
    every_type: Annotated[
        bool, typer.Option("--all-program-types", help="Test every kfunc in every program type, not only TC and XDP.")
    ] = False,
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
            metavar="worse|broken|incomplete",
            help='Conditions that fail the run (exit 1; 2 for "incomplete"). May be repeated. [default: all]',
        ),
    ] = None,
    part: Annotated[
        str, typer.Option("--shard", metavar="K/N", help="Run only the K-th of N parts of the cells, for N jobs.")
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

    watch = watched(project.expectations, baseline, fail_on)  # reports mistakes before anything is fetched
    if resumed is not None and not resume:
        raise UserError(f"unexpected argument {resumed}: only valid with --resume", hint="`--only` chooses cells")
    request = running.Request(
        only=only, part=part, locked=locked, resume=resume, run_id=resumed or running.checked_run_id(run_id),
        prog_types=tuple(ProgType) if every_type else NETWORK_TYPES, slots=slots, hosts=hosts, offline=offline,
    )  # fmt: skip
    request.checked(baseline)
    raise Finished(running.run(project, request, watch, json=format_ is Format.JSON))


@command(app, "list")
def list_cells(project: Project, only: Only = "") -> Shown:
    """List the cells, with the exact kernels that they are pinned to.

    Example: runner matrix list
    """
    lock, wanted = project.lock(), project.matrix.wanted()
    pinned = {(kernel.source, kernel.arch) for kernel in lock.kernels}
    if not all((it.source, it.arch) in pinned for it in wanted):
        table = columns("kernel", "architecture", "source")
        table.title = f"not pinned yet: `runner kernels lock` writes {project.lock_path}"
        table.title_justify = "left"
        for it in wanted:
            table.add_row(it.name, it.arch, it.source)
        return Shown(table, [it.model_dump(mode="json") for it in wanted])
    cells = select(project.matrix.cells(lock), only)
    table = columns("cell", "kernel", "architecture", "release", "source")
    for cell in cells:
        table.add_row(cell.id, cell.kernel.version, cell.arch, cell.kernel.release, cell.kernel.source)
    return Shown(table, [cell.model_dump(mode="json") for cell in cells])


@command(app, "validate")
def validate(project: Project) -> None:
    """Check the matrix and its claims; nothing is fetched and nothing is booted.

    Example: runner matrix validate --matrix matrix.yaml
    """
    expectations = project.expectations
    cells = counted(len(project.matrix.wanted()), "cell")
    said = len({each.id for each in expectations.said()})
    claims = f"{counted(said, 'claim')} in {counted(len(expectations.files), 'file')}"
    emit(f"{project.matrix.path}: {cells}, {claims}, {counted(len(expectations.issues), 'known issue')}")
