"""Spreads cells over xdist workers and hands over what they send. One pytest session is one round."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.engine.fleet import Fleet, Host
from runner.engine.interrupts import held, workers
from runner.engine.orders import (
    DELIVERY_KEY,
    ORDERS_KEY,
    CellOrder,
    Delivery,
    Phase,
    Progress,
    WayIn,
    WorkerOrders,
)
from runner.engine.scheduling import Job, Pool
from runner.engine.session import FleetSession
from runner.errors import InfraError, RunnerError
from runner.model import Cell, CellResult, Outcome

OnResult = Callable[[CellResult], None]
OnProgress = Callable[[Progress], None]
OnNotice = Callable[[str], None]
OnGuest = Callable[[CellResult, WayIn | None, Callable[[], None]], None]
KnownSeconds = Mapping[str, Mapping[str, float]]  # cell -> acceleration -> what it took

_PATIENCE = 2  # a worker waits this much longer for the controller than the controller for it
_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
# the machine's faults; and a boot that failed, for a busy host can make one fail: a kernel is blamed for the second
_OF_THE_MACHINE = frozenset({Outcome.LOST, Outcome.INFRA_FAILED})
_REPEATED = _OF_THE_MACHINE | {Outcome.BOOT_FAILED}


@dataclass(slots=True)
class _Round:
    """The plugin on the controller's side of one round."""

    orders: WorkerOrders
    on_result: OnResult
    on_progress: OnProgress
    fleet: Fleet
    pool: Pool
    on_notice: OnNotice
    on_guest: OnGuest | None = None
    interrupted: bool = False
    session: FleetSession | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # the results themselves are large, and kept elsewhere
    _by_id: dict[str, CellOrder] = field(init=False)
    homeless: set[str] = field(default_factory=set)  # cells that no host can run
    internal_error: str = ""
    fault: RunnerError | None = None  # of whoever takes the results: the store's, when its disk is full

    def __post_init__(self) -> None:
        self._by_id = {order.cell.id: order for order in self.orders.orders}

    def pytest_configure(self, config: pytest.Config) -> None:
        ids = [order.cell.id for order in self.orders.orders]
        limits = self.orders.orders[0].cell.limits
        self.session = FleetSession(config, self.fleet, self.pool, ids, limits=limits, notice=self.on_notice)
        config.pluginmanager.register(self.session, "dsession")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        host: Host = node.gateway.spec.host
        away = {"folder": "", "silence_s": _PATIENCE * self.fleet.silence_s, "hold": False} if host.ssh else {}
        node.workerinput[ORDERS_KEY] = self.orders.model_copy(update={"host": host.name, **away}).packed()

    def pytest_keyboard_interrupt(self) -> None:
        """Without this, execnet gives each worker five seconds before it tells it."""
        for pid in workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        delivered = dict(report.user_properties).get(DELIVERY_KEY)
        if isinstance(delivered, bytes):
            self._delivered(delivered, report)
        elif report.failed:
            assert self.session  # noqa: S101  for the type checker
            host, why = self.session.where(report.node)  # xdist adds it
            self._lost(report.nodeid, why or report.longreprtext.strip(), host=host)

    def _delivered(self, data: bytes, report: pytest.TestReport) -> None:
        """Another machine sent it: it is a delivery of the cell that was asked for, or the worker is not believed."""
        assert self.session  # noqa: S101  for the type checker
        try:
            delivery = Delivery.unpacked(data)
        except ValueError:
            delivery = Delivery()
        cell = self._cell(report.nodeid)
        if cell and delivery.progress and delivery.progress.cell_id == cell.id:
            self.session.watchdog.entered(report.node, cell, delivery.progress.phase)  # xdist adds it
            self.on_progress(delivery.progress)
        elif delivery.result and delivery.result.cell == cell:
            self.session.watchdog.done(report.node)
            self._take(delivery.result)
            self._count(delivery.result, report)
            if self.on_guest:
                host: Host = report.node.gateway.spec.host
                way_in = None if host.ssh else delivery.way_in  # of another machine none was asked for
                self.on_guest(delivery.result, way_in, partial(self.session.watchdog.release, report.node))
        else:
            self.session.distrust(report.node)  # xdist adds it

    def _cell(self, cell_id: str) -> Cell | None:
        order = self._by_id.get(cell_id)
        return order.cell if order else None

    def _count(self, result: CellResult, report: pytest.TestReport) -> None:
        """For and against the host that it came from."""
        assert self.session  # noqa: S101  for the type checker
        node, times = report.node, result.timings  # xdist adds it
        if result.outcome in _OF_THE_MACHINE:
            self.session.cell_failed(node, result.cell.id, f"{result.cell.id}: {result.cause.partition(chr(10))[0]}")
        else:
            taken_s = (times.total_s or 0.0) - (times.prepare_s or 0.0)
            self.session.cell_answered(node, result.cell.id, taken_s if result.outcome is Outcome.RAN else None)

    def _take(self, result: CellResult) -> None:
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

    def _lost(self, cell_id: str, why: str, *, host: str = "") -> None:
        """xdist reports the item that a dead worker was at."""
        order = self._by_id.get(cell_id)
        if order is None or cell_id in self.outcomes:
            return
        where = f" on {host}" if len(self.fleet.hosts) > 1 else ""
        cause = f"the worker{where} died: {why}"
        self._take(unanswered(order, Outcome.LOST, cause, host=host))

    def give_up_the_rest(self) -> None:
        """The cells for which no host is left."""
        for order in self.orders.orders:
            if order.cell.id in self.outcomes:
                continue
            able = [host.name for host in self.fleet.hosts if order.cell.arch in host.slots]
            known = self.fleet.standing.aside
            whys = "; ".join(f"{name}: {known.get(name, 'has no worker')}" for name in able)
            self.homeless.add(order.cell.id)
            what = f"no host {'is left that ' if able else ''}runs {order.cell.arch} guests"
            self._take(unanswered(order, Outcome.INFRA_FAILED, f"{what}{': ' if whys else ''}{whys}"))

    def pytest_internalerror(self, excrepr: object) -> None:
        self.internal_error = str(excrepr)


def unanswered(order: CellOrder, outcome: Outcome, cause: str, *, host: str = "") -> CellResult:
    """What is known of a cell that did not come back."""
    asked = tuple(ask.probe for ask in order.asks)
    return CellResult(cell=order.cell, outcome=outcome, cause=cause, attempts=order.attempt, unasked=asked, host=host)


def run_rounds(
    orders: WorkerOrders,
    *,
    fleet: Fleet,
    on_result: OnResult,
    on_progress: OnProgress,
    on_notice: OnNotice = lambda _: None,
    on_guest: OnGuest | None = None,
    known_s: KnownSeconds | None = None,
) -> bool:
    """Run every cell; what was lost or did not boot is run once more, in a second round. False when interrupted.

    `on_result` is called in this thread, as soon as a cell is done, before anything else happens to it; `on_notice` is
    told of hosts that are given up. `known_s` are the seconds that cells took earlier. With `on_guest`, guests of this
    machine stay open: it is told of each result how to get in, if there is a guest, and what to call, in whatever
    thread, for the guest to go. An interrupt when nothing else was left to do only ends such guests.
    Raises InfraError when no worker comes up, and what `on_result` raises; then nothing more is run.
    """

    def one_round(orders: WorkerOrders) -> _Round | None:
        jobs = (Job(order.cell.id, order.cell.arch, (known_s or {}).get(order.cell.id, {})) for order in orders.orders)
        return _run_round(_Round(orders, on_result, on_progress, fleet, Pool(jobs, fleet), on_notice, on_guest))

    orders = orders.model_copy(update={"hold": on_guest is not None})
    first = one_round(orders)
    if first is None:
        return False
    again = tuple(
        order.model_copy(update={"attempt": order.attempt + 1})
        for order in orders.orders
        if first.outcomes.get(order.cell.id) in {None, *_REPEATED} and order.cell.id not in first.homeless
    )
    if not again:
        return True
    if first.interrupted:
        return False
    return one_round(orders.model_copy(update={"orders": again})) is not None


def _run_round(plugin: _Round) -> _Round | None:
    if plugin.orders.folder:
        Path(plugin.orders.folder).mkdir(parents=True, exist_ok=True)
    left = {host.name for host in plugin.fleet.left}
    if len(plugin.pool.stranded(left)) < len(plugin.orders.orders):
        with _own_plugins_only():
            try:
                status = pytest.main(_PYTEST_ARGUMENTS, plugins=[plugin])
            except KeyboardInterrupt:  # before or after pytest's own session
                return None
        if plugin.fault:
            raise plugin.fault
        plugin.interrupted = status == pytest.ExitCode.INTERRUPTED
        if plugin.interrupted and len(plugin.outcomes) < len(plugin.orders.orders):
            return None
        if status == pytest.ExitCode.INTERNAL_ERROR or (plugin.internal_error and not plugin.outcomes):
            raise InfraError(f"the workers failed:\n{plugin.internal_error[-2000:]}")
    plugin.give_up_the_rest()
    return plugin


# A pytest of our own: no terminal, no cache, no configuration or conftest of whoever's folder this is. The workers get
# the same, on whatever machine: xdist refuses arguments that are files here, so each is one word with its option.
_PYTEST_ARGUMENTS = [
    f"--config-file={os.devnull}",
    "--rootdir=/",
    "--noconftest",
    "--capture=no",
    "-pno:terminal",
    "-pno:cacheprovider",
    "-pno:faulthandler",
    "-pno:logging",
    "-pxdist.plugin",
    "-prunner.engine.worker",
]


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
