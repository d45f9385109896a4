"""What running a cell needs of the machine that it runs on."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

from runner.guest.interface import Accel, Booter
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
        """The kernel and the image, verified, in this machine's cache. InfraError when they cannot be had."""

    def accel(self, cell: Cell) -> Accel: ...


class MakeMachine(Protocol):
    """Makes the machine of this process."""

    def __call__(self, *, offline: bool) -> Machine: ...


def machine_by_name(spec: str, *, offline: bool) -> Machine:
    """`module:function` called. The names come from the controller's own code and tests, never from a file."""
    module, _, function = spec.partition(":")
    make: MakeMachine = getattr(importlib.import_module(module), function)
    return make(offline=offline)
