"""Guests that stay open for a look from another terminal."""

from __future__ import annotations

import os
import queue
import select
import shlex
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.text import Text

from runner.cli.judging import Knowledge
from runner.engine.machine import Machine
from runner.engine.orders import WayIn, WorkerOrders
from runner.guest.interface import Accel, Access, BootOrder, Guest
from runner.model import Cell, CellResult, Image, Kernel, Outcome, Verdict
from runner.model.deadline import Deadline

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class OpenMachine:
    """A machine that calls `before` when a guest is up and was not asked anything yet."""

    real: Machine
    before: Callable[[Guest], None]

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
        with self.real.boot(order, deadline=deadline) as guest:
            self.before(guest)
            yield guest


def unlimited(cell: Cell) -> Cell:
    """The same, with all the time for its questions."""
    limits = cell.limits.model_copy(update={"probe_s": _UNLIMITED_S, "cell_s": _UNLIMITED_S})
    return cell.model_copy(update={"limits": limits})


def way_in(access: Access | WayIn, console: Console) -> None:
    """Print how to get into a guest."""
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
    way_in(guest.access(), console)
    console.print(Text("Enter or Ctrl-C ends it."))
    with suppress(KeyboardInterrupt):
        wait_for_enter()


# --- of a run ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FailureHold:
    """Keeps those guests of a run open in which something failed; each Enter ends the one that was kept first.

    A guest that is kept has its slot. Where nobody can press Enter, guests stay until the run is interrupted.
    """

    knowledge: Knowledge
    console: Console
    gdb: bool = False
    _kept: queue.SimpleQueue[tuple[str, Callable[[], None]]] = field(default_factory=queue.SimpleQueue)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, name="enter", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def orders(self, orders: WorkerOrders) -> WorkerOrders:
        """The same, for guests that a debugger can get into where that was asked for."""
        cells = tuple(order.model_copy(update={"gdb": self.gdb}) for order in orders.orders)
        return orders.model_copy(update={"orders": cells})

    def on_guest(self, run_id: str, result: CellResult, open_at: WayIn | None, release: Callable[[], None]) -> None:
        """Keep it, or let it go. Says so of each cell in which something failed."""
        cell_id = result.cell.id
        again = f"runner cell repro {cell_id} --run {run_id}"
        failing = self._failing(result)
        if not failing and result.outcome in {Outcome.RAN, Outcome.SKIPPED}:
            release()
            return
        if result.outcome is not Outcome.RAN:
            self._say(f"{cell_id}: {result.outcome}, there is no guest to keep")
            return
        for probe in result.crashed:
            self._say(f"{cell_id}: {probe} took its guest down; `{again} --probe {probe} --gdb` asks it again")
        alive = tuple(probe for probe in failing if probe not in result.crashed)
        if not alive or open_at is None:
            release()
            if alive:
                self._say(f"{cell_id}: {', '.join(alive)} failed on {result.host}, where no guest is kept;")
                self._say(f"  `{again} --probe {alive[0]} --hold` boots it on this machine")
            return
        self._say(f"{cell_id}: {', '.join(alive)} failed. Its guest is open:")
        way_in(open_at, self.console)
        self._say("Enter ends it, after those that were kept before it. Ctrl-C ends all of them, and the run.")
        self._kept.put((cell_id, release))

    def _failing(self, result: CellResult) -> tuple[str, ...]:
        """Those whose claim is broken and no known issue, that took the guest down, or that could not be asked."""
        verdicts = self.knowledge.verdicts(result)
        broken = [one.probe for one in verdicts if one.verdict is Verdict.BROKEN and not one.known_issue]
        failed = [seen.probe for seen in result.observations if seen.failed]
        return tuple(dict.fromkeys([*broken, *result.crashed, *failed, *result.unasked]))

    def _say(self, words: str) -> None:
        self.console.print(Text(words), soft_wrap=True)

    def _listen(self) -> None:
        """In a thread of its own. Nothing is read while no guest is kept."""
        while True:
            cell_id, release = self._kept.get()
            if not _next_line(self._over):
                return
            self._say(f"{cell_id}: its guest ends")
            release()


def _next_line(over: threading.Event) -> bool:
    """Wait for Enter. False: nobody is there to press it, or `over` was set.

    Not by sys.stdin: a thread that waits in there keeps Python from ending.
    """
    try:
        descriptor = sys.stdin.fileno()
        if os.isatty(descriptor):
            termios.tcflush(descriptor, termios.TCIFLUSH)  # what was typed before does not count
        while not over.is_set():
            if select.select([descriptor], [], [], _LOOK_EVERY_S)[0]:
                read = os.read(descriptor, 1)
                if read in {b"", b"\n"}:
                    return bool(read)
    except (OSError, ValueError, termios.error):  # it is closed
        pass
    return False
