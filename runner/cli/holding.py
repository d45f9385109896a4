"""Guests that stay open for a look from another terminal."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.engine.machine import Machine
from runner.guest.interface import Accel, Access, BootOrder, Guest
from runner.model import Cell, Image, Kernel
from runner.model.deadline import Deadline

_UNLIMITED_S = 86400  # while a debugger may stop the guest, its silence means nothing


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


def way_in(access: Access, console: Console) -> None:
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
