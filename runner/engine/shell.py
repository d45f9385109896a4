# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Opens a shell in a guest: a plain one, or one where a probe's command would run, with its files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from runner.caches import cache_root
from runner.engine.cellrun import boot_order, showing, warmed
from runner.engine.machine import Machine
from runner.engine.plan import CellOrder, Files, payload, payloads
from runner.errors import UserError
from runner.guest.boot import SHELL, push
from runner.guest.interface import Guest
from runner.model import Ask, Cell
from runner.model.architecture import architecture
from runner.probes import Expectations
from runner.process import own_folder

_SSH_BROKE = 255  # ssh(1)


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell in a guest of `cell`; with an `ask` where that would run."""

    cell: Cell
    expectations: Expectations
    ask: Ask | None
    gdb: bool
    snapshot: bool
    offline: bool

    def run(self, machine: Machine, say: Callable[[str], None], opened: Callable[[Guest], None]) -> None:
        """Boot the guest and stay until the shell ends; `opened` is told of the guest before it begins.

        Raises UserError when the kernel cannot be booted, and what the guest raises.
        """
        with own_folder(machine.scratch, "cell-", end_s=self.cell.limits.end_s) as folder:
            files = self._files()
            order, able = boot_order(self.cell, files, machine, folder.path / "console.log", gdb=self.gdb)
            if why := able.cannot_boot():
                raise UserError(f"{self.cell.id} cannot be booted: {why}")
            order, files = showing(order, able, filter(None, (self.ask,)), files)
            if self.snapshot:
                asked = CellOrder(cell=self.cell, asks=(), modules=self.expectations.modules)
                order = warmed(asked, order, files, machine, say)
            say(f"starting {self.cell.id} ({order.accel}); `exit` ends the guest")
            with machine.boot(order, deadline=self.cell.limits.deadline("boot_s")) as guest:
                opened(guest)
                if subprocess.run(self._way(guest, files), check=False).returncode == _SSH_BROKE:
                    guest.run("true", deadline=self.cell.limits.deadline("probe_s"))  # raises why

    def _files(self) -> Files:
        limit, cache = self.cell.limits.deadline("prepare_s"), cache_root()
        if self.ask is None:
            return payload(self.cell.image, {}, cache, offline=self.offline, deadline=limit)
        made = payloads((self.cell,), self.expectations, cache=cache, offline=self.offline, deadline=limit)
        return made[architecture(self.cell.arch).byte_order]

    def _way(self, guest: Guest, files: Files) -> tuple[str, ...]:
        """The ssh command."""
        way = guest.access().ssh
        if self.ask is None:
            return way
        document = {"modules": self.expectations.modules, "asks": [self.ask.model_dump(mode="json")], "trace": False}
        asks = {"asks.json": json.dumps(document).encode()}
        push(guest, {**files, **asks}, deadline=self.cell.limits.deadline("cell_s"))
        return (*way[:-1], *(["-t"] if sys.stdin.isatty() else []), way[-1], SHELL.format(kind=self.ask.kind))
