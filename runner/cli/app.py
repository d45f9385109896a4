"""Puts the command groups together."""

from __future__ import annotations

from typing import Annotated

import typer

from runner import __version__
from runner.cli import cell, doctor, host, kernels, matrix, report, results
from runner.cli.options import set_verbose

app = typer.Typer(
    help="Boots a matrix of real kernels and measures which kfuncs TC and XDP programs can call on each.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(matrix.app, name="matrix")
app.add_typer(kernels.app, name="kernels")
app.add_typer(cell.app, name="cell")
app.add_typer(host.app, name="host")
app.add_typer(report.app, name="report")
app.add_typer(results.app, name="results")
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runner {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
    set_verbose(False)
