"""What travels between controller and workers. Plain data: nothing is read from files on the other side."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Self

from pydantic import ConfigDict

from runner.model import Ask, Cell, CellResult, Plain, SafeName

ORDERS_KEY = "runner_orders"  # WorkerOrders, packed, in xdist's workerinput
DELIVERY_KEY = "runner_delivery"  # Delivery, packed, a user property of a report
MAX_BYTES = 1 << 29  # far above a cell with the longest console
_QUICK = 1  # of zlib's levels


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
        return zlib.compress(self.model_dump_json().encode(), _QUICK)

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Raises ValueError when it is none."""
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(data, MAX_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not unpacking.eof:
            raise ValueError(f"it is cut short, or longer than {MAX_BYTES} bytes")
        return cls.model_validate_json(text)


class CellOrder(Plain):
    """One cell and what is to be asked in it."""

    cell: Cell
    asks: tuple[Ask, ...]
    modules: tuple[SafeName, ...]  # to load before the first ask
    attempt: int = 1
    trace: bool = False  # of every probe
    gdb: bool = False  # a debugger can be attached to the guest


ATTEMPTS = 2  # of a cell that was lost or did not boot


def attempts(orders: Iterable[CellOrder]) -> Iterator[CellOrder]:
    """Each order, and the same for its repetition."""
    for order in orders:
        for number in range(ATTEMPTS):
            yield order.model_copy(update={"attempt": order.attempt + number}) if number else order


class WorkerOrders(Sent):
    """Everything that a worker needs. `payload` holds, for each byte order, a tar of the agent and the BPF objects."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    orders: tuple[CellOrder, ...]
    payload: dict[str, bytes]
    folder: str  # the run's folder; consoles are written below it while they speak. Empty: on another machine
    host: str = ""  # what the worker's machine is called; empty: by its own name
    silence_s: float | None = None  # a worker of another machine that is not asked for so long ends itself
    offline: bool = False
    verbose: bool = False  # the workers say which commands they run
    machine: str = "runner.engine.machine:this_machine"  # module:function; another one is a fake


class Progress(Plain):
    """A cell entered a phase."""

    cell_id: str
    phase: Phase
    note: str = ""


class Delivery(Sent):
    """What a worker sends with a report: progress or a result."""

    progress: Progress | None = None
    result: CellResult | None = None
