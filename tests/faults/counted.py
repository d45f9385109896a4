# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A fake machine that writes down what its guests are asked, and is made of what a file in its cache says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runner.caches import cache_root
from runner.errors import InfraError
from runner.guest.interface import BootOrder, Guest
from runner.model import Cell, Image, Kernel
from runner.model.cells import Tools
from runner.model.deadline import Deadline
from tests import fakes
from tests.faults import machine
from tests.faults.fakevng import STARTS

# {"kernels": {release: sha256}, "image": sha256, "tools": {...}}; `prepared` are kernels that turn out to be others,
# `uncached` ones are to be prepared first, a `broken` machine prepares none, and `answers` are other ones, by probe
MADE_OF = "machine.json"
ASKED = "asked.jsonl"  # a line for each guest: [release, [probe, ...]]


def made_of() -> dict[str, Any]:
    file = cache_root() / MADE_OF
    said: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return said


def asked() -> list[tuple[str, list[str]]]:
    """What each guest was asked since the last time."""
    file = cache_root() / ASKED
    found = [(str(release), list(probes)) for release, probes in map(json.loads, file.read_text().splitlines())]
    file.write_text("")
    return sorted(found, key=lambda it: it[0])


@dataclass
class CountedGuest(machine.ReplayingGuest):
    release: str = ""

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        other = made_of().get("answers", {})
        mine = [ask["probe"] for ask in json.loads(files["asks.json"])["asks"]]
        with (cache_root() / ASKED).open("a") as file:
            file.write(json.dumps([self.release, mine]) + "\n")
        for line in super().ask(files, silence=silence, deadline=deadline):
            event = json.loads(line) if other else {}
            body = other.get(event.get("probe")) if event.get("event") == "answer" else None
            yield json.dumps({**event, "body": body}) if body else line


@contextmanager
def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
    pin = order.kernel.pin
    with order.console.open("a") as file:
        file.write(STARTS)
    behaviour = machine.acts(pin.source.rpartition("/")[2], order.console)
    machine.AT_BOOT.get(behaviour, bool)()
    yield CountedGuest(behaviour, order.console, release=pin.release)


@dataclass(frozen=True)
class CountedMachine(fakes.FakeMachine):
    def digests(self, cell: Cell) -> tuple[str, str] | None:
        return None if made_of().get("uncached") else self.made(cell)

    def made(self, cell: Cell) -> tuple[str, str]:
        said, (kernel, image) = made_of(), fakes.digests(cell)
        return said.get("kernels", {}).get(cell.kernel.release, kernel), said.get("image", image)

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        kernel, image = super().prepare(cell, deadline=deadline)
        digests, said = self.made(cell), made_of()
        if said.get("broken"):
            raise InfraError("no space left on the cache's disk")
        digests = said.get("prepared", {}).get(cell.kernel.release, digests[0]), digests[1]
        return kernel.model_copy(update={"sha256": digests[0]}), image.model_copy(update={"sha256": digests[1]})

    def tools(self, cell: Cell) -> Tools:
        return fakes.TOOLS.model_copy(update=made_of().get("tools", {}))


def counted(*, offline: bool) -> CountedMachine:
    return CountedMachine(boot=boot)
