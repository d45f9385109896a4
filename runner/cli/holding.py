"""Guests that stay open for a look from another terminal."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.caches import cache_root
from runner.cli.earlier import Earlier, earlier_of_run, order_of, payload_of
from runner.cli.judging import Knowledge
from runner.cli.options import Project
from runner.deadline import Deadline
from runner.execution.cellrun import run_cell
from runner.execution.machine import Machine
from runner.execution.orders import Phase
from runner.execution.realmachine import this_machine
from runner.guest.interface import Accel, BootOrder, Guest
from runner.model import Cell, Image, Kernel, Outcome, Verdict
from runner.results.asked import read_asked
from runner.results.model import JudgedCell, JudgedRun

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing


@dataclass(frozen=True, slots=True)
class OpenMachine:
    """A machine that calls `before` when a guest is up, and `after` when all was asked in it and it still lives."""

    real: Machine
    before: Callable[[Guest], None] | None = None
    after: Callable[[Guest], None] | None = None
    gdb: bool = False

    @property
    def name(self) -> str:
        return self.real.name

    @property
    def scratch(self) -> Path:
        return self.real.scratch

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        return self.real.prepare(cell, deadline=deadline)

    def accel(self, cell: Cell) -> Accel:
        return self.real.accel(cell)

    def boot(self, order: BootOrder, *, deadline: Deadline) -> AbstractContextManager[Guest]:
        return self._boot(order, deadline)

    @contextmanager
    def _boot(self, order: BootOrder, deadline: Deadline) -> Iterator[Guest]:
        with self.real.boot(replace(order, gdb=self.gdb), deadline=deadline) as guest:
            if self.before:
                self.before(guest)
            yield guest
            if self.after:
                self.after(guest)


def unlimited(cell: Cell) -> Cell:
    """The same, with all the time for its questions."""
    limits = cell.limits.model_copy(update={"probe_s": _UNLIMITED_S, "cell_s": _UNLIMITED_S})
    return cell.model_copy(update={"limits": limits})


def way_in(guest: Guest, console: Console) -> None:
    """Print how to get into it."""
    access = guest.access()
    console.print(Text(f"  {shlex.join(access.ssh)}"), soft_wrap=True)
    if access.gdb:
        console.print(Text(f"  {shlex.join(access.gdb)}"), soft_wrap=True)


def wait_for_enter() -> None:
    """Return at Enter; where there is nobody to press it, wait for the Ctrl-C."""
    if not sys.stdin.readline():
        while True:
            time.sleep(3600)


def hold(guest: Guest, console: Console, why: str) -> None:
    """Keep a guest open until Enter or Ctrl-C."""
    console.print(Text(f"{why}. The guest is open:"), soft_wrap=True)
    way_in(guest, console)
    console.print(Text("Enter or Ctrl-C ends it."))
    with suppress(KeyboardInterrupt):
        wait_for_enter()


def _quiet(phase: Phase, note: str) -> None:
    """Where a cell is, is not worth a line."""


# --- after a run ---------------------------------------------------------------------------------------------------


def hold_failures(project: Project, knowledge: Knowledge, done: JudgedRun, *, gdb: bool, offline: bool) -> None:
    """One after the other, boot the cells again in which something failed, ask that again, and keep them open."""
    console = Console(stderr=True, highlight=False)
    asked = read_asked(project.reports, done.run.id)
    for cell in done.cells:
        failing = failed_probes(cell)
        if not failing:
            continue
        if cell.result.outcome is not Outcome.RAN:
            console.print(Text(f"{cell.id}: {cell.result.outcome}, there is no guest to keep"), soft_wrap=True)
            continue
        earlier = earlier_of_run(project, knowledge, done, cell, asked)
        _hold_cell(project, earlier, cell, failing, console, gdb=gdb, offline=offline)


def failed_probes(cell: JudgedCell) -> tuple[str, ...]:
    """Those whose claim is broken and no known issue, that took the guest down, or that could not be asked."""
    broken = [claim.probe for claim in cell.claims if claim.verdict is Verdict.BROKEN and not claim.known_issue]
    failed = [seen.probe for seen in cell.result.observations if seen.failed]
    return tuple(dict.fromkeys([*broken, *cell.result.crashed, *failed]))


def _hold_cell(
    project: Project,
    earlier: Earlier,
    cell: JudgedCell,
    failing: tuple[str, ...],
    console: Console,
    *,
    gdb: bool,
    offline: bool,
) -> None:
    safe = [probe for probe in failing if probe not in cell.result.crashed]
    for probe in cell.result.crashed:
        hint = f"`runner cell repro {cell.id} --probe {probe} --gdb` asks it again"
        console.print(Text(f"{cell.id}: {probe} takes the guest down and is not asked; {hint}"), soft_wrap=True)
    order = order_of(earlier)
    order = order.model_copy(update={"asks": tuple(ask for ask in order.asks if ask.probe in safe)})
    words = f"{cell.id}: {', '.join(safe)} asked again" if safe else f"{cell.id}: nothing was asked"
    machine = OpenMachine(this_machine(offline=offline), after=lambda guest: hold(guest, console, words), gdb=gdb)
    deadline = project.limits.deadline("prepare_s")
    payload = payload_of(project, earlier, offline=offline, deadline=deadline).tar
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        result = run_cell(order, payload, machine, Path(folder), _quiet)
    if result.outcome is not Outcome.RAN:
        console.print(Text(f"{cell.id}: {result.outcome}: {result.cause}"), soft_wrap=True)
