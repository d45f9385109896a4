# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The machines that boot guests: what a cell needs of one, the hosts of a run, and what the run has learnt of each."""

from __future__ import annotations

import importlib
import platform
from collections import Counter, deque
from collections.abc import Container, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal, Protocol

from pydantic import Field

from runner.caches import SCRATCH, cache_root
from runner.guest.accel import accelerations, tools_of
from runner.guest.interface import Accel, Booter, BootOrder, Guest
from runner.images import ensure_image, stored_image_sha256
from runner.images.bootfiles import ensure_boot_files
from runner.kernels import ensure_kernel, stored_kernel_sha256
from runner.model import Cell, Image, Kernel, Plain, Seconds
from runner.model.architecture import ARCHITECTURES, architecture
from runner.model.cells import Tools
from runner.model.deadline import Deadline

OUTPUT_BEGINS = "runner-output-begins"  # printed on a host before a command: its shell may have printed something
_REMEMBERED = 8  # cells of a host, for its speed


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that boots guests. `slots` are concurrent guests of each architecture, if there are no others."""

    name: str
    slots: Mapping[str, int]
    accel: Mapping[str, Accel]
    ssh: str = ""  # what ssh calls it; empty: this machine
    ssh_config: Path | None = None
    python: str = ""
    tools: Mapping[str, Tools] = field(default_factory=dict)  # by architecture, of another machine
    cache: str = ""  # its cache folder, where that is not the usual one

    @property
    def workers(self) -> int:
        return max(self.slots.values())


class HostLimits(Plain):
    """When a host is no longer waited for."""

    connect_s: Annotated[Seconds, Field(description="until the ssh login succeeds, and until Python starts there")] = (
        30.0
    )
    ask_s: Annotated[Seconds, Field(description="until a query of a host ends")] = 180.0
    silence_s: Annotated[Seconds, Field(ge=5, description="a worker that is silent for longer is dead")] = 30.0
    failures: Annotated[int, Field(ge=1, le=100, description="in a row, until a host gets no more cells")] = 3

    def deadline(self, limit: Literal["connect_s", "ask_s"]) -> Deadline:
        """When a wait that begins now must be over."""
        seconds: float = getattr(self, limit)
        return Deadline.after(seconds, limit)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All hosts of a run, and when one of them is given up."""

    hosts: tuple[Host, ...]
    limits: HostLimits = field(default_factory=HostLimits)

    @property
    def slots(self) -> int:
        return sum(host.workers for host in self.hosts)


def this_machine_alone(slots: int) -> Fleet:
    """Guests on this machine only. How they are accelerated makes no difference then."""
    accel: dict[str, Accel] = dict.fromkeys(ARCHITECTURES, "tcg")
    return Fleet((Host(platform.node(), dict.fromkeys(ARCHITECTURES, slots), accel),))


@dataclass(slots=True)
class FleetHealth:
    """What one execution has learnt about the hosts of a fleet."""

    fleet: Fleet
    aside: dict[str, str] = field(default_factory=dict)  # host -> why
    in_a_row: Counter[str] = field(default_factory=Counter)  # host -> failures since its last answer
    failed_on: dict[str, set[str]] = field(default_factory=dict)  # cell -> the hosts on which it failed
    ratios: dict[str, deque[float]] = field(default_factory=dict)  # host -> seconds taken over seconds expected

    @property
    def left(self) -> tuple[Host, ...]:
        return tuple(host for host in self.fleet.hosts if host.name not in self.aside)

    def answered(self, name: str) -> None:
        del self.in_a_row[name]

    def failed(self, name: str, why: str, *, cell_id: str = "") -> bool:
        """True when the host is set aside now: after several failures in a row, while others can do its work."""
        self.in_a_row[name] += 1
        if cell_id:
            self.failed_on.setdefault(cell_id, set()).add(name)
        if name in self.aside or not self.worn_out(name):
            return False
        elsewhere = {arch for host in self.left if host.name != name for arch in host.slots}
        if any(host.name == name and not host.slots.keys() <= elsewhere for host in self.left):
            return False
        self.aside[name] = why
        return True

    def worn_out(self, name: str) -> bool:
        return self.in_a_row[name] >= self.fleet.limits.failures

    def avoided(self, cell_id: str, arch: str, name: str, hopeful: Container[str]) -> bool:
        """A host on which a cell failed gets it again only when no other host can run it, now or soon."""
        failed = self.failed_on.get(cell_id, set())
        if name not in failed:
            return False
        others = (host for host in self.left if host.name in hopeful and host.name not in failed)
        return any(arch in host.slots for host in others)

    def learn(self, name: str, ratio: float) -> None:
        self.ratios.setdefault(name, deque(maxlen=_REMEMBERED)).append(ratio)

    def slowness(self, name: str) -> float:
        """1 until something is known."""
        return fmean(self.ratios.get(name, (1.0,)))


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
        from runner.guest.opening import open_guest  # noqa: PLC0415  late: it brings paramiko, which takes 17 MiB

        if order.root == "disk":
            made_of = order.kernel, order.image, self.cache
            files = partial(ensure_boot_files, *made_of, cmdline=order.cmdline, deadline=deadline)
            order = replace(order, make_files=files)
        return open_guest(order, deadline=deadline)

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
