# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is to be run, who is told of it, and how it travels to the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Self

from pydantic import ConfigDict
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, frame_content_size

from runner.engine.fleet import Fleet
from runner.engine.keptanswers import KeptAnswers
from runner.errors import UserError
from runner.guest.interface import Guest
from runner.images import ensure_bytecode
from runner.model import NETWORK_TYPES, Ask, AskedCell, Cell, CellResult, ImagePin, Plain, ProgType, SafeName, Sha256
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.probes import Expectations, compile_objects
from runner.results.model import RunHeader
from runner.results.packed import answer_line, answer_of
from runner.text import nearest

ORDERS_KEY = "runner_orders"  # WorkerOrders, packed, in xdist's workerinput
HEARTBEAT_KEY = "runner_heartbeat"  # an execnet channel, there too
DELIVERY_KEY = "runner_delivery"  # Delivery, packed, a user property of a report
MAX_BYTES = 1 << 29  # far above a cell with the longest console
_QUICK = 1  # of zstd's levels


class Phase(StrEnum):
    """Where a cell is."""

    WAITING = "waiting"
    PREPARING = "preparing"
    BOOTING = "booting"
    PROBING = "probing"
    DONE = "done"


class Sent(Plain):
    """Travels as JSON, compressed: a result is then some 30 KiB, and those of all workers may come at once."""

    def packed(self) -> bytes:
        return ZstdCompressor(_QUICK).compress(self.text())

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Raises ValueError when it is none."""
        try:
            if not 0 <= frame_content_size(data) <= MAX_BYTES:  # it is allocated as the data says
                raise ValueError(f"it is longer than {MAX_BYTES} bytes")
            text = ZstdDecompressor().decompress(data, allow_extra_data=False)
        except ZstdError as error:
            raise ValueError(str(error)) from error
        return cls.read(text)

    def text(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The other way round. Raises ValueError."""
        return cls.model_validate_json(text)


class KnownProbes(Plain):
    """Probes that are not asked when the guest is this one: their answers are kept."""

    guest: Sha256  # digest of its GuestKey
    probes: tuple[str, ...]


class CellOrder(Plain):
    """One cell and what is to be asked in it."""

    cell: Cell
    asks: tuple[Ask, ...]
    modules: tuple[SafeName, ...]  # to load before the first ask
    attempt: int = 1
    trace: bool = False  # of every probe
    gdb: bool = False  # a debugger can be attached to the guest
    known: KnownProbes | None = None
    snapshot: bool = False  # its first attempt may start from a snapshot, or make one


ATTEMPTS = 2  # of a cell that was lost or did not boot


def attempts(orders: Iterable[CellOrder]) -> Iterator[CellOrder]:
    """Each order, and the same for its repetition."""
    for order in orders:
        for number in range(ATTEMPTS):
            yield order.model_copy(update={"attempt": order.attempt + number}) if number else order


Files = Mapping[str, bytes]  # by name


class WorkerOrders(Sent):
    """Everything that a worker needs. `payload` holds, for each byte order, the agent and the BPF objects."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    orders: tuple[CellOrder, ...]
    payload: dict[str, dict[str, bytes]]
    folder: str  # the run's folder; consoles are written below it while they speak. Empty: on another machine
    silence_s: float | None = None  # a worker of another machine that is not asked for so long ends itself
    offline: bool = False
    verbose: bool = False  # the workers say which commands they run
    machine: str


class Progress(Plain):
    """A cell entered a phase, or a step of one, or came further in it."""

    cell_id: str
    phase: Phase
    note: str = ""
    part: float | None = None  # of the step that `note` names, from 0 to 1


class Delivery(Sent):
    """What a worker sends with a report: progress or a result.

    Each answer has a line of its own: one that came before, of whatever cell, is not validated again.
    """

    progress: Progress | None = None
    result: CellResult | None = None

    def text(self) -> bytes:
        head = self.model_dump_json(exclude={"result": {"answers"}}).encode()
        return b"\n".join([head, *map(answer_line, self.result.answers if self.result else ())])

    @classmethod
    def read(cls, text: bytes) -> Self:
        lines = BytesIO(text)
        delivery = cls.model_validate_json(lines.readline())
        if (result := delivery.result) is None:
            return delivery
        return delivery.model_copy(update={"result": result.model_copy(update={"answers": (*map(answer_of, lines),)})})


THIS_MACHINE = "runner.engine.fleet:this_machine"


@dataclass(frozen=True, slots=True)
class Plan:
    """Cells of one run, or of a part of it, with all that is needed to run them. Pure data.

    `payload` holds, for each byte order, the agent and the BPF objects. Consoles are written below `folder` while the
    guests run. `known_s` are the seconds that cells took earlier.
    """

    run: RunHeader
    orders: tuple[CellOrder, ...]
    payload: Mapping[str, Files]
    fleet: Fleet
    folder: Path
    known_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by cell, then acceleration
    kept: Mapping[str, KeptAnswers] = field(default_factory=dict)  # by the cell's id
    offline: bool = False
    machine: str = THIS_MACHINE  # module:function, see machine_by_name; another one is a fake

    @property
    def unbooted(self) -> frozenset[str]:
        """The ids of cells of which nothing is left to ask."""
        return frozenset(cell_id for cell_id, it in self.kept.items() if it.instead)


@dataclass(frozen=True, slots=True)
class OpenGuests:
    """Who is given the open guest: `before` it was asked anything, and `after` it was asked everything."""

    before: Callable[[Guest], None] = lambda _: None
    after: Callable[[Guest], None] = lambda _: None


class Ended(StrEnum):
    """How an execution ended."""

    COMPLETE = "complete"  # every cell has a result
    INTERRUPTED = "interrupted"
    FAILED = "failed"  # an exception goes to the caller


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of one execution. `ran_s` is its own duration: a run that is resumed is executed several times."""

    run_id: str
    ended: Ended
    ran_s: float

    @property
    def complete(self) -> bool:
        return self.ended is Ended.COMPLETE


class Sink:
    """Is told of everything, in the caller's thread: `began` first, `finished` last, also after an exception."""

    def began(self, plan: Plan, /) -> None:
        """Before the first cell."""

    def progress(self, progress: Progress, /) -> None:
        """A cell entered a phase."""

    def result(self, result: CellResult, /) -> None:
        """A cell is done, or will be repeated."""

    def finished(self, end: RunEnd, /) -> None:
        """Nothing is run any more."""


@dataclass(frozen=True)
class ResultSink(Sink):
    """A sink for results alone."""

    take: Callable[[CellResult], None]

    def result(self, result: CellResult, /) -> None:
        self.take(result)


_AGENT = Path(__file__).parents[1] / "agent"
AGENT = "agent/"  # begins the names of its files in a payload


def cell_orders(
    cells: Iterable[Cell], expectations: Expectations, prog_types: tuple[ProgType, ...] = NETWORK_TYPES
) -> Iterator[CellOrder]:
    """Every cell with its asks."""

    @cache
    def asked(probes: tuple[str, ...], version: KernelVersion | None) -> tuple[tuple[Ask, ...], tuple[str, ...]]:
        mine = expectations.of_files(probes)
        return mine.asks(version, prog_types), mine.modules

    for cell in cells:
        asks, modules = asked(cell.probes, cell.kernel.judged_as)
        yield CellOrder(cell=cell, asks=asks, modules=modules)


def order_again(cell: Cell, asked: AskedCell, probe: str = "", *, trace: bool = False) -> CellOrder:
    """Everything that was asked, one probe, or PROBE/ITEM: that item alone, where it can be asked alone.

    Raises UserError, naming the nearest, when that was not asked.
    """
    mine = tuple(ask for ask in asked.asks if not probe or ask.probe == probe)
    if not mine:
        whole, _, item = probe.partition("/")
        mine = tuple(
            ask.model_copy(update={"only": item}) if ask.items else ask
            for ask in asked.asks
            if item and ask.probe == whole
        )
    if not mine:
        otherwise = f"`runner cell show {cell.id}` lists what it was asked"
        hint = nearest(probe, [ask.probe for ask in asked.asks], otherwise)
        raise UserError(f"cell {cell.id} was not asked {probe!r}", hint=hint)
    return CellOrder(cell=cell, asks=mine, modules=asked.modules, trace=trace)


# --- what is pushed into a guest ----------------------------------------------------------------------------------


def payloads(
    cells: tuple[Cell, ...], expectations: Expectations, *, cache: Path, offline: bool, deadline: Deadline
) -> dict[str, dict[str, bytes]]:
    """Compile what changed: the files for each byte order. Raises UserError when a BPF program does not compile."""
    archs = {cell.arch for cell in cells}
    return payloads_of(archs, cells[0].image, expectations, cache=cache, offline=offline, deadline=deadline)


def payloads_of(
    archs: Iterable[str], image: ImagePin, expectations: Expectations, *, cache: Path, offline: bool, deadline: Deadline
) -> dict[str, dict[str, bytes]]:
    """The same for guests of these architectures, of which `image` is one's."""
    byte_orders = {arch: architecture(arch).byte_order for arch in archs}
    every = sorted({*byte_orders.values()})
    objects = compile_objects(expectations.root, expectations.objects, every, cache, deadline=deadline)
    for arch, byte_order in byte_orders.items():
        objects[byte_order] |= expectations.pushed(arch)
    return {it: payload(image, objects[it], cache, offline=offline, deadline=deadline) for it in every}


def payload(image: ImagePin, objects: Files, cache: Path, *, offline: bool, deadline: Deadline) -> dict[str, bytes]:
    """The agent's bytecode, below `agent/`, and BPF objects."""
    agent = ensure_bytecode(_AGENT, image, cache, deadline=deadline, offline=offline).tree / _AGENT.name
    return {f"{AGENT}{path.name}": path.read_bytes() for path in sorted(agent.glob("*.pyc"))} | dict(objects)
