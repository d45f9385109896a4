"""`runner report`: what a run answered, in every format. Nothing is booted: verdicts are computed from the store."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from runner.cli import Finished, formats, site
from runner.cli.judging import judged_run
from runner.cli.options import DEFAULT_MATRIX, Format, FormatOption, MatrixFile, Output, Project, emit
from runner.reports.exitcode import exit_code
from runner.reports.export import export, to_json
from runner.reports.markdown import availability_markdown
from runner.reports.summary import run_report
from runner.results.store import ResultStore

app = typer.Typer(help="What a run answered. Nothing is booted.", no_args_is_help=True)
formats.add_to(app)
app.command("html")(site.html_command)

RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id; by default the last run.")]
All = Annotated[bool, typer.Option("--all", help="Every kfunc that was asked about, not only those of the claims.")]


@app.command("show")
def show(run: RunId = None, every: All = False, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print the grid and the summary again, as `runner matrix run` did; exits as it did.

    Example: runner report show
    """
    judged = judged_run(Project.at(matrix), run)
    emit(run_report(judged, every_kfunc=every, every_hint="--all", is_last=run is None), output)
    raise Finished(exit_code(judged))


@app.command("markdown")
def markdown(run: RunId = None, every: All = False, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print the availability table as Markdown: what stands in reports/availability.md.

    Example: runner report markdown --output availability.md
    """
    emit(availability_markdown(judged_run(Project.at(matrix), run), every_kfunc=every), output)


@app.command("export")
def export_run(
    run: RunId = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: Annotated[Format, typer.Option("--format", help="Only json.")] = Format.JSON,
    output: Output = None,
) -> None:
    """Print everything about a run as one JSON document, for scripts. Fields are added, never renamed.

    Example: runner report export --format json
    """
    if format_ is not Format.JSON:
        raise typer.BadParameter("an export is JSON; `runner report show` is text")
    emit(to_json(export(judged_run(Project.at(matrix), run))), output)


@app.command("runs")
def runs(matrix: MatrixFile = DEFAULT_MATRIX, format_: FormatOption = Format.TEXT, output: Output = None) -> None:
    """List the runs in the store, the last one first.

    Example: runner report runs
    """
    with ResultStore(Project.at(matrix).database, read_only=True) as store:
        found = store.runs()
    if format_ is Format.JSON:
        emit(json.dumps([info.model_dump(mode="json") for info in found], indent=1), output)
        return
    table = Table("run", "started", "cells", "seconds", "runner", box=None, pad_edge=False)
    for info in found:
        took = f"{info.wall_s:.1f}" if info.wall_s is not None else "not finished"
        cells = f"{info.finished_cells}/{info.cells}"
        table.add_row(info.id, f"{info.started:%Y-%m-%d %H:%M:%S}", cells, took, info.runner_version)
    emit(table, output)
