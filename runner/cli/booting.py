# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What commands that boot guests share: the fleet of --hosts and -n, what is shown meanwhile, and how they end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from runner.cli import EXIT_INTERRUPTED
from runner.engine.execute import handled, signal_workers
from runner.engine.fleet import Fleet, this_machine_alone
from runner.engine.plan import Phase, Plan, Progress, RunEnd, Sink
from runner.errors import InfraError, UserError
from runner.guest.accel import accelerations, host_cpus, host_memory_mib
from runner.guest.accel import slots as slots_for
from runner.guest.interface import Guest
from runner.hosts.health import usable_fleet
from runner.hosts.hostsfile import load_hosts
from runner.model import Cell, CellResult, GuestSize, Outcome
from runner.reports.export import reused_from
from runner.reports.summary import Totals, differing
from runner.text import plain, printable

_SHOW_CURSOR = b"\x1b[?25h"
_BOOTED = (Phase.BOOTING, Phase.PROBING)
_ACTIVE = (Phase.PREPARING, *_BOOTED)


@contextmanager
def fleet_of(file: Path | None, slots: int | None, cells: Sequence[Cell], console: Console) -> Iterator[Fleet]:
    """The hosts of `file`, or this machine alone. Prints which hosts take part, and why others do not.

    Raises UserError for `slots` together with a file, InfraError when no host can be used.
    """
    if file is None:
        yield this_machine_alone(slots or default_slots(cells))
        return
    if slots is not None:
        raise UserError("-n is for this machine alone", hint=f"{file} says how many slots each host has")
    with usable_fleet(load_hosts(file), _largest(cells)) as (fleet, errors):
        for host in fleet.hosts:
            guests = ", ".join(f"{number} {arch} ({host.accel[arch]})" for arch, number in host.slots.items())
            console.print(Text(f"host {host.name}: {guests} concurrent guests"), soft_wrap=True)
        for error in errors:
            console.print(Text(f"host left out: {printable(str(error))}", style="yellow"), soft_wrap=True)
        yield fleet


def default_slots(cells: Sequence[Cell]) -> int:
    """What this machine can run."""
    accel = accelerations(deadline=cells[0].limits.deadline("prepare_s"))
    emulated = any(accel.get(cell.arch, "tcg") == "tcg" for cell in cells)
    return slots_for(host_cpus(), host_memory_mib(), _largest(cells), "tcg" if emulated else "kvm")


def _largest(cells: Sequence[Cell]) -> GuestSize:
    return max((cell.guest for cell in cells), key=lambda guest: (guest.memory_mib, guest.cpus))


def way_in(guest: Guest, console: Console) -> None:
    """Print the commands that enter a guest from another terminal."""
    access = guest.access()
    for command in (access.ssh, access.gdb):
        if command:
            console.print(Text(f"  {shlex.join(command)}"), soft_wrap=True)


def stoppable() -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and SIGHUP: the first one is a KeyboardInterrupt, the second one ends the process at once."""
    return handled(_end_at_once)


@contextmanager
def resumable(then: str) -> Iterator[None]:
    """Inside, an InfraError ends with `then`: how to resume what it stopped."""
    try:
        yield
    except InfraError as error:
        raise InfraError(error.what, hint=f"{error.hint}\n  {then}" if error.hint else then) from error


def _end_at_once() -> None:
    """Guests go with their supervisors, which see that whoever started them is gone."""
    if sys.stdout.isatty():
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"ended at once; what was answered is stored\n")
    signal_workers(signal.SIGKILL)
    os._exit(EXIT_INTERRUPTED)


def time_text(seconds: float) -> str:
    """`40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# --- sinks that show a run ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Shown:
    """Where a cell is. Times are seconds since the display began; `known_s` is what the cell took the last time."""

    at: Progress
    known_s: float | None
    since_s: float = 0.0  # in this phase
    step_s: float = 0.0  # in this step
    booted_s: float | None = None  # it left its preparation; None: not yet

    def enter(self, progress: Progress, now_s: float) -> bool:
        """Returns whether it is another phase or step than before."""
        before, self.at = self.at, progress
        if before.phase is not progress.phase:
            self.since_s = now_s
        if progress.phase in _BOOTED and self.booted_s is None:
            self.booted_s = now_s
        new = (before.phase, before.note) != (progress.phase, progress.note)
        self.step_s = now_s if new else self.step_s
        return new

    def ahead(self, now_s: float) -> tuple[float, str] | None:
        """The part that is done, from 0 to 1, and the time left, of its step or of its boot; None: nobody knows."""
        if (part := self.at.part) is not None and part < 1:
            return part, f"{time_text((now_s - self.step_s) * (1 - part) / part)} left" if part else ""
        if self.booted_s is None or not self.known_s or (ran_s := now_s - self.booted_s) >= self.known_s:
            return None
        return ran_s / self.known_s, f"{time_text(self.known_s - ran_s)} left"


class Display(Sink):
    """A sink: a live board on a terminal, plain lines elsewhere. `describe` says in a few words what came of a cell."""

    def __init__(
        self, console: Console, describe: Callable[[CellResult], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._describe = describe
        self._clock = clock
        self._cells: dict[str, _Shown] = {}  # in the order of the matrix
        self._took_s: list[float] = []  # what cells took, without their preparation
        self._live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def began(self, plan: Plan, /) -> None:
        self._began, self._slots = self._clock(), plan.fleet.slots
        self._cells = {
            cell_id: _Shown(Progress(cell_id=cell_id, phase=Phase.WAITING), max(known.values(), default=None))
            for cell_id in (order.cell.id for order in plan.orders)
            for known in (plan.known_s.get(cell_id, {}),)
        }
        self._width = max(map(len, self._cells), default=0)
        if any(it.cell.guest.network for it in plan.orders):
            told = "NETWORK: these guests reach all that this host does, and its own ports at 10.0.2.2"
            self._console.print(Text(told, style="bold yellow"), soft_wrap=True)
        if self._live:
            self._live.start()

    def finished(self, _: RunEnd, /) -> None:
        if self._live:
            self._live.stop()

    def __rich__(self) -> RenderableType:
        """What is under way, and `3 waiting · 1 booting · 1 probing · 3 done · 24 s · about 2 min left`."""
        now, table = self._elapsed_s, Table.grid(padding=(0, 2))
        for cell in self._cells.values():
            if cell.at.phase in _ACTIVE:
                ended = cell.at.part == 1.0
                note, phase = Text("" if ended else plain(cell.at.note), style="dim"), Text(cell.at.phase, style="cyan")
                row: list[RenderableType] = [" ", cell.at.cell_id, phase, f"{now - cell.since_s:4.0f} s"]
                if ahead := cell.ahead(now):
                    row += [ProgressBar(total=1.0, completed=ahead[0], width=16), ahead[1], note]
                else:
                    row += ["", "", note]
                table.add_row(*row)
        number = Counter(cell.at.phase for cell in self._cells.values())
        counts = [f"{number[phase]} {phase}" for phase in Phase if number[phase]]
        left_s = self._left_s(now)
        left = [f"about {time_text(left_s)} left"] if left_s else []
        return Group(table, Text("  " + " · ".join([*counts, f"{now:.0f} s", *left]), style="dim"))

    def _left_s(self, now_s: float) -> float | None:
        """What the cells that are not done will take, by what they took the last time, else by what others took.

        None when neither is known of some cell.
        """
        usual = fmean(self._took_s) if self._took_s else None
        each: list[float] = []
        for cell in self._cells.values():
            if cell.at.phase is not Phase.DONE:
                if (takes := cell.known_s or usual) is None:
                    return None
                each.append(max(0.0, takes - (now_s - cell.booted_s if cell.booted_s is not None else 0.0)))
        return max(sum(each) / self._slots, *each, 0.0)

    def progress(self, progress: Progress, /) -> None:
        cell = self._cells.get(progress.cell_id)
        new = cell.enter(progress, self._elapsed_s) if cell else True
        if cell and progress.phase is Phase.DONE and cell.booted_s is not None:
            self._took_s.append(self._elapsed_s - cell.booted_s)
            cell.booted_s = None  # it may be repeated
        if not self._live and progress.phase in _ACTIVE and (new or progress.part is None):
            self._line(progress.cell_id, progress.phase, progress.note)

    def result(self, result: CellResult, /) -> None:
        """A finished cell stays on the screen; those of which nothing was asked are told of in one line before."""
        if result.is_kept:
            return
        said = plain(self._describe(result))
        if result.rechecked and result.rechecked.changed:
            self._console.print(differing(result), soft_wrap=True)
        if not self._live:
            self._line(result.cell.id, Phase.DONE, said)
            return
        mark = Text("✓", style="green") if result.outcome is Outcome.RAN else Text("✗", style="red")
        took = f"{result.timings.total_s:6.1f} s" if result.timings.total_s is not None else " " * 8
        line = Text.assemble("  ", mark, f" {result.cell.id:<{self._width}}  {took}  ", said)
        self._console.print(line, overflow="ellipsis", no_wrap=True)

    @property
    def _elapsed_s(self) -> float:
        return self._clock() - self._began

    def _line(self, cell_id: str, phase: Phase, note: str) -> None:
        text = f"{self._elapsed_s:7.1f} s  {cell_id:<{self._width}}  {phase:<9}  {plain(note)}".rstrip()
        self._console.print(Text(text), soft_wrap=True)


@dataclass(slots=True)
class JsonLines(Sink):
    """A sink: a JSON object per line. `describe` says in a few words what came of a cell.

        {"event": "cells", "cells": ["6.1.192-x86_64", ...]}
        {"event": "progress", "cell": ..., "phase": "booting", "note": ""}
        {"event": "progress", "cell": ..., "phase": "preparing", "note": "fetching ...", "part": 0.25}
        {"event": "result", "cell": ..., "outcome": "ran", "cause": "", "attempts": 1, "timings": {...}, "summary": ...}
        {"event": "differs", "cell": ..., "of": [RUN, ...], "changed": [{"what": ..., "before": ..., "after": ...}]}
        {"event": "finished", "run": ..., "exit": 0, "cells": {"ran": 8}, "claims": {"holds": 1680}}

    Each has `at_s`, seconds since the first. Fields and events are added, never renamed. Each line is out before the
    next thing happens. A run may be executed twice, so its last line is for the command to say.
    """

    describe: Callable[[CellResult], str]
    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    _began: float | None = None

    def began(self, plan: Plan, /) -> None:
        self._say("cells", cells=[order.cell.id for order in plan.orders])

    def progress(self, progress: Progress, /) -> None:
        part = {} if progress.part is None else {"part": round(progress.part, 3)}
        self._say("progress", cell=progress.cell_id, phase=progress.phase, note=progress.note, **part)

    def result(self, result: CellResult, /) -> None:
        known = result.model_dump(mode="json", include={"outcome", "cause", "attempts", "host", "accel", "timings"})
        self._say("result", cell=result.cell.id, **known, **reused_from(result), summary=self.describe(result))
        if again := result.rechecked and result.rechecked.changed:
            of = [it.run for it in result.rechecked.of] if result.rechecked else []
            self._say("differs", cell=result.cell.id, of=of, changed=[one.model_dump() for one in again])

    def exits(self, run_id: str, figures: Totals, status: int) -> None:
        self._say("finished", run=run_id, exit=status, cells=figures.cells, claims=figures.all_verdicts)

    def _say(self, event: str, **fields: object) -> None:
        if self._began is None:
            self._began = self.clock()
        line = {"event": event, "at_s": round(self.clock() - self._began, 3), **fields}
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()
