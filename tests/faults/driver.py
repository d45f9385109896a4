"""`python -m tests.faults.driver ARGUMENTS`: the command line as it is, but every guest is a fake of machine.py."""

from __future__ import annotations

import sys
from pathlib import Path

from runner import cli
from runner.cli import matrix, running
from runner.cli.options import Project
from runner.engine.orders import WorkerOrders
from runner.engine.prepare import cell_orders
from runner.model import Cell, Lock, ProgType
from runner.probes import ClaimFile, KfuncList
from tests import fakes


def _orders(
    cells: tuple[Cell, ...],
    claims: tuple[ClaimFile, ...],
    known: KfuncList,
    *,
    prog_types: tuple[ProgType, ...],
    folder: Path,
    **_: object,
) -> WorkerOrders:
    orders = fakes.worker_orders(folder.absolute(), *cell_orders(cells, claims, known, prog_types))
    return orders.model_copy(update={"machine": "tests.faults.machine:disturbed"})


def _lock(project: Project, **_: object) -> Lock:
    return project.lock()


if __name__ == "__main__":
    setattr(running, "worker_orders", _orders)  # noqa: B010  the module does not export what it imports
    setattr(matrix, "settled", _lock)  # noqa: B010
    sys.exit(cli.run(sys.argv[1:]))
