"""Turns cells and claims into what the workers need."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from runner.architecture import architecture
from runner.deadline import Deadline
from runner.execution.orders import CellOrder, WorkerOrders
from runner.execution.payload import payload
from runner.images import ensure_bytecode
from runner.model import Cell
from runner.probes import ClaimFile, asks_of, compile_objects, modules_of

_AGENT = Path(__file__).parents[1] / "agent"


def worker_orders(
    cells: tuple[Cell, ...],
    claims: tuple[ClaimFile, ...],
    *,
    root: Path,
    folder: Path,
    cache: Path,
    offline: bool,
    deadline: Deadline,
) -> WorkerOrders:
    """Compile what changed and pack it. MatrixError when a BPF program does not compile."""
    byte_orders = sorted({architecture(cell.arch).byte_order for cell in cells})
    names = [name for file in claims for name in file.objects]
    objects = compile_objects(root, names, byte_orders, cache, deadline=deadline)
    agent = ensure_bytecode(_AGENT, cells[0].image, cache, deadline=deadline, offline=offline).tree / _AGENT.name
    return WorkerOrders(
        orders=tuple(cell_orders(cells, claims)),
        payload={order: payload(agent, objects[order]) for order in byte_orders},
        folder=os.fspath(folder.absolute()),
        offline=offline,
    )


def cell_orders(cells: Iterable[Cell], claims: tuple[ClaimFile, ...]) -> Iterable[CellOrder]:
    """Every cell with its questions."""
    for cell in cells:
        mine = tuple(file for file in claims if file.name in cell.probes)
        yield CellOrder(cell=cell, asks=asks_of(mine, cell.kernel.upstream), modules=modules_of(mine))
