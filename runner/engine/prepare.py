"""Turns cells and claims into what workers need: orders, and the tar that is pushed into each guest."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.engine.orders import CellOrder
from runner.errors import UserError
from runner.images import ensure_bytecode
from runner.model import NETWORK_TYPES, Asked, AskedCell, Cell, ImagePin, ProgType
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes import Expectations, compile_objects
from runner.text import nearest

_AGENT = Path(__file__).parents[1] / "agent"
_OBJECT = ".bpf.o"


def cell_orders(
    cells: Iterable[Cell],
    expectations: Expectations,
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES,
) -> Iterator[CellOrder]:
    """Every cell with its asks."""
    for cell in cells:
        mine = expectations.of_files(cell.probes)
        yield CellOrder(cell=cell, asks=mine.asks(cell.kernel.upstream, prog_types), modules=mine.modules)


def order_again(cell: Cell, asked: AskedCell, probe: str = "", *, trace: bool = False) -> CellOrder:
    """Everything that was asked, or one probe. Raises UserError, naming the nearest, when that was not asked."""
    mine = tuple(ask for ask in asked.asks if not probe or ask.probe == probe)
    if not mine:
        otherwise = f"`runner cell show {cell.id}` lists what it was asked"
        hint = nearest(probe, [ask.probe for ask in asked.asks], otherwise)
        raise UserError(f"cell {cell.id} was not asked {probe!r}", hint=hint)
    return CellOrder(cell=cell, asks=mine, modules=asked.modules, trace=trace)


# --- what is pushed into a guest ----------------------------------------------------------------------------------


def payloads(
    cells: tuple[Cell, ...],
    expectations: Expectations,
    *,
    cache: Path,
    offline: bool,
    deadline: Deadline,
) -> dict[str, bytes]:
    """Compile what changed and pack it, for each byte order. Raises UserError when a BPF program does not compile."""
    byte_orders = sorted({architecture(cell.arch).byte_order for cell in cells})
    objects = compile_objects(expectations.root, expectations.objects, byte_orders, cache, deadline=deadline)
    image = cells[0].image
    return {it: payload(image, objects[it], cache, offline=offline, deadline=deadline) for it in byte_orders}


def payload(image: ImagePin, objects: Mapping[str, bytes], cache: Path, *, offline: bool, deadline: Deadline) -> bytes:
    """A tar of the agent's bytecode and of BPF objects by file name."""
    agent = ensure_bytecode(_AGENT, image, cache, deadline=deadline, offline=offline).tree / _AGENT.name
    files = {f"agent/{path.name}": path.read_bytes() for path in sorted(agent.glob("*.pyc"))}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in {**files, **dict(sorted(objects.items()))}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


# --- what is kept of it, to ask the very same later ---------------------------------------------------------------


def asked_of(orders: Iterable[CellOrder], payload: Mapping[str, bytes]) -> Asked:
    """What is about to be asked, and with which programs."""
    objects = {byte_order: dict(_objects(tar)) for byte_order, tar in payload.items()}
    digests = {
        byte_order: {name: hashlib.sha256(content).hexdigest() for name, content in mine.items()}
        for byte_order, mine in objects.items()
    }
    cells = {
        order.cell.id: AskedCell(
            asks=order.asks,
            modules=order.modules,
            programs=digests.get(architecture(order.cell.arch).byte_order, {}),
        )
        for order in orders
    }
    contents = {digests[order][name]: content for order, mine in objects.items() for name, content in mine.items()}
    return Asked(cells=cells, objects=contents)


def _objects(tar: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(_OBJECT) else None
            if content:
                yield member.name, content.read()
