"""What the census costs: the seconds that it adds to a cell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runner.caches import cache_root
from runner.deadline import Deadline
from runner.execution.cellrun import run_cell
from runner.execution.orders import CellOrder
from runner.execution.prepare import worker_orders
from runner.execution.realmachine import this_machine
from runner.matrix import load_matrix
from runner.model import Cell, CellResult, Outcome
from runner.probes import load_claims, load_kfuncs, modules_of
from tests.bench.boot import cells
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 600


def census_s() -> Figure:
    """The claims and the census, less the claims alone, each in a guest of its own, the quickest of ROUNDS.

    Whatever else the machine does can only make a guest slower.
    """
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "7")
    claims = load_claims(Path(), load_matrix(Path("matrix.yaml")).file.probes)
    known = load_kfuncs(Path())
    deadline = Deadline.after(LIMIT_S, "the bench's limit")
    orders = worker_orders(
        (cell,),
        claims,
        known,
        root=Path(),
        folder=Path("unused"),
        cache=cache_root(),
        offline=False,
        deadline=deadline,
    )
    (whole,) = orders.orders
    alone = CellOrder(
        cell=cell, asks=tuple(ask for ask in whole.asks if ask.kind == "claim"), modules=modules_of(claims)
    )
    rounds = [[_ran(cell, order, orders.payload["little"]) for order in (alone, whole)] for _ in range(ROUNDS)]
    without, full = (min(result.timings.probe_s or 0 for result in results) for results in zip(*rounds, strict=True))
    asked = len(rounds[0][1].census)
    how = f"{full:.2f} s with {asked} questions, {without:.2f} s without, {cell.id}, tcg, {ROUNDS} rounds"
    return Figure(full - without, "s", how, at_most=3)


def _ran(cell: Cell, order: CellOrder, payload: bytes) -> CellResult:
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder:
        result = run_cell(order, payload, this_machine(offline=False), Path(folder), lambda phase, note: None)
    if result.outcome is not Outcome.RAN or result.unasked:
        raise RuntimeError(f"{cell.id}: {result.outcome}: {result.cause}")
    return result
