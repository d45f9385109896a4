# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner doctor`: what this machine can do, and what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK
from runner.cli.options import Shown, command
from runner.doctor import Severity, examine, install_missing
from runner.model import GuestSize
from runner.project import Project

_MARKS = {Severity.OK: ("✓", "green"), Severity.WARN: ("!", "yellow"), Severity.BAD: ("✗", "red")}

app = typer.Typer()


@command(app, "doctor", "doctor")
def doctor(
    project: Project, fix: Annotated[bool, typer.Option("--fix", help="Install the missing Debian packages.")] = False
) -> Shown:
    """Check this machine: what it can do, and what it lacks. Exit status 2 when something that is needed is missing."""
    limits = project.limits
    if fix:
        install_missing(deadline=limits.deadline("prepare_s"))
    findings = tuple(examine(cache_root(), GuestSize(), deadline=limits.deadline("prepare_s")))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, style = _MARKS[finding.level]
        todo = (f"\n{finding.todo}", "dim") if finding.todo else ""
        table.add_row(Text(mark, style), finding.name, Text.assemble(finding.found, todo))
    document = [{"check": it.name, "level": it.level, "found": it.found, "todo": it.todo} for it in findings]
    bad = any(finding.level is Severity.BAD for finding in findings)
    return Shown(table, document, EXIT_NO_ANSWER if bad else EXIT_OK)
