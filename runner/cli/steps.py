# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Bars for the long steps of a command: package lists, downloads, images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from runner.steps import heard

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def steps_shown(console: Console) -> Iterator[None]:
    """On a terminal, a bar for each step that is under way, with the time left where that is known."""
    if not console.is_terminal:
        yield
        return
    tasks: dict[str, TaskID] = {}
    with ExitStack() as last:
        bars: list[Progress] = []

        def hear(name: str, part: float | None) -> None:
            if not bars:
                bars.append(_bars(console))
                last.callback(bars[0].stop)
            (bar,) = bars
            if part == 1.0:
                if name in tasks:
                    bar.remove_task(tasks.pop(name))
                if not tasks:
                    bar.stop()
                return
            if name not in tasks:
                bar.start()
                tasks[name] = bar.add_task(name, total=None if part is None else 1.0)
            bar.update(tasks[name], completed=part or 0.0)

        with heard(hear):
            yield


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  late: most need none

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn(compact=True))
    return Progress(*columns, console=console, transient=True)


def time_text(seconds: float) -> str:
    """`40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
