"""A cell once more: the very same questions, with the very same programs, to the very same kernel."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.engine.orders import CellOrder, WorkerOrders
from runner.engine.payload import payload
from runner.errors import UserError
from runner.images import ensure_bytecode
from runner.model import Asked, AskedCell, Cell, ImagePin
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.text import nearest

_AGENT = Path(__file__).parents[1] / "agent"
_OBJECT = ".bpf.o"


def asked_of(orders: WorkerOrders) -> Asked:
    """What a run is about to ask, to be kept with it."""
    objects = {order: dict(_objects(tar)) for order, tar in orders.payload.items()}
    digests = {
        order: {name: hashlib.sha256(content).hexdigest() for name, content in mine.items()}
        for order, mine in objects.items()
    }
    cells = {
        order.cell.id: AskedCell(
            asks=order.asks,
            modules=order.modules,
            programs=digests.get(architecture(order.cell.arch).byte_order, {}),
        )
        for order in orders.orders
    }
    contents = {digests[order][name]: content for order, mine in objects.items() for name, content in mine.items()}
    return Asked(cells=cells, objects=contents)


def _objects(tar: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(_OBJECT) else None
            if content:
                yield member.name, content.read()


def order_again(cell: Cell, asked: AskedCell, probe: str = "", *, look: bool = False) -> CellOrder:
    """Everything that was asked, or one probe. UserError, naming the nearest, when that was not asked."""
    mine = tuple(ask for ask in asked.asks if not probe or ask.probe == probe)
    if not mine:
        otherwise = f"`runner cell show {cell.id}` lists what it was asked"
        hint = nearest(probe, [ask.probe for ask in asked.asks], otherwise)
        raise UserError(f"cell {cell.id} was not asked {probe!r}", hint=hint)
    return CellOrder(cell=cell, asks=mine, modules=asked.modules, look=look)


def payload_again(
    image: ImagePin, objects: Mapping[str, bytes], cache: Path, *, offline: bool, deadline: Deadline
) -> bytes:
    """These programs by file name, with the agent as it is now."""
    agent = ensure_bytecode(_AGENT, image, cache, deadline=deadline, offline=offline).tree / _AGENT.name
    return payload(agent, objects)
