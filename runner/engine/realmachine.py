"""The machine that this process runs on: its cache, its accelerator, its guests."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from runner.caches import cache_root
from runner.engine.machine import Machine
from runner.guest.accel import accelerations
from runner.guest.boot import boot
from runner.guest.interface import Accel, Booter
from runner.images import ensure_image
from runner.kernels import ensure_kernel
from runner.model import Cell, Image, Kernel
from runner.model.deadline import Deadline


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
