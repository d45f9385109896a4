"""The machines that boot guests for one run, as the scheduling and the sessions see them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.guest.interface import Accel
from runner.model.architecture import ARCHITECTURES

CONNECT_S = 30.0
ASK_S = 180.0
SILENCE_S = 30.0
FAILURES = 3


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that boots guests. `slots` are guests at once of each architecture, if there are no others."""

    name: str
    slots: Mapping[str, int]
    accel: Mapping[str, Accel]
    ssh: str = ""  # what ssh calls it, in the fleet's ssh configuration; empty: this machine
    python: str = ""
    cache: str = ""  # its cache folder, where that is not the usual one

    @property
    def workers(self) -> int:
        return max(self.slots.values())


@dataclass(slots=True)
class Standing:
    """What a run has learnt about its hosts; later rounds know it."""

    aside: dict[str, str] = field(default_factory=dict)  # host -> why
    in_a_row: dict[str, int] = field(default_factory=dict)  # host -> failures since its last answer
    failed: dict[str, set[str]] = field(default_factory=dict)  # cell -> the hosts on which it failed
    ratios: dict[str, list[float]] = field(default_factory=dict)  # host -> seconds taken over seconds expected


@dataclass(frozen=True, slots=True)
class Fleet:
    """All hosts of a run, and when one of them is given up."""

    hosts: tuple[Host, ...]
    ssh_config: Path | None = None
    connect_s: float = CONNECT_S  # until a worker on a host answers
    silence_s: float = SILENCE_S  # a worker that says nothing for longer is dead
    failures: int = FAILURES  # in a row, until a host is set aside
    standing: Standing = field(default_factory=Standing)

    @property
    def slots(self) -> int:
        return sum(host.workers for host in self.hosts)

    @property
    def left(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.name not in self.standing.aside)


def this_machine_alone(slots: int) -> Fleet:
    """Guests on this machine only. How they are accelerated makes no difference then."""
    accel: dict[str, Accel] = dict.fromkeys(ARCHITECTURES, "tcg")
    return Fleet((Host(platform.node(), dict.fromkeys(ARCHITECTURES, slots), accel),))
