# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The command groups, each imported when it is used: `runner matrix list` waits for nothing that a shell needs."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_group

from runner import __version__
from runner.cli.options import Group, set_verbose

# modules of runner.cli, each with its `app`; one whose only command is called like itself is that command
GROUPS = (
    "load",
    "exec",
    "kfunc",
    "matrix",
    "probes",
    "kernels",
    "cell",
    "host",
    "report",
    "results",
    "bisect",
    "cache",
    "init",
    "doctor",
)


# typer brings its own copy of click, so that these types have no public name
class LazyGroups(Group):
    """GROUPS, and whatever else is registered the usual way."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*GROUPS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        app: typer.Typer = import_module(f"runner.cli.{cmd_name}").app
        app.rich_markup_mode = self.rich_markup_mode
        group = get_group(app)
        group.name = cmd_name
        return group.commands[cmd_name] if [*group.commands] == [cmd_name] else group


app = typer.Typer(
    cls=LazyGroups,
    help="Boots real kernels; shows on which of them eBPF programs load, and which kfuncs they can call.",
    epilog="Example: runner matrix run",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runner {__version__}")
        raise typer.Exit


# what one can do, in ten lines
FIRST_SIGHT = """\
runner boots real kernels and shows what eBPF programs can do on each.

  runner load prog.bpf.o            does my program load, and if not, why?
  runner exec -- ./my.test          does my test pass in a guest of each kernel?
  runner kfunc bpf_skb_ct_alloc     since which kernel can I call it?
  runner bisect prog.bpf.o/main     at which release did the answer change?
  runner init 'build/*.bpf.o'       a matrix and a CI workflow to commit
  runner doctor --fix               install what this machine lacks, check it

`runner --help` lists all commands; each has --help with an example."""


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
    set_verbose(False)
    if context.invoked_subcommand is None:
        typer.echo(FIRST_SIGHT)
