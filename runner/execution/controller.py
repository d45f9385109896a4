"""Spreads cells over xdist workers and hands over what they send. One pytest session is one round."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest

from runner.errors import InfraError
from runner.execution.orders import DELIVERY_KEY, ORDERS_KEY, Delivery, Phase, Progress, WorkerOrders
from runner.model import CellResult, Outcome

OnResult = Callable[[CellResult], None]
OnProgress = Callable[[Progress], None]

_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
# the machine's faults; and a boot that failed, for a busy host can make one fail: a kernel is blamed for the second
_REPEATED = frozenset({Outcome.LOST, Outcome.INFRA_FAILED, Outcome.BOOT_FAILED})


@dataclass(slots=True)
class _Round:
    """The plugin on the controller's side of one round."""

    orders: WorkerOrders
    on_result: OnResult
    on_progress: OnProgress
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # the results themselves are large, and kept elsewhere
    internal_error: str = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        node.workerinput[ORDERS_KEY] = self.orders.model_dump_json()  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        delivered = dict(report.user_properties).get(DELIVERY_KEY)
        if isinstance(delivered, str):
            delivery = Delivery.model_validate_json(delivered)
            if delivery.progress:
                self.on_progress(delivery.progress)
            if delivery.result:
                self._take(delivery.result)
        elif report.failed:
            self._lost(report.nodeid, report.longreprtext)

    def _take(self, result: CellResult) -> None:
        self.outcomes[result.cell.id] = result.outcome
        self.on_result(result)
        self.on_progress(Progress(cell_id=result.cell.id, phase=Phase.DONE, note=result.outcome))

    def _lost(self, cell_id: str, why: str) -> None:
        """xdist reports the item that a dead worker was at."""
        order = next((order for order in self.orders.orders if order.cell.id == cell_id), None)
        if order is None or cell_id in self.outcomes:
            return
        asked = tuple(ask.probe for ask in order.asks)
        cause = f"the worker died: {why.strip()}"
        self._take(
            CellResult(cell=order.cell, outcome=Outcome.LOST, cause=cause, attempts=order.attempt, unasked=asked)
        )

    def pytest_internalerror(self, excrepr: object) -> None:
        self.internal_error = str(excrepr)


def run_rounds(orders: WorkerOrders, *, slots: int, on_result: OnResult, on_progress: OnProgress) -> bool:
    """Run every cell; what was lost or did not boot is run once more, in a second round. False when interrupted.

    `on_result` is called in this thread, as soon as a cell is done, before anything else happens to it.
    Raises InfraError when no worker comes up.
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
    workers = max(1, min(slots, len(orders.orders)))
    folder = Path(orders.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _own_plugins_only(), _sigterm_as_interrupt():
        status = pytest.main(_pytest_arguments(folder, workers), plugins=[plugin])
    if status == pytest.ExitCode.INTERRUPTED:
        return None
    if status == pytest.ExitCode.INTERNAL_ERROR or (plugin.internal_error and not plugin.outcomes):
        raise InfraError(f"the workers failed:\n{plugin.internal_error[-2000:]}")
    return plugin


def _pytest_arguments(folder: Path, workers: int) -> list[str]:
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


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """systemd and CI systems end a job with SIGTERM: stop as cleanly as for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
