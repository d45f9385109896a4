"""The pytest plugin on a worker: one item per cell, built from what the controller sent, not from files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.architecture import architecture
from runner.execution.cellrun import run_cell
from runner.execution.machine import machine_by_name
from runner.execution.orders import DELIVERY_KEY, ORDERS_KEY, CellOrder, Delivery, Phase, Progress, WorkerOrders


class CellItem(pytest.Item):
    """One cell. Its node id is the cell's id."""

    def __init__(self, *, order: CellOrder, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # pytest's own arguments, passed through
        self.order = order

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: CellItem) -> bool:
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
                    user_properties=[(DELIVERY_KEY, delivery.model_dump_json())],
                )
            )

        def tell(phase: Phase, note: str) -> None:
            report(Delivery(progress=Progress(cell_id=cell.id, phase=phase, note=note)))

        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=location)
        payload = self._orders.payload[architecture(cell.arch).byte_order]
        folder = Path(self._orders.folder) / cell.id
        report(Delivery(result=run_cell(item.order, payload, self._machine, folder, tell)))
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=location)
        return True


def pytest_configure(config: pytest.Config) -> None:
    """Only xdist workers have a `workerinput`."""
    workerinput: dict[str, str] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        orders = WorkerOrders.model_validate_json(workerinput[ORDERS_KEY])
        name = workerinput["workerid"]  # stderr is the controller's own
        logging.basicConfig(level=logging.INFO if orders.verbose else logging.WARNING, format=f"{name}: %(message)s")
        config.pluginmanager.register(CellPlugin(orders), "runner-cells")
