"""`runner report ...` over all runs that are kept: what changed, since when, and what others say about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import RenderableType

from runner.cli.judging import claims_of
from runner.cli.options import DEFAULT_MATRIX, Format, FormatOption, MatrixFile, Output, Project, emit
from runner.errors import MatrixError
from runner.model import ProgType
from runner.probes import states
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


def show(text: RenderableType, document: object, format_: Format, output: Output) -> None:
    """One answer in the format that was asked for."""
    emit(json.dumps(document, indent=1) if format_ is Format.JSON else text, output)


def measured(project: Project) -> tuple[Measured, ...]:
    """Everything that is kept, judged by the claims as they are now."""
    claims = claims_of(project)
    with ResultStore(project.database, read_only=True) as store:
        return measurements(store, lambda result: states(result, claims))


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
