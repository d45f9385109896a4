"""The pytest plugin on a worker: one item per cell, built from what the controller sent, not from files."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.engine.cellrun import run_cell
from runner.engine.machine import Machine, machine_by_name
from runner.engine.orders import DELIVERY_KEY, ORDERS_KEY, CellOrder, Delivery, Phase, Progress, WorkerOrders
from runner.engine.pulse import PULSE_KEY, answer
from runner.engine.turns import TURN
from runner.model import CellResult
from runner.model.architecture import architecture

_CONSOLES = "consoles-"  # and the worker's process id


class CellItem(pytest.Item):
    """One cell. Its node id is the cell's id."""

    def __init__(self, *, order: CellOrder, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # pytest's own arguments, passed through
        self.order = order

    def runtest(self) -> None:
        raise NotImplementedError("CellPlugin runs the items")


class TurnItem(pytest.Item):
    """Does nothing: see turns.py."""

    def runtest(self) -> None:
        raise NotImplementedError("CellPlugin runs the items")


class CellPlugin:
    """Replaces collection and the run protocol."""

    def __init__(self, orders: WorkerOrders) -> None:
        self._orders = orders
        self._machine = machine_by_name(orders.machine, offline=orders.offline)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        session.items = list(self._items(session))
        session.testscollected = len(session.items)
        session.config.hook.pytest_collection_finish(session=session)
        return True

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        for order in self._orders.orders:
            yield CellItem.from_parent(session, name=order.cell.id, nodeid=order.cell.id, order=order)
        yield TurnItem.from_parent(session, name=TURN, nodeid=TURN)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
        if isinstance(item, CellItem):
            self._run(item)
        return True

    def _run(self, item: CellItem) -> None:
        hook, location = item.config.hook, item.location
        cell = item.order.cell

        def report(delivery: Delivery) -> None:
            hook.pytest_runtest_logreport(
                report=pytest.TestReport(
                    nodeid=item.nodeid,
                    location=location,
                    keywords={},
                    outcome="passed",
                    longrepr=None,
                    when="call" if delivery.result else "setup",
                    user_properties=[(DELIVERY_KEY, delivery.packed())],
                )
            )

        def tell(phase: Phase, note: str) -> None:
            report(Delivery(progress=Progress(cell_id=cell.id, phase=phase, note=note)))

        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=location)
        payload = self._orders.payload[architecture(cell.arch).byte_order]
        with console_folder(self._orders, cell.id, self._machine) as folder:
            result = run_cell(item.order, payload, self._machine, folder, tell)
            report(Delivery(result=self._named(result)))
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=location)

    def remove_consoles(self) -> None:
        """Those of this worker, which nobody will fetch any more."""
        for folder in self._machine.scratch.glob(f"{_CONSOLES}{os.getpid()}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _named(self, result: CellResult) -> CellResult:
        return result.model_copy(update={"host": self._orders.host}) if self._orders.host else result


@contextmanager
def console_folder(orders: WorkerOrders, cell_id: str, machine: Machine) -> Iterator[Path]:
    """Where a cell's console is kept: in the run's folder, or on another machine in one that goes with the cell."""
    if orders.folder:
        yield Path(orders.folder) / cell_id
        return
    machine.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in machine.scratch.glob(f"{_CONSOLES}*"):  # by a worker that was killed
        if not Path("/proc", left.name.removeprefix(_CONSOLES).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_CONSOLES}{os.getpid()}-", dir=machine.scratch) as folder:
        yield Path(folder) / cell_id


def pytest_configure(config: pytest.Config) -> None:
    """Only xdist workers have a `workerinput`."""
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        orders = WorkerOrders.unpacked(workerinput[ORDERS_KEY])
        name = workerinput["workerid"]  # stderr is the controller's own
        logging.basicConfig(level=logging.INFO if orders.verbose else logging.WARNING, format=f"{name}: %(message)s")
        plugin = CellPlugin(orders)
        answer(
            workerinput[PULSE_KEY],
            silence_s=orders.silence_s,
            last=plugin.remove_consoles,
        )
        config.pluginmanager.register(plugin, "runner-cells")
