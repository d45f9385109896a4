"""What running a cell needs of the machine that it runs on: its cache, its accelerator, its guests."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.caches import cache_root
from runner.guest.accel import accelerations
from runner.guest.boot import boot
from runner.guest.interface import Accel, Booter
from runner.images import ensure_image
from runner.kernels import ensure_kernel
from runner.model import Cell, Image, Kernel
from runner.model.deadline import Deadline


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

    def accel(self, cell: Cell) -> Accel: ...


class MakeMachine(Protocol):
    """Makes the machine of this process."""

    def __call__(self, *, offline: bool) -> Machine: ...


def machine_by_name(spec: str, *, offline: bool) -> Machine:
    """`module:function` called. The names come from the controller's own code and tests, never from a file."""
    module, _, function = spec.partition(":")
    make: MakeMachine = getattr(importlib.import_module(module), function)
    return make(offline=offline)


@dataclass(frozen=True, slots=True)
class RealMachine:
    """A machine that boots guests under qemu."""

    name: str
    cache: Path
    offline: bool
    boot: Booter

    @property
    def scratch(self) -> Path:
        return self.cache / "scratch"

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        kernel = ensure_kernel(cell.kernel, self.cache, deadline=deadline, offline=self.offline)
        image = ensure_image(cell.image, self.cache, deadline=deadline, offline=self.offline)
        return kernel, image

    def accel(self, cell: Cell) -> Accel:
        found = accelerations(deadline=cell.limits.deadline("prepare_s"))
        return found.get(cell.arch, "tcg")


def this_machine(*, offline: bool) -> Machine:
    """The machine that this process runs on."""
    return RealMachine(name=platform.node(), cache=cache_root(), offline=offline, boot=boot)
