"""Command groups: what their help shows, and that they are imported when they are used.

`runner matrix list` waits for nothing that a shell needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

# modules of runner.cli, each with its `app`; one whose only command is called like itself is that command
GROUPS = ("matrix", "kernels", "cell", "host", "report", "results", "bisect", "doctor")

_WHOLE = 1000  # characters; more than any first sentence has


# typer brings its own copy of click, so that these types have no public name
class Group(TyperGroup):
    """Its help shows the first sentence about each command whole, on several lines where it is long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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
