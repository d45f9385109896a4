# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner matrix`: run it, list its cells, check it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from runner.cli import Finished, completion, options
from runner.cli.options import Format, Shown, command, emit, group
from runner.errors import UserError
from runner.matrix.cells import select
from runner.project import Project
from runner.reports.drawing import columns, section
from runner.results.model import RunId, RunKind
from runner.text import counted

app = group("Run, list and check the cells of the matrix.", "matrix run --only 'arch=arm64,kernel=6.*'")

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="TERMS", help="Only these cells: 'arch=arm64,kernel=6.*'. May be repeated."),
]


class FailOn(StrEnum):
    """What makes a run fail."""

    WORSE = "worse"
    BROKEN = "broken"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command line says about a run."""

    resumed: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            autocompletion=completion.runs,
            help="The run to --resume. [default: the last one that was stopped]",
        ),
    ] = None
    only: Only = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume a stopped run; boot only the cells without a result.")
    ] = False
    fresh: options.Fresh = False
    recheck: Annotated[
        str,
        typer.Option(metavar="N%", help="Boot N % of the cells with earlier answers anyway, and compare the answers."),
    ] = ""
    slots: options.Slots = None
    hosts: options.Hosts = None
    locked: Annotated[bool, typer.Option("--locked", help="Fail when a pinned package has left the archive.")] = False
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Start guests from snapshots, and make those that are not there.")
    ] = False
    offline: options.Offline = False
    every_type: Annotated[
        bool, typer.Option("--all-program-types", help="Test every kfunc in every program type, not only TC and XDP.")
    ] = False
    baseline: Annotated[
        str,
        typer.Option(
            metavar="RUN|last|PATH", help="Compare with this run, the last answers, or another store's last run."
        ),
    ] = ""
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            "--fail-on",
            metavar="worse|broken|incomplete",
            help='Conditions that fail the run (exit 1; 2 for "incomplete"). May be repeated. [default: all]',
        ),
    ] = None
    part: Annotated[
        str, typer.Option("--shard", metavar="K/N", help="Run only the K-th of N parts of the cells, for N jobs.")
    ] = ""
    run_id: Annotated[
        str, typer.Option("--run-id", help="The run's id: equal for the shards of one run, see `results merge`.")
    ] = ""
    format_: options.EventFormat = Format.TEXT

    @property
    def recheck_percent(self) -> float:
        """0 to 100. Raises UserError when it is no such number."""
        number = self.recheck.removesuffix("%").strip() or "0"
        try:
            percent = float(number)
        except ValueError:
            percent = math.nan
        if not 0 <= percent <= 100:
            raise UserError(f"--recheck {self.recheck!r} is no share of the cells", hint="--recheck 5%")
        return percent

    def check(self) -> None:
        """Raises UserError for options that do not go together, and for an id that cannot name a run's folder."""
        if FailOn.WORSE in (self.fail_on or ()) and not self.baseline:
            hint = "add --baseline last, a run's id, or another store"
            raise UserError("--fail-on worse needs a baseline", hint=hint)
        if self.resumed and not self.resume:
            hint = "`--only` chooses cells"
            raise UserError(f"unexpected argument {self.resumed}: only valid with --resume", hint=hint)
        if self.fresh and self.recheck:
            raise UserError("--fresh boots every cell, so --recheck has nothing to add", hint="leave --recheck out")
        _ = self.recheck_percent
        alone = {"--only": self.only, "--shard": self.part, "--locked": self.locked, "--baseline": self.baseline}
        if self.resume:
            options.only_a_new_run_takes(
                alone, f"leave {' and '.join(it for it in alone if alone[it])} out, or begin a new run"
            )
        if not self.run_id:
            return
        try:
            TypeAdapter(RunId).validate_python(self.run_id)
        except ValidationError:
            hint = "up to 64 of a-z 0-9 . _ -, a letter first"
            raise UserError(f"{self.run_id!r} is not a valid run id", hint=hint) from None
        if (kind := RunKind.of(self.run_id)) is not RunKind.MATRIX:
            hint = f"an id that begins with {kind}- is reserved"
            raise UserError(f"{self.run_id!r} names a run of another kind", hint=hint)


@command(app, "run", "matrix run --only 'arch=x86_64,kernel=6.*'")
def run(context: typer.Context, project: Project, request: Request) -> None:
    """Boot every cell, ask every probe, show what the kernels answered.

    What the store has of the very same guest and question is not asked again; --fresh asks it.

    Exit status: 0 everything answered and as expected; 1 a claim is broken, or a kernel crashed or did not boot;
    2 something has no answer; 64 bad usage. With --baseline, 1 also when an answer got worse; each such cell is booted
    again to confirm it.
    Ctrl-C stops the run: results are stored, and --resume boots the rest. A second Ctrl-C ends immediately.
    """
    from runner.cli import running  # noqa: PLC0415  late: it brings pytest, and `list` and `validate` need none

    request.check()
    raise Finished(running.run(project, request, context.obj or running.Engine()))


@command(app, "list", "matrix list")
def list_cells(project: Project, only: Only = None) -> Shown:
    """List the cells, with the exact kernels that they are pinned to."""
    lock, wanted = project.lock(), project.matrix.wanted()
    pinned = {(kernel.source, kernel.arch) for kernel in lock.kernels}
    if not all((it.source, it.arch) in pinned for it in wanted):
        title = f"not pinned yet: `runner kernels lock` writes {project.lock_path}"
        table = columns(((it.name, it.arch, it.source) for it in wanted), "kernel", "architecture", "source")
        return Shown(section(title, table), [it.model_dump(mode="json") for it in wanted])
    cells = select(project.matrix.cells(lock), *only or ())
    rows = ((it.id, it.kernel.version, it.arch, it.kernel.release, it.kernel.source) for it in cells)
    table = columns(rows, "cell", "kernel", "architecture", "release", "source")
    return Shown(table, [cell.model_dump(mode="json") for cell in cells])


@command(app, "validate", "matrix validate --matrix matrix.yaml")
def validate(project: Project) -> None:
    """Check the matrix and its claims; nothing is fetched and nothing is booted."""
    expectations = project.expectations
    cells = counted(len(project.matrix.wanted()), "cell")
    said = len({each.id for each in expectations.said()})
    claims = f"{counted(said, 'claim')} in {counted(len(expectations.files), 'file')}"
    emit(f"{project.matrix.path}: {cells}, {claims}, {counted(len(expectations.issues), 'known issue')}")
