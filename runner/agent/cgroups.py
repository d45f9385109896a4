# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Cgroups of version 2: what a command and all that it starts may take, and what the kernel charges to an object."""

from __future__ import annotations

import os
from time import monotonic, sleep

from . import NoAnswer
from .guest import read, try_write, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "/sys/fs/cgroup"
MOST_PROCESSES = 2048
SPARE = 64 << 20  # bytes of what is available that are left to the agent and the ssh server
_COMMAND = f"{ROOT}/command"
_GONE_S = 120
_SIGKILL = 9


class CommandGroup:
    """A command's, by its folder: the command has another /sys. Where there is none, the guest's size is its limit."""

    def __init__(self) -> None:
        """Raises NoAnswer when the last command's is still there: what does not even die would disturb this one."""
        for controller in ("memory", "pids"):
            try_write(f"{ROOT}/cgroup.subtree_control", f"+{controller}")
        self._folder = -1
        try:
            os.mkdir(_COMMAND)
            self._folder = os.open(_COMMAND, os.O_RDONLY | os.O_DIRECTORY)
        except FileExistsError:
            raise NoAnswer("what an earlier command of this guest started does not end") from None
        except OSError:
            return
        try_write(f"{_COMMAND}/pids.max", str(MOST_PROCESSES))
        # Not of all: the kernel's reserve is none of it, and at that the agent's own pages are what it drops.
        total, available = (int(read("/proc/meminfo").split()[at]) << 10 for at in (1, 7))
        try_write(f"{_COMMAND}/memory.max", str(max(available - SPARE, total // 2)))

    def enter(self) -> bool:
        """Put this process into it, where there is one. Raises OSError."""
        if self._folder >= 0:
            os.write(os.open("cgroup.procs", os.O_WRONLY, dir_fd=self._folder), b"0")
        return self._folder >= 0

    def kill(self, child: int) -> None:
        """The command's process, and everything that it started."""
        try:
            os.write(os.open("cgroup.kill", os.O_WRONLY, dir_fd=self._folder), b"1")
        except OSError:  # before v5.14, or without a cgroup: as far as it is of one session
            try:
                os.killpg(child, _SIGKILL)
            except ProcessLookupError:
                return

    def count(self, name: str, word: str) -> int:
        """What a file of it says behind a word."""
        try:
            with open(os.open(name, os.O_RDONLY, dir_fd=self._folder), encoding="ascii") as file:
                counts = dict(line.split() for line in file)
        except OSError:
            return 0
        return int(counts.get(word, 0))


def end_command(beat: Callable[[], None]) -> None:
    """End what is left of a command. Outside of its namespaces: in them there is another /sys.

    Under emulation thousands of processes take half a minute to go.
    """
    try_write(f"{_COMMAND}/cgroup.kill", "1")
    begun = monotonic()
    while (now := monotonic()) < begun + _GONE_S:
        try:
            os.rmdir(_COMMAND)
        except FileNotFoundError:
            return
        except OSError:
            sleep(0.2 if now - begun > 1 else 0.05)
        else:
            return
        beat()


class Memory:
    """What the kernel charges to this process between `enter` and `leave`, at its peak: by a cgroup of its own."""

    def __init__(self, cgroups: str = ROOT) -> None:
        self._cgroups, self._mine, self._entered = cgroups, os.path.join(cgroups, "runner"), False

    def enter(self) -> None:
        """Nothing where there is no cgroup2 with the memory controller."""
        if self._entered:
            return
        self._entered = True
        try:
            write(os.path.join(self._cgroups, "cgroup.subtree_control"), "+memory")
            os.mkdir(self._mine)
            write(os.path.join(self._mine, "cgroup.procs"), "0")
        except OSError:  # it then has no peak
            pass

    def leave(self) -> int | None:
        """MiB; None before v5.19, and where it could not be counted."""
        if not self._entered:
            return None
        peak = read(os.path.join(self._mine, "memory.peak"))
        try:
            write(os.path.join(self._cgroups, "cgroup.procs"), "0")
            os.rmdir(self._mine)
        except OSError:
            pass
        return int(peak) >> 20 if peak else None
