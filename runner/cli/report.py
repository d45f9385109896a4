"""`runner report`: what runs answered, in every format. Nothing is booted: verdicts are computed from the store."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import Finished, tracking
from runner.cli.options import Output, Shown, command, emit, group
from runner.cli.project import Project
from runner.cli.watching import exit_status
from runner.errors import InfraError
from runner.reports.csvtable import csv_table
from runner.reports.export import export, to_json
from runner.reports.markdown import availability_markdown, job_summary, workflow_commands
from runner.reports.site import site, write_site
from runner.reports.statements import statements_report
from runner.reports.summary import run_report, runs_table
from runner.reports.testsystems import KCIDB_ORIGIN, junit, kcidb, kcidb_problem, ktap
from runner.results.bisections import load_bisections
from runner.results.model import JudgedRun, RunKind, judge_run
from runner.results.statements import statements
from runner.text import counted

app = group("Show what runs answered. Nothing is booted.", "report show")
app.registered_commands += tracking.app.registered_commands

RunId = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="A run's id. [default: every cell of the matrix, with its newest answer]"),
]
All = Annotated[bool, typer.Option("--all", help="Show every kfunc, not only those of claims.")]


@command(app, "show")
def show(project: Project, run: RunId = None, every: All = False, output: Output = None) -> None:
    """Print the grid and the summary as `runner matrix run` does; the exit status is the same.

    Example: runner report show
    """
    judged = project.newest(run)
    emit(run_report(judged, every=every, every_hint="--all", is_last=run is None), output)
    raise Finished(exit_status(judged))


def _places(project: Project) -> dict[str, tuple[str, int]]:
    """Where each claim is written, as GitHub wants it: below the folder that it checked out."""
    here, found = Path.cwd(), {}
    for claim_id, (path, line) in project.expectations.written().items():
        whole = path.resolve()
        found[claim_id] = (str(whole.relative_to(here) if whole.is_relative_to(here) else path), line)
    return found


@command(app, "html")
def html(
    project: Project,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the site; created if missing.")],
    run: RunId = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Number of runs with a page, the last ones.")] = 20,
) -> None:
    """Write a static site that opens from the disk: grids, evidence, a page per kfunc and per run.

    Files of an earlier build stay in the folder, so that links to older runs remain valid.

    Example: runner report html --output site
    """
    expectations = project.expectations
    said = {it.id: (it.says, it.sources) for it in expectations.said()}
    shown = project.newest(run, consoles=True)
    with project.store() as store:
        listed = [info.id for info in store.runs() if info.kind is RunKind.MATRIX][:runs]
        bisections = load_bisections(store)
        pages = [judge_run(store.load(each), expectations) for each in dict.fromkeys([shown.run.id, *listed])]
    count = write_site(output, site(shown, pages, said, bisections))
    emit(f"{output / 'index.html'}: {counted(count, 'file')}")


class ExportFormat(StrEnum):
    """What `report export` prints."""

    JSON = "json"  # everything about a run; fields are added, never renamed
    CSV = "csv"  # a line per cell, verdict and state
    JUNIT = "junit"
    KTAP = "ktap"
    KCIDB = "kcidb"  # schema 5.3, checked with the kcidb-io package where that is installed
    MARKDOWN = "markdown"  # the content of reports/availability.md
    GITHUB = "github"  # annotations for GitHub Actions


@command(app, "export")
def export_run(
    project: Project,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run's id. [default: the last run as json; else every cell of the matrix, with its newest answer]",
        ),
    ] = None,
    format_: Annotated[ExportFormat, typer.Option("--format", help="What to print.")] = ExportFormat.JSON,
    every: Annotated[bool, typer.Option("--all", help="With markdown: every kfunc, not only those of claims.")] = False,
    origin: Annotated[str, typer.Option(help="With kcidb: the name of your CI system.")] = KCIDB_ORIGIN,
    summary: Annotated[
        Path | None,
        typer.Option(envvar="GITHUB_STEP_SUMMARY", show_envvar=True, help="With github: add a job summary to it."),
    ] = None,
    output: Output = None,
) -> None:
    """Print a run in a format for other programs.

    Example: runner report export --format junit --output junit.xml
    """
    if format_ is ExportFormat.JSON:
        judged = project.run(run)
        emit(to_json(export(judged, project.asked(judged.run.id))), output)
        return
    judged = project.newest(run, consoles=True)
    writers: dict[ExportFormat, Callable[[JudgedRun], str]] = {
        ExportFormat.CSV: csv_table,
        ExportFormat.JUNIT: junit,
        ExportFormat.KTAP: ktap,
        ExportFormat.KCIDB: lambda judged: _checked_kcidb(judged, origin),
        ExportFormat.MARKDOWN: lambda judged: availability_markdown(judged, every=every),
        ExportFormat.GITHUB: lambda judged: workflow_commands(judged, _places(project)),
    }
    if format_ is ExportFormat.GITHUB and summary is not None:
        _add(summary, job_summary(judged))
    if text := writers[format_](judged):
        emit(text, output)


def _checked_kcidb(judged: JudgedRun, origin: str) -> str:
    """Raises InfraError when the document is not valid."""
    text = kcidb(judged, origin)
    try:
        problem = kcidb_problem(text)
    except ImportError:
        typer.echo("note: not checked against the schema: pip install 'kfunc-runner[kcidb]'", err=True)
        problem = ""
    if problem:
        raise InfraError(f"this run makes no valid KCIDB document: {problem}", hint="please report it")
    return text


def _add(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as there:
            there.write(text)
    except OSError as error:
        raise InfraError(f"cannot write {file}: {error.strerror}") from error


class SourceKind(StrEnum):
    """Where a statement is from."""

    EBPF_DOCS = "ebpf-docs"
    COMMIT = "commit"
    SOURCE = "source"


@command(app, "claims")
def claims(
    project: Project,
    run: RunId = None,
    source: Annotated[SourceKind | None, typer.Option(help="Only statements of this source.")] = None,
) -> Shown:
    """Show what is documented about the kfuncs, and on which kernels it is true, false or out of date.

    Example: runner report claims --source ebpf-docs
    """
    judged = project.newest(run)
    found = statements(judged, project.expectations.said(), source.value if source else "")
    return Shown(statements_report(judged, found), [statement.model_dump(mode="json") for statement in found])


@command(app, "runs")
def runs(project: Project) -> Shown:
    """List the runs in the store, the last one first.

    Example: runner report runs
    """
    with project.store() as store:
        found = store.runs()
    return Shown(runs_table(found), [info.model_dump(mode="json") for info in found])
