"""`runner doctor`: what this machine can do, and what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.options import (
    DEFAULT_MATRIX,
    Format,
    FormatOption,
    MatrixFile,
    Output,
    Verbose,
    emit,
    emit_json,
    limits_of,
)
from runner.doctor import Checked, Severity, examine, install_missing
from runner.model import GuestSize

_MARKS = {Severity.OK: ("✓", "green"), Severity.WARN: ("!", "yellow"), Severity.BAD: ("✗", "red")}

app = typer.Typer()


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Install the missing Debian packages.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Say what this machine can do and what it lacks. Exit status 2 when something that is needed is missing.

    Example: runner doctor
    """
    limits = limits_of(matrix)
    if fix:
        install_missing(deadline=limits.deadline("prepare_s"))
    findings = tuple(examine(cache_root(), GuestSize(), deadline=limits.deadline("prepare_s")))
    if format_ is Format.JSON:
        emit_json([_plain(finding) for finding in findings], output)
    else:
        emit(_table(findings), output)
    bad = any(finding.level is Severity.BAD for finding in findings)
    raise Finished(EXIT_NO_ANSWER if bad else EXIT_OK)


def _plain(finding: Checked) -> dict[str, str]:
    return {"check": finding.name, "level": finding.level, "found": finding.found, "todo": finding.todo}


def _table(findings: tuple[Checked, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, style = _MARKS[finding.level]
        found = Text(finding.found)
        if finding.todo:
            found.append(f"\n{finding.todo}", "dim")
        table.add_row(Text(mark, style), finding.name, found)
    return table
