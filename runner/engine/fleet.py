# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The machines that boot guests for one run, and what the run has learnt about each."""

from __future__ import annotations

import platform
from collections import Counter, deque
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from runner.guest.interface import Accel
from runner.model.architecture import ARCHITECTURES
from runner.model.guestkey import Tools

CONNECT_S = 30.0
ASK_S = 180.0
SILENCE_S = 30.0
FAILURES = 3
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


@dataclass(frozen=True, slots=True)
class Fleet:
    """All hosts of a run, and when one of them is given up."""

    hosts: tuple[Host, ...]
    connect_s: float = CONNECT_S  # until a worker on a host answers
    silence_s: float = SILENCE_S  # a worker without a heartbeat for longer is dead
    failures: int = FAILURES  # in a row, until a host is set aside

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
        return self.in_a_row[name] >= self.fleet.failures

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
