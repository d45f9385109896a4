"""Command groups that are imported when they are used: `runner matrix list` waits for nothing that a shell needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

# modules of runner.cli, each with its `app`; one whose only command is called like itself is that command
GROUPS = ("matrix", "kernels", "cell", "host", "report", "results", "hunt", "doctor")


class LazyGroups(TyperGroup):
    """GROUPS, and whatever else is registered the usual way."""

    # typer brings its own copy of click, so that these types have no public name
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
