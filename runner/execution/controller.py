"""Spreads cells over xdist workers and hands over what they send. One pytest session is one round."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InfraError, RunnerError
from runner.execution.interrupts import held, workers
from runner.execution.orders import DELIVERY_KEY, ORDERS_KEY, Delivery, Phase, Progress, WorkerOrders
from runner.execution.watchdog import Watchdog
from runner.model import Cell, CellResult, Outcome

OnResult = Callable[[CellResult], None]
OnProgress = Callable[[Progress], None]

_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
# the machine's faults; and a boot that failed, for a busy host can make one fail: a kernel is blamed for the second
_REPEATED = frozenset({Outcome.LOST, Outcome.INFRA_FAILED, Outcome.BOOT_FAILED})


@dataclass
class _Round:
    """The plugin on the controller's side of one round."""

    orders: WorkerOrders
    on_result: OnResult
    on_progress: OnProgress
    watchdog: Watchdog = field(default_factory=Watchdog)
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # the results themselves are large, and kept elsewhere
    internal_error: str = ""
    fault: RunnerError | None = None  # of whoever takes the results: the store's, when its disk is full

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[ORDERS_KEY] = self.wire
        self.watchdog.starting(node.gateway.id, self.orders.orders[0].cell.limits, partial(_kill, node))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self.watchdog.done(node.gateway.id)

    def pytest_keyboard_interrupt(self) -> None:
        """Without this, execnet gives each worker five seconds before it tells it."""
        for pid in workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        delivered = dict(report.user_properties).get(DELIVERY_KEY)
        if isinstance(delivered, str):
            delivery = Delivery.model_validate_json(delivered)
            if delivery.progress:
                self._watch(delivery.progress, report)
                self.on_progress(delivery.progress)
            if delivery.result:
                self._take(delivery.result)
        elif report.failed:
            self._lost(report.nodeid, report.longreprtext)

    def _watch(self, progress: Progress, report: pytest.TestReport) -> None:
        cell = self.cells.get(progress.cell_id)
        if cell:
            kill = partial(_kill, report.node)  # xdist's own attribute
            self.watchdog.entered(cell, progress.phase, kill)

    def _take(self, result: CellResult) -> None:
        self.watchdog.done(result.cell.id)
        if result.cell.id in self.outcomes:  # nothing is counted twice
            return
        try:
            with held():
                self.on_result(result)
                self.outcomes[result.cell.id] = result.outcome
        except RunnerError as error:
            self.fault = error
            raise
        self.on_progress(Progress(cell_id=result.cell.id, phase=Phase.DONE, note=result.outcome))

    @cached_property
    def cells(self) -> dict[str, Cell]:
        return {order.cell.id: order.cell for order in self.orders.orders}

    @cached_property
    def wire(self) -> str:
        """As the workers get it: the same for each of them."""
        return self.orders.model_dump_json()

    def _lost(self, cell_id: str, why: str) -> None:
        """xdist reports the item that a dead worker was at."""
        order = next((order for order in self.orders.orders if order.cell.id == cell_id), None)
        if order is None or cell_id in self.outcomes:
            return
        asked = tuple(ask.probe for ask in order.asks)
        cause = f"the worker died: {self.watchdog.overdue.get(cell_id) or why.strip()}"
        self._take(
            CellResult(cell=order.cell, outcome=Outcome.LOST, cause=cause, attempts=order.attempt, unasked=asked)
        )

    def pytest_internalerror(self, excrepr: object) -> None:
        self.internal_error = str(excrepr)


def run_rounds(orders: WorkerOrders, *, slots: int, on_result: OnResult, on_progress: OnProgress) -> bool:
    """Run every cell; what was lost or did not boot is run once more, in a second round. False when interrupted.

    `on_result` is called in this thread, as soon as a cell is done, before anything else happens to it.
    Raises InfraError when no worker comes up, and what `on_result` raises; nothing more is run then.
    """
    first = _run_round(orders, slots, on_result, on_progress)
    if first is None:
        return False
    again = tuple(
        order.model_copy(update={"attempt": order.attempt + 1})
        for order in orders.orders
        if first.outcomes.get(order.cell.id) in {None, *_REPEATED}
    )
    if not again:
        return True
    second = _run_round(orders.model_copy(update={"orders": again}), slots, on_result, on_progress)
    return second is not None


def _run_round(orders: WorkerOrders, slots: int, on_result: OnResult, on_progress: OnProgress) -> _Round | None:
    plugin = _Round(orders, on_result, on_progress)
    number = max(1, min(slots, len(orders.orders)))
    folder = Path(orders.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _own_plugins_only(), plugin.watchdog:
        try:
            status = pytest.main(_pytest_arguments(folder, number, len(orders.orders)), plugins=[plugin])
        except KeyboardInterrupt:  # before or after pytest's own session
            return None
    if plugin.fault:
        raise plugin.fault
    if status == pytest.ExitCode.INTERRUPTED:
        return None
    if status == pytest.ExitCode.INTERNAL_ERROR or (plugin.internal_error and not plugin.outcomes):
        raise InfraError(f"the workers failed:\n{plugin.internal_error[-2000:]}")
    return plugin


def _kill(node: Any) -> None:
    """End a worker of xdist's; it notices, and reports the cell that it was at."""
    node.gateway._io.kill()


def _pytest_arguments(folder: Path, workers: int, cells: int) -> list[str]:
    """A pytest of our own: no terminal, no cache, no configuration or conftest of whoever's folder this is."""
    return [
        "-c", os.devnull,
        "--rootdir", os.fspath(folder),
        "--noconftest",
        "--capture=no",
        "-p", "no:terminal",
        "-p", "no:cacheprovider",
        "-p", "no:faulthandler",
        "-p", "no:logging",
        "-p", "xdist.plugin",
        "-p", "runner.execution.worker",
        "--numprocesses", str(workers),
        "--dist", "load",
        "--max-worker-restart", str(cells),  # each cell may bring its worker down
        "--maxschedchunk", "1",  # a worker takes one cell at a time, so a dead one takes one with it
        os.fspath(folder),
    ]  # fmt: skip


@contextmanager
def _own_plugins_only() -> Iterator[None]:
    """No pytest plugins of whoever's environment this is; the workers inherit it."""
    before = os.environ.get(_NO_AUTOLOAD)
    os.environ[_NO_AUTOLOAD] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_AUTOLOAD]
        else:
            os.environ[_NO_AUTOLOAD] = before
