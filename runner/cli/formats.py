"""`runner report csv|junit|ktap|kcidb|github`: a run in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner import yamlfile
from runner.cli.judging import judged_newest
from runner.cli.options import DEFAULT_MATRIX, MatrixFile, Output, Project, emit
from runner.errors import InfraError
from runner.reports import kcidb as kcidb_format
from runner.reports.csvtable import csv_table
from runner.reports.github import job_summary, workflow_commands
from runner.reports.junit import junit
from runner.reports.ktap import ktap

RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id; by default the last run.")]


def add_to(app: typer.Typer) -> None:
    """Put these commands into the group `report`."""
    for name, command in (
        ("csv", csv_command),
        ("junit", junit_command),
        ("ktap", ktap_command),
        ("kcidb", kcidb_command),
        ("github", github_command),
    ):
        app.command(name)(command)


def csv_command(run: RunId = None, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print a line per cell, claim and kfunc, for spreadsheets and data frames.

    Example: runner report csv --output run.csv
    """
    emit(csv_table(judged_newest(Project.at(matrix), run)), output)


def junit_command(run: RunId = None, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print JUnit XML: a test suite per cell, a test case per probe.

    Example: runner report junit --output junit.xml
    """
    emit(junit(judged_newest(Project.at(matrix), run, consoles=True)), output)


def ktap_command(run: RunId = None, matrix: MatrixFile = DEFAULT_MATRIX, output: Output = None) -> None:
    """Print KTAP: a test per cell, a subtest per probe.

    Example: runner report ktap
    """
    emit(ktap(judged_newest(Project.at(matrix), run, consoles=True)), output)


def kcidb_command(
    run: RunId = None,
    origin: Annotated[str, typer.Option(help="The name of your CI system in KCIDB.")] = kcidb_format.ORIGIN,
    matrix: MatrixFile = DEFAULT_MATRIX,
    output: Output = None,
) -> None:
    """Print KCIDB JSON, schema 5.3, checked with the kcidb-io package where that is installed.

    Example: runner report kcidb --origin myci --output kcidb.json
    """
    text = kcidb_format.kcidb(judged_newest(Project.at(matrix), run, consoles=True), origin)
    try:
        problem = kcidb_format.problem(text)
    except ImportError:
        typer.echo("note: not checked against the schema: pip install 'kfunc-runner[kcidb]'", err=True)
        problem = ""
    if problem:
        raise InfraError(f"this run makes no valid KCIDB document: {problem}", hint="please report it")
    emit(text, output)


def github_command(
    run: RunId = None,
    summary: Annotated[
        Path | None,
        typer.Option(envvar="GITHUB_STEP_SUMMARY", show_envvar=True, help="Add the job summary to this file."),
    ] = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    output: Output = None,
) -> None:
    """Print annotations for GitHub Actions, and add the job summary to the job's own page.

    Example: runner report github --summary summary.md
    """
    project = Project.at(matrix)
    judged = judged_newest(project, run)
    if summary is not None:
        try:
            with summary.open("a", encoding="utf-8") as file:
                file.write(job_summary(judged))
        except OSError as error:
            raise InfraError(f"cannot write {summary}: {error.strerror}") from error
    if text := workflow_commands(judged, _places(project)):
        emit(text, output)


def _places(project: Project) -> dict[str, tuple[str, int]]:
    """Where each claim is written, as GitHub wants it: below the folder that it checked out."""
    found = {}
    for name in project.matrix.file.probes:
        document = yamlfile.load(project.root / "bpf" / f"{name}.yaml")
        claims = document.data.get("claims")
        for at, claim in enumerate(claims if isinstance(claims, list) else []):
            if isinstance(claim, dict):
                found[str(claim.get("id"))] = (_relative(document.path), document.line(("claims", at)))
    return found


def _relative(path: Path) -> str:
    here = Path.cwd()
    whole = path.resolve()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)
