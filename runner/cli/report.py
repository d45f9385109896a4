"""`runner report`: what a run answered, in every format. Nothing is booted: verdicts are computed from the store."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from runner.cli import Finished, formats, site, tracking
from runner.cli.judging import Knowledge, judged_newest, judged_run
from runner.cli.lazy import Group
from runner.cli.options import DEFAULT_MATRIX, Format, FormatOption, MatrixFile, Output, Project, emit, emit_json
from runner.cli.stores import store_of
from runner.reports.exitcode import exit_code
from runner.reports.export import export, to_json
from runner.reports.markdown import availability_markdown
from runner.reports.statements import statements_markdown, statements_report
from runner.reports.summary import run_report
from runner.reports.verdicts import WORDS, WantedVerdicts, probe_verdicts, verdicts_report
from runner.results.asked import read_asked
from runner.results.statements import statements
from runner.text import nearest

app = typer.Typer(
    cls=Group,
    help="What a run answered. Nothing is booted.",
    epilog="Example: runner report show",
    no_args_is_help=True,
)
tracking.register(app)
formats.add_to(app)
app.command("html")(site.html_command)

RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id; by default the last run.")]
All = Annotated[bool, typer.Option("--all", help="Every kfunc that was asked about, not only those of the claims.")]


@app.command("show")
def show(run: RunId = None, every: All = False, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print the grid and the summary again, as `runner matrix run` did; exits as it did.

    Example: runner report show
    """
    judged = judged_newest(Project.at(matrix), run)
    emit(run_report(judged, every=every, every_hint="--all", is_last=run is None), output)
    raise Finished(exit_code(judged))


@app.command("markdown")
def markdown(run: RunId = None, every: All = False, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print the availability table as Markdown: what stands in reports/availability.md.

    Example: runner report markdown --output availability.md
    """
    emit(availability_markdown(judged_newest(Project.at(matrix), run), every=every), output)


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
    project = Project.at(matrix)
    judged = judged_run(project, run)
    emit(to_json(export(judged, read_asked(project.reports, judged.run.id))), output)


@app.command("verdicts")
def verdicts(
    run: RunId = None,
    kfunc: Annotated[str, typer.Option(help="Only kfuncs named like this: 'bpf_ct_*'.")] = "",
    verdict: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(WORDS)}. Repeatable.")] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Judge what the kernels answered by the claims as they are now: every verdict of every claim; exits as a run does.

    Example: runner report verdicts --verdict broken --verdict 'known issue'
    """
    for word in verdict or ():
        if word not in WORDS:
            raise typer.BadParameter(f"{word!r} is no verdict; {nearest(word, WORDS)}", param_hint="--verdict")
    judged = judged_newest(Project.at(matrix), run)
    wanted = WantedVerdicts(kfunc, frozenset(verdict or ()))
    if format_ is Format.JSON:
        emit_json([row.model_dump(mode="json") for row in probe_verdicts(judged, wanted)], output)
    else:
        emit(verdicts_report(judged, wanted), output)
    raise Finished(exit_code(judged))


class StatementFormat(StrEnum):
    """Statements are worth publishing: also as Markdown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class SourceKind(StrEnum):
    """Who says it."""

    EBPF_DOCS = "ebpf-docs"
    COMMIT = "commit"
    SOURCE = "source"


@app.command("claims")
def claims(
    run: RunId = None,
    source: Annotated[SourceKind | None, typer.Option(help="Only what these say.")] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: Annotated[StatementFormat, typer.Option("--format", help="How to print.")] = StatementFormat.TEXT,
    output: Output = None,
) -> None:
    """Show what is said about the kfuncs, and on which kernels it is true, false or out of date.

    Example: runner report claims --source ebpf-docs
    """
    project = Project.at(matrix)
    judged = judged_newest(project, run)
    found = statements(judged, Knowledge.of(project).claims, source.value if source else "")
    if format_ is StatementFormat.JSON:
        emit_json([statement.model_dump(mode="json") for statement in found], output)
    elif format_ is StatementFormat.MARKDOWN:
        emit(statements_markdown(judged, found), output)
    else:
        emit(statements_report(judged, found), output)


@app.command("runs")
def runs(matrix: MatrixFile = DEFAULT_MATRIX, format_: FormatOption = Format.TEXT, output: Output = None) -> None:
    """List the runs in the store, the last one first.

    Example: runner report runs
    """
    with store_of(Project.at(matrix), read_only=True) as store:
        found = store.runs()
    if format_ is Format.JSON:
        emit_json([info.model_dump(mode="json") for info in found], output)
        return
    table = Table("run", "started", "cells", "seconds", "runner", box=None, pad_edge=False)
    for info in found:
        took = f"{info.wall_s:.1f}" if info.wall_s is not None else "not finished"
        cells = f"{info.finished_cells}/{info.cells}"
        table.add_row(info.id, f"{info.started:%Y-%m-%d %H:%M:%S}", cells, took, info.runner_version)
    emit(table, output)
