# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Fake guests and machines: for faults and for scale, never as evidence that something works.

What a fake guest does is named by its cell's kernel name, e.g. `panic-at-boot`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import JsonValue

from runner.caches import cache_root
from runner.engine.fleet import Fleet, this_machine_alone
from runner.engine.plan import CellOrder, Ended, Plan, Progress, RunEnd, Sink
from runner.errors import BootError, GuestLost, GuestSilent, InfraError
from runner.guest.interface import Accel, Access, Booter, BootOrder, Guest
from runner.guest.splats import ConsoleParser
from runner.model import Ask, Cell, CellResult, Image, Kernel, Limits, Splat
from runner.model.cells import Tools
from runner.model.deadline import Deadline
from runner.process import Completed
from runner.results.model import RunHeader
from tests import samples

DIGEST = "0" * 64
TOOLS = Tools(vng="1.42", qemu="QEMU emulator version 7.2.22", accel="tcg", cpu="max", code=DIGEST)
STARTED = datetime(2026, 11, 3, tzinfo=UTC)
CONFIGS = Path(__file__).parent / "data/kernels"  # config-NAME is of the cell NAME
WORK_S = 2.0  # of `work`; twice that where the cache is called `slow`
ENDED = "[    9.9] the guest was ended\n"  # last on its console
GO = "go"  # a file in the cache, for which `until-go` waits
PANIC = "[    9.1] Kernel panic - not syncing: Fatal exception\n"


def asks(count: int = 3) -> tuple[Ask, ...]:
    body: dict[str, JsonValue] = {"object": "conntrack", "program": "tc_alloc"}
    return tuple(Ask(kind="claims", probe=f"claim-{n}:tc", body=body) for n in range(count))


def cell(behaviour: str = "fine", *, arch: str = "x86_64", number: int = 0) -> Cell:
    limits = Limits(boot_s=60 if behaviour.startswith("until-go") else 5, probe_s=5, cell_s=60)
    return samples.cell(samples.pin(f"6.12.{number}", arch), behaviour, limits=limits)


def cell_order(behaviour: str = "fine", *, number: int = 0, count: int = 3) -> CellOrder:
    return CellOrder(cell=cell(behaviour, number=number), asks=asks(count), modules=())


def plan(
    folder: Path, *orders: CellOrder, fleet: Fleet | None = None, machine: str = "tests.fakes:fake_machine"
) -> Plan:
    """A run of these cells on fake guests, by default one at a time on this machine."""
    return Plan(
        run=RunHeader(id="r", started=STARTED, matrix_sha256=DIGEST, runner_version="1"),
        orders=orders,
        payload={"little": {}},
        fleet=fleet or this_machine_alone(1),
        folder=folder,
        machine=machine,
    )


@dataclass
class Told(Sink):
    """A sink that remembers everything."""

    results: list[CellResult] = field(default_factory=list)
    phases: list[Progress] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def began(self, _: Plan, /) -> None:
        self.events.append("began")

    def progress(self, progress: Progress, /) -> None:
        self.events.append("progress")
        self.phases.append(progress)

    def result(self, result: CellResult, /) -> None:
        self.events.append("result")
        self.results.append(result)

    def finished(self, end: RunEnd, /) -> None:
        self.events.append(f"finished {end.ended}")


def told(plan: Plan, sinks: Sequence[Sink], results: Iterable[CellResult], ended: Ended = Ended.COMPLETE) -> RunEnd:
    """In the place of `execute`: these are the results."""
    for sink in sinks:
        sink.began(plan)
    for result in results:
        for sink in sinks:
            sink.result(result)
    end = RunEnd(plan.run.id, ended, 1.0)
    for sink in sinks:
        sink.finished(end)
    return end


@dataclass
class FakeGuest:
    """Answers every claim; misbehaves as its kernel's name says."""

    behaviour: str
    console: Path
    pushed: dict[str, Any] = field(default_factory=dict)
    booted: int = field(init=False)  # length of the console

    def __post_init__(self) -> None:
        self.booted = self.console.stat().st_size if self.console.exists() else 0

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        return Completed(0, "", "")

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        self.pushed = json.loads(files["asks.json"])
        yield json.dumps({"event": "hello", "facts": {"release": "6.12.0-amd64"}, "clock_s": 8.0})
        for number, ask in enumerate(self.pushed["asks"]):
            yield json.dumps({"event": "begin", "probe": ask["probe"]})
            self._misbehave(ask["probe"])
            if self.behaviour == "nonsense" and number == 1:
                yield '{"event": "answer", "probe": "../../etc/passwd"}'
                yield "\x1b[2J\x00\xff not json"
                yield json.dumps({"event": "answer", "probe": ask["probe"], "body": "x"})
            body = {"load_errno": 0, "fields": {"error": -22}}
            yield json.dumps({"event": "answer", "probe": ask["probe"], "body": body})
        if self.behaviour != "ends-early":
            clock_s = 600.0 if self.behaviour == "fast-clock" else 8.0
            yield json.dumps({"event": "end", "asked": len(self.pushed["asks"]), "clock_s": clock_s})

    def _misbehave(self, probe: str) -> None:
        if probe != "claim-1:tc":
            return
        match self.behaviour:
            case "dies-in-probe":
                with self.console.open("a") as file:
                    file.write(PANIC)
                raise BootError("the kernel died: Kernel panic", console_tail=PANIC)
            case "silent-in-probe":
                raise GuestSilent("the guest said nothing for 5 s")
            case "drops-in-probe":
                raise GuestLost("the ssh connection broke")

    def access(self) -> Access:
        return Access(("ssh", "fake"))

    @property
    def begun(self) -> str:
        return said_on(self.console, self.booted).begun

    @property
    def splats(self) -> tuple[Splat, ...]:
        return said_on(self.console, self.booted).splats


def said_on(console: Path, booted: int) -> ConsoleParser:
    """What a kernel and its agent said on a console since the guest had booted."""
    return said(console.read_text()[booted:] if console.exists() else "")


def said(console: str) -> ConsoleParser:
    """What is to be known of such a console."""
    parser = ConsoleParser()
    parser.feed(f"{console}\n")
    return parser


@contextmanager
def fake_boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
    behaviour = order.kernel.pin.source.rpartition("/")[2]
    with order.console.open("a") as file:
        file.write("[    0.0] Linux version 6.12.0\n")
    match behaviour:
        case "panic-at-boot":
            raise BootError("the kernel died while booting: Kernel panic", console_tail=PANIC)
        case "no-root":
            raise BootError("the kernel died while booting: VFS: Unable to mount root fs", console_tail=PANIC)
        case "no-qemu":
            raise InfraError("vng ended with status 1")
        case "slow":
            time.sleep(0.5)
        case "until-go" | "until-go.no-disk-on-birch":
            _await_go(deadline)
        case "work":
            time.sleep(WORK_S * (2 if cache_root().name == "slow" else 1))
    try:
        yield FakeGuest(behaviour, order.console)
    finally:
        with order.console.open("a") as file:
            file.write(ENDED)


def _await_go(deadline: Deadline) -> None:
    while not (cache_root() / GO).exists() and not deadline.expired:
        time.sleep(0.05)


def digests(cell: Cell) -> tuple[str, str]:
    """Of its kernel, which is another one for each version and architecture, and of its image."""
    return hashlib.sha256(f"{cell.kernel.version} {cell.arch}".encode()).hexdigest(), DIGEST


@dataclass(frozen=True)
class FakeMachine:
    name: str = "fake"
    boot: Booter = fake_boot
    scratch: Path = field(default_factory=lambda: cache_root() / "scratch")

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        if cell.name == "no-disk" or cell.name.endswith(f"no-disk-on-{platform.node()}"):
            raise InfraError("no space left on the cache's disk")
        here = PurePosixPath("/nonexistent")
        locked = cell.kernel.model_copy(update={"source": f"fake:{cell.name}/{cell.name}"})
        config = CONFIGS / f"config-{cell.name}"
        kernel = Kernel(pin=locked, sha256=digests(cell)[0], root=here, image=here, config=PurePosixPath(config))
        return kernel, Image(arch=cell.arch, sha256=DIGEST, disk=here, busybox=here)

    def digests(self, cell: Cell) -> tuple[str, str] | None:
        return digests(cell)

    def accel(self, cell: Cell) -> Accel:
        return "tcg"

    def tools(self, cell: Cell) -> Tools:
        return TOOLS


def fake_machine(*, offline: bool) -> FakeMachine:
    return FakeMachine()
