"""Turns cells and claims into what the workers need."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from runner.engine.orders import CellOrder, WorkerOrders
from runner.engine.payload import payload
from runner.images import ensure_bytecode
from runner.model import NETWORK_TYPES, Cell, ProgType
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes import ClaimFile, KfuncList, asks_of, compile_objects, modules_of

_AGENT = Path(__file__).parents[1] / "agent"


def worker_orders(
    cells: tuple[Cell, ...],
    claims: tuple[ClaimFile, ...],
    known: KfuncList,
    *,
    prog_types: tuple[ProgType, ...] = NETWORK_TYPES,
    root: Path,
    folder: Path,
    cache: Path,
    offline: bool,
    deadline: Deadline,
) -> WorkerOrders:
    """Compile what changed and pack it. UserError when a BPF program does not compile."""
    byte_orders = sorted({architecture(cell.arch).byte_order for cell in cells})
    names = [name for file in claims for name in file.objects]
    objects = compile_objects(root, names, byte_orders, cache, deadline=deadline)
    agent = ensure_bytecode(_AGENT, cells[0].image, cache, deadline=deadline, offline=offline).tree / _AGENT.name
    return WorkerOrders(
        orders=tuple(cell_orders(cells, claims, known, prog_types)),
        payload={order: payload(agent, objects[order]) for order in byte_orders},
        folder=os.fspath(folder.absolute()),
        offline=offline,
        verbose=logging.getLogger().isEnabledFor(logging.INFO),
    )


def cell_orders(
    cells: Iterable[Cell], claims: tuple[ClaimFile, ...], known: KfuncList, prog_types: tuple[ProgType, ...]
) -> Iterable[CellOrder]:
    """Every cell with its questions."""
    for cell in cells:
        mine = tuple(file for file in claims if file.name in cell.probes)
        asks = asks_of(mine, cell.kernel.upstream, known, prog_types)
        yield CellOrder(cell=cell, asks=asks, modules=modules_of(mine, known))
