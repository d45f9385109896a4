"""Puts the command groups together."""

from __future__ import annotations

from typing import Annotated

import typer

from runner import __version__
from runner.cli.lazy import LazyGroups
from runner.cli.options import set_verbose

app = typer.Typer(
    cls=LazyGroups,
    help="Boots a matrix of real kernels and measures which kfuncs TC and XDP programs can call on each.",
    epilog="Example: runner matrix run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
