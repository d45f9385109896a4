"""`runner report ...` over all runs that are kept: what changed, since when, and what others say about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import RenderableType

from runner.cli import EXIT_BROKEN, Finished
from runner.cli.judging import Judge
from runner.cli.options import DEFAULT_MATRIX, Format, FormatOption, MatrixFile, Output, Project, emit
from runner.cli.sides import compare, side
from runner.errors import MatrixError
from runner.model import ProgType
from runner.reports.changes import changes_document, changes_report
from runner.reports.over_time import over_time_document, over_time_report
from runner.results.series import Measured, builds, measurements
from runner.results.store import ResultStore
from runner.results.stories import Only, overview
from runner.yamlfile import nearest

Kfunc = Annotated[str | None, typer.Option(help="Only this kfunc.")]
Type = Annotated[ProgType | None, typer.Option("--type", help="Only this program type.")]
Arch = Annotated[str | None, typer.Option(help="Only this architecture.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `runner report`."""
    app.command("availability")(availability)
    app.command("diff")(diff)


def show(text: RenderableType, document: object, format_: Format, output: Output) -> None:
    """One answer in the format that was asked for."""
    emit(json.dumps(document, indent=1) if format_ is Format.JSON else text, output)


def measured(project: Project) -> tuple[Measured, ...]:
    """Everything that is kept, judged by the claims as they are now."""
    judge = Judge.of(project)
    with ResultStore(project.database, read_only=True) as store:
        return measurements(store, judge.states)


def known_kfunc(kept: tuple[Measured, ...], kfunc: str | None) -> None:
    """Raises MatrixError when no kernel was ever asked about it."""
    names = {row.kfunc for each in kept for row in each.states}
    if kfunc is not None and kfunc not in names:
        raise MatrixError(f"no kernel was asked about {kfunc}", hint=nearest(kfunc, sorted(names)))


def availability(
    kfunc: Kfunc = None,
    prog_type: Type = None,
    arch: Arch = None,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show since which kernel each kfunc is available, over all runs that are kept; and where that is not simply so.

    Example: runner report availability --kfunc bpf_ct_set_nat_info
    """
    kept = measured(Project.at(matrix))
    known_kfunc(kept, kfunc)
    found = overview(builds(kept), Only(kfunc, prog_type, arch))
    show(over_time_report(found), over_time_document(found), format_, output)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A run, `last`, `last~1`, a kernel, or a cell.")],
    after: Annotated[str, typer.Argument(metavar="B", help="What it is compared with: what became of A's answers.")],
    texts: Annotated[bool, typer.Option("--texts", help="Also what differs in words alone.")] = False,
    matrix: MatrixFile = DEFAULT_MATRIX,
    format_: FormatOption = Format.TEXT,
    output: Output = None,
) -> None:
    """Show what got better and worse from A to B; exits 1 when something got worse.

    Of a kernel or a cell, the last answer that is kept is taken.

    Example: runner report diff 6.12.117 6.18.15
    """
    project = Project.at(matrix)
    judge = Judge.of(project)
    with ResultStore(project.database, read_only=True) as store:
        found, names = compare(side(store, judge, before), side(store, judge, after), judge)
    show(changes_report(found, names, texts=texts), changes_document(found, names), format_, output)
    if found.worse:
        raise Finished(EXIT_BROKEN)
