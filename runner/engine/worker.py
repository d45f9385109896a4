# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The pytest plugin on a worker: one item for each attempt at a cell, built from what the controller sent."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from runner.engine.fleet import machine_by_name
from runner.engine.plan import (
    DELIVERY_KEY,
    HEARTBEAT_KEY,
    ORDERS_KEY,
    CellOrder,
    Delivery,
    Phase,
    Progress,
    WorkerOrders,
    attempts,
)
from runner.engine.scheduling import TURN, item_id
from runner.model import Cell
from runner.model.architecture import architecture
from runner.process import Folder, own_folder
from runner.steps import heard

_LOOK_S = 1.0  # whether the controller still asks


class CellItem(pytest.Item):
    """One attempt at one cell; its node id is `CELL/ATTEMPT`. Its result is a user property of its report."""

    def __init__(self, *, order: CellOrder, plugin: CellPlugin, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # pytest's own arguments, passed through
        self.order = order
        self.plugin = plugin

    def runtest(self) -> None:
        # late: the controller has this plugin, too, and does not need paramiko
        from runner.engine.cellrun import run_cell  # noqa: PLC0415

        orders, machine, cell = self.plugin.orders, self.plugin.machine, self.order.cell
        payload = orders.payload[architecture(cell.arch).byte_order]
        with (
            self.plugin.console_folder(cell) as folder,
            heard(lambda step, part: self._tell(Phase.PREPARING, step, part)),
        ):
            result = run_cell(self.order, payload, machine, folder, self._tell)
        self.user_properties.append((DELIVERY_KEY, Delivery(result=result).packed()))

    def teardown(self) -> None:
        """Its report would carry the result once more."""
        self.user_properties.clear()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # noqa: ARG002
        """What this program itself did wrong."""
        return "".join(traceback.format_exception(excinfo.value))

    def _tell(self, phase: Phase, note: str, part: float | None = None) -> None:
        delivery = Delivery(progress=Progress(cell_id=self.order.cell.id, phase=phase, note=note, part=part))
        report = pytest.TestReport(
            nodeid=self.nodeid,
            location=self.location,
            keywords={},
            outcome="passed",
            longrepr=None,
            when="setup",
            user_properties=[(DELIVERY_KEY, delivery.packed())],
        )
        self.config.hook.pytest_runtest_logreport(report=report)


class TurnItem(pytest.Item):
    """Does nothing: see scheduling.py."""

    def runtest(self) -> None:
        pass


class CellPlugin:
    """Replaces collection: the items are made from what the controller sent."""

    def __init__(self, orders: WorkerOrders) -> None:
        self.orders = orders
        self.consoles: Folder | None = None  # on another machine
        self.machine = machine_by_name(orders.machine, offline=orders.offline)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        session.items = list(self._items(session))
        session.testscollected = len(session.items)
        session.config.hook.pytest_collection_finish(session=session)
        return True

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        for order in attempts(self.orders.orders):
            name = item_id(order.cell.id, order.attempt)
            yield CellItem.from_parent(session, name=name, nodeid=name, order=order, plugin=self)
        yield TurnItem.from_parent(session, name=TURN, nodeid=TURN)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Of a turn nothing is reported; a cell has pytest's own protocol."""
        return True if isinstance(item, TurnItem) else None

    @contextmanager
    def console_folder(self, cell: Cell) -> Iterator[Path]:
        """Where a cell's console is kept: in the run's folder, or on another machine in one that goes with the cell."""
        if self.orders.folder:
            yield Path(self.orders.folder) / cell.id
            return
        with own_folder(self.machine.scratch, "consoles-", end_s=cell.limits.end_s) as self.consoles:
            yield self.consoles.path / cell.id

    def remove_consoles(self) -> None:
        """Those of this worker, which nobody will fetch any more."""
        if self.consoles:
            shutil.rmtree(self.consoles.path, ignore_errors=True)


# --- the heartbeat: see gateways.py -----------------------------------------------------------------------------------


def answer(channel: Any, *, silence_s: float | None, last: Callable[[], None]) -> None:
    """With `silence_s`, this process ends when it is not asked for so long; `last` tidies up."""
    asked = [time.monotonic()]

    def beat(_: object) -> None:
        asked[0] = time.monotonic()
        with suppress(OSError):
            channel.send(None)

    channel.setcallback(beat)
    if silence_s is not None:
        threading.Thread(target=_end_when_silent, args=(asked, silence_s, last), name="heartbeat", daemon=True).start()


def _end_when_silent(asked: list[float], silence_s: float, last: Callable[[], None]) -> None:
    while time.monotonic() - asked[0] < silence_s:
        time.sleep(_LOOK_S)
    last()
    os.kill(os.getpid(), signal.SIGKILL)  # guests end with their worker: runner/process.py


def pytest_configure(config: pytest.Config) -> None:
    """Only xdist workers have a `workerinput`."""
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        orders = WorkerOrders.unpacked(workerinput[ORDERS_KEY])
        name = workerinput["workerid"]  # stderr is the controller's own
        logging.basicConfig(level=logging.INFO if orders.verbose else logging.WARNING, format=f"{name}: %(message)s")
        plugin = CellPlugin(orders)
        answer(workerinput[HEARTBEAT_KEY], silence_s=orders.silence_s, last=plugin.remove_consoles)
        config.pluginmanager.register(plugin, "runner-cells")
