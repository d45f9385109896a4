"""What commands that boot guests share: the fleet of --hosts and -n, and how they end at once."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.cli import EXIT_INTERRUPTED
from runner.engine.fleet import Fleet, this_machine_alone
from runner.engine.interrupts import handled, signal_workers
from runner.errors import UserError
from runner.guest.accel import accelerations, host_cpus, host_memory_mib
from runner.guest.accel import slots as slots_for
from runner.guest.interface import Guest
from runner.model import Cell, GuestSize
from runner.text import printable

_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def fleet_of(file: Path | None, slots: int | None, cells: Sequence[Cell], console: Console) -> Iterator[Fleet]:
    """Without a file this machine alone. Prints which hosts take part, and why others do not. InfraError: none does."""
    if file is None:
        yield this_machine_alone(slots or default_slots(cells))
        return
    # late: they bring paramiko, which takes 17 MiB
    from runner.hosts.health import usable_fleet  # noqa: PLC0415
    from runner.hosts.hostsfile import load_hosts  # noqa: PLC0415

    if slots is not None:
        raise UserError("-n is for this machine alone", hint=f"{file} says how many slots each host has")
    with usable_fleet(load_hosts(file), largest_guest(cells)) as (fleet, errors):
        for host in fleet.hosts:
            guests = ", ".join(f"{number} {arch} ({host.accel[arch]})" for arch, number in host.slots.items())
            console.print(Text(f"host {host.name}: {guests} concurrent guests"), soft_wrap=True)
        for error in errors:
            console.print(Text(f"host left out: {printable(str(error))}", style="yellow"), soft_wrap=True)
        yield fleet


def largest_guest(cells: Sequence[Cell]) -> GuestSize:
    """The one that counts for what a machine can run."""
    return max((cell.guest for cell in cells), key=lambda guest: (guest.memory_mib, guest.cpus))


def default_slots(cells: Sequence[Cell]) -> int:
    """What this machine can run."""
    accel = accelerations(deadline=cells[0].limits.deadline("prepare_s"))
    emulated = any(accel.get(cell.arch, "tcg") == "tcg" for cell in cells)
    return slots_for(host_cpus(), host_memory_mib(), largest_guest(cells), "tcg" if emulated else "kvm")


def way_in(guest: Guest, console: Console) -> None:
    """Print the commands that enter a guest from another terminal."""
    access = guest.access()
    for command in (access.ssh, access.gdb):
        if command:
            console.print(Text(f"  {shlex.join(command)}"), soft_wrap=True)


def stoppable() -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and SIGHUP: the first one is a KeyboardInterrupt, the second one ends the process at once."""
    return handled(_end_at_once)


def _end_at_once() -> None:
    """Guests go with their supervisors, which see that whoever started them is gone."""
    if sys.stdout.isatty():
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"ended at once; `runner matrix run --resume` boots the cells without a result\n")
    signal_workers(signal.SIGKILL)
    os._exit(EXIT_INTERRUPTED)
