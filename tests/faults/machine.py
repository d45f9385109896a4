# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A fake machine whose guests say what a real kernel said, and fail as their kernel's name in the matrix tells.

`NAME` and `NAME.7` fail whenever their cells are run, `NAME-once` only in its first attempt.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest.interface import Access, BootOrder, Guest
from runner.model import Cell, Image, Kernel, Splat
from runner.model.deadline import Deadline
from runner.process import Completed
from tests import fakes
from tests.faults import recorded
from tests.faults.fakevng import PANIC, STARTS, TROUBLE

ONCE = "-once"
SLOW_S = 0.4


def kill_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_worker() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


AT_PREPARE: dict[str, Callable[[], None]] = {
    "full-disk": raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/kernels")),
    "no-network": raising(InfraError("the download failed twice: linux-image did not come")),
    "bug": raising(ZeroDivisionError("a mistake of ours")),
    "broken-disk": raising(OSError(errno.EIO, os.strerror(errno.EIO), "/cache/kernels")),
}
AT_BOOT: dict[str, Callable[[], None]] = {
    "boot-panics": raising(BootError("the kernel died while booting: Kernel panic", console_tail=PANIC)),
    "boot-hangs": raising(BootError("no answer over ssh within boot_s of 120 s", console_tail=STARTS)),
    "boot-silent": raising(InfraError("the console stayed empty for boot_s of 120 s")),
    "boot-killed": raising(GuestLost("qemu ended while the kernel booted, and the console shows no reason")),
}
IN_PROBE: dict[str, Callable[[], None]] = {
    "panics": raising(BootError("the kernel died: Kernel panic - not syncing: x", console_tail=PANIC)),
    "silent": raising(GuestSilent("the guest sent no output within probe_s of 30 s")),
    "lockup": raising(GuestSilent(f"the kernel hangs: {TROUBLE['lockup'].strip()}; the guest said nothing")),
    "drops": raising(GuestLost("the ssh connection broke")),
    "qemu-killed": raising(GuestLost("qemu ended, and the console shows no reason")),
    "qemu-stopped": raising(GuestLost("qemu was stopped: the guest sent no output within probe_s of 30 s")),
    "kills-worker": kill_worker,
    "stops-worker": stop_worker,
    "slow": lambda: time.sleep(SLOW_S),
}
AGENT = ("ends-early", "nonsense")


def acts(name: str, console: Path) -> str:
    """What goes wrong this time: nothing, in the second attempt of one that fails once."""
    behaviour = name.partition(".")[0]
    if not behaviour.endswith(ONCE):
        return behaviour
    return "fine" if console.name != "console.log" else behaviour.removesuffix(ONCE)


@dataclass
class ReplayingGuest:
    """Answers as a real guest did."""

    behaviour: str
    console: Path
    asks: list[dict[str, Any]] = field(default_factory=list)
    booted: int = field(init=False)  # length of the console

    def __post_init__(self) -> None:
        self.booted = self.console.stat().st_size

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        return Completed(0, "", "")

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        self.asks = json.loads(files["asks.json"])["asks"]
        yield recorded.hello()
        for ask in self.asks:
            announced, *answer = recorded.answers(ask["probe"])
            yield announced
            if ask["probe"] == recorded.FAULTY:
                IN_PROBE.get(self.behaviour, bool)()
                if self.behaviour == "ends-early":
                    return
                if self.behaviour == "nonsense":
                    yield '{"event": "answer", "probe": "alloc-udp:xdp", "body": "none of yours"}'
                    yield "\x00\x1b[2J"
            yield from answer
        yield recorded.end(ask["probe"] for ask in self.asks)

    def access(self) -> Access:
        raise NotImplementedError

    @property
    def begun(self) -> str:
        return fakes.said_on(self.console, self.booted).begun

    @property
    def splats(self) -> tuple[Splat, ...]:
        return fakes.said_on(self.console, self.booted).splats


@contextmanager
def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
    behaviour = acts(order.kernel.pin.source.rpartition("/")[2], order.console)
    with order.console.open("a") as file:
        file.write(STARTS)
    AT_BOOT.get(behaviour, bool)()
    yield ReplayingGuest(behaviour, order.console)


@dataclass(frozen=True)
class DisturbedMachine(fakes.FakeMachine):
    """Every cell's name in the matrix is what it does."""

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        AT_PREPARE.get(cell.name.partition(".")[0], bool)()
        return super().prepare(cell, deadline=deadline)


def disturbed(*, offline: bool) -> DisturbedMachine:
    return DisturbedMachine(boot=boot)
