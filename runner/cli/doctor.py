"""`runner doctor`: what this machine can do, and what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK, Finished
from runner.cli.options import Format, FormatOption, Output, Verbose, emit, emit_json
from runner.deadline import Deadline
from runner.doctor.checks import Finding, Level, examine
from runner.doctor.packages import fix as install_missing
from runner.model import GuestSize

_LIMIT_S = 120
_FIX_LIMIT_S = 1800
_MARKS = {Level.OK: ("✓", "green"), Level.WARN: ("!", "yellow"), Level.BAD: ("✗", "red")}

app = typer.Typer()


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Install the missing Debian packages.")] = False,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Say what this machine can do and what it lacks. Exit status 2 when something that is needed is missing.

    Example: runner doctor
    """
    if fix:
        install_missing(deadline=Deadline.after(_FIX_LIMIT_S, "the limit for installing packages"))
    findings = tuple(examine(cache_root(), GuestSize(), deadline=Deadline.after(_LIMIT_S, "the doctor's limit")))
    if format_ is Format.JSON:
        emit_json([_plain(finding) for finding in findings], output)
    else:
        emit(_table(findings), output)
    bad = any(finding.level is Level.BAD for finding in findings)
    raise Finished(EXIT_NO_ANSWER if bad else EXIT_OK)


def _plain(finding: Finding) -> dict[str, str]:
    return {"check": finding.name, "level": finding.level, "found": finding.found, "todo": finding.todo}


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, style = _MARKS[finding.level]
        found = Text(finding.found)
        if finding.todo:
            found.append(f"\n{finding.todo}", "dim")
        table.add_row(Text(mark, style), finding.name, found)
    return table
