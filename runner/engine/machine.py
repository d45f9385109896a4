# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What running a cell needs of a machine. A fake one is anything that has these."""

from __future__ import annotations

import importlib
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from runner.caches import SCRATCH, cache_root
from runner.guest.accel import accelerations
from runner.guest.interface import Accel, Booter, BootOrder, Guest
from runner.guest.tools import tools_of
from runner.images import ensure_image, stored_image_sha256
from runner.images.bootfiles import ensure_boot_files
from runner.kernels import ensure_kernel, stored_kernel_sha256
from runner.model import Cell, Image, Kernel
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.guestkey import Tools


class Machine(Protocol):
    """What running a cell needs of a machine."""

    @property
    def name(self) -> str: ...

    @property
    def scratch(self) -> Path: ...

    @property
    def boot(self) -> Booter: ...

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        """The kernel and the image, verified, in this machine's cache. Raises InfraError when they cannot be had."""

    def digests(self, cell: Cell) -> tuple[str, str] | None:
        """What `prepare` would give: the `sha256` of both; None unless both are in the cache. Reads no file of them."""

    def accel(self, cell: Cell) -> Accel: ...

    def tools(self, cell: Cell) -> Tools:
        """What boots the cell here. Raises InfraError when that is not installed."""


def machine_by_name(spec: str, *, offline: bool) -> Machine:
    """`module:function` called. The names come from the controller's own code and tests, never from a file."""
    module, _, function = spec.partition(":")
    machine: Machine = getattr(importlib.import_module(module), function)(offline=offline)
    return machine


@dataclass(frozen=True, slots=True)
class RealMachine:
    """A machine that boots guests under qemu."""

    name: str
    cache: Path
    offline: bool

    @property
    def scratch(self) -> Path:
        return self.cache / SCRATCH

    def boot(self, order: BootOrder, *, deadline: Deadline) -> AbstractContextManager[Guest]:
        from runner.guest.snapshot import open_guest  # noqa: PLC0415  late: it brings paramiko, which takes 17 MiB

        def prepared(order: BootOrder) -> BootOrder:
            if order.root != "disk":
                return order
            words = order.cmdline
            files = ensure_boot_files(order.kernel, order.image, self.cache, cmdline=words, deadline=deadline)
            return replace(order, files=files)

        return open_guest(order, deadline=deadline, prepared=prepared)

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        kernel = ensure_kernel(cell.kernel, self.cache, deadline=deadline, offline=self.offline)
        image = ensure_image(cell.image, self.cache, deadline=deadline, offline=self.offline)
        return kernel, image

    def digests(self, cell: Cell) -> tuple[str, str] | None:
        kernel, image = stored_kernel_sha256(cell.kernel, self.cache), stored_image_sha256(cell.image, self.cache)
        return (kernel, image) if kernel and image else None

    def accel(self, cell: Cell) -> Accel:
        found = accelerations(deadline=cell.limits.deadline("prepare_s"))
        return found.get(cell.arch, "tcg")

    def tools(self, cell: Cell) -> Tools:
        return tools_of(architecture(cell.arch), self.accel(cell), deadline=cell.limits.deadline("prepare_s"))


def this_machine(*, offline: bool) -> Machine:
    """The machine that this process runs on."""
    return RealMachine(name=platform.node(), cache=cache_root(), offline=offline)
