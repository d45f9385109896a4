"""`execute`: runs the cells of a plan on xdist workers. One pytest session is one round."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from runner.engine.fleet import Fleet, Host, Standing
from runner.engine.interrupts import held, workers
from runner.engine.orders import DELIVERY_KEY, ORDERS_KEY, CellOrder, Delivery, Phase, Progress, WorkerOrders
from runner.engine.plan import Ended, Plan, RunEnd, Sink
from runner.engine.scheduling import Job, Pool
from runner.engine.session import FleetSession
from runner.errors import InfraError
from runner.model import Cell, CellResult, Outcome
from runner.text import printable

log = logging.getLogger(__name__)

_PATIENCE = 2  # a worker waits this much longer for the controller than the controller for it
_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
# the machine's faults; and a boot that failed, for a busy host can make one fail: a kernel is blamed for the second
_OF_THE_MACHINE = frozenset({Outcome.LOST, Outcome.INFRA_FAILED})
_ATTEMPTS = 2
_REPEATED = _OF_THE_MACHINE | {Outcome.BOOT_FAILED}


def execute(plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
    """Run every cell; what was lost or did not boot is run once more, in a second round.

    Each sink is told of each event before the next one is, in this order: a store stands before a display. A result
    comes as soon as its cell is done. Raises InfraError when no worker comes up, and what a sink raises; then nothing
    more is run. A KeyboardInterrupt ends the run; it is not raised.
    """
    begun = time.monotonic()
    told: list[Sink] = []
    ended = Ended.FAILED
    try:
        for sink in sinks:
            told.append(sink)
            sink.began(plan)
        ended = Ended.COMPLETE if _run_rounds(plan, sinks) else Ended.INTERRUPTED
    except KeyboardInterrupt:
        ended = Ended.INTERRUPTED
    finally:
        end = RunEnd(plan.run.id, ended, time.monotonic() - begun)
        _finish(told, end)
    return end


def _finish(sinks: Sequence[Sink], end: RunEnd) -> None:
    """Each is told, whatever another one raises; the first exception counts."""
    if sinks:
        try:
            sinks[0].finished(end)
        finally:
            _finish(sinks[1:], end)


def _run_rounds(plan: Plan, sinks: Sequence[Sink]) -> bool:
    """False when it was interrupted before the end."""
    plan = replace(plan, fleet=replace(plan.fleet, standing=Standing()))
    for _ in range(_ATTEMPTS):
        one = _Round(plan, sinks)
        interrupted = _run_round(one)
        again = tuple(
            order.model_copy(update={"attempt": order.attempt + 1})
            for order in plan.orders
            if one.outcomes.get(order.cell.id) in {None, *_REPEATED} and order.cell.id not in one.homeless
        )
        if interrupted or not again:
            return not again
        plan = replace(plan, orders=again)
    return True


@dataclass(slots=True)
class _Round:
    """The plugin on the controller's side of one round."""

    plan: Plan
    sinks: Sequence[Sink]
    session: FleetSession | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # the results themselves are large, and kept elsewhere
    pool: Pool = field(init=False)
    _by_id: dict[str, CellOrder] = field(init=False)
    homeless: set[str] = field(default_factory=set)  # cells that no host can run
    internal_error: str = ""
    fault: Exception | None = None  # of a sink: of the store, when its disk is full

    def __post_init__(self) -> None:
        self._by_id = {order.cell.id: order for order in self.plan.orders}
        known_s = self.plan.known_s
        jobs = [Job(order.cell.id, order.cell.arch, known_s.get(order.cell.id, {})) for order in self.plan.orders]
        self.pool = Pool(jobs, self.fleet)

    @property
    def fleet(self) -> Fleet:
        return self.plan.fleet

    def pytest_configure(self, config: pytest.Config) -> None:
        limits = self.plan.orders[0].cell.limits
        self.session = FleetSession(config, self.fleet, self.pool, list(self._by_id), limits=limits, notice=_warn)
        config.pluginmanager.register(self.session, "dsession")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        host: Host = node.gateway.spec.host
        orders = WorkerOrders(
            orders=self.plan.orders,
            payload=dict(self.plan.payload),
            folder="" if host.ssh else os.fspath(self.plan.folder.absolute()),
            host=host.name,
            silence_s=_PATIENCE * self.fleet.silence_s if host.ssh else None,
            offline=self.plan.offline,
            verbose=log.isEnabledFor(logging.INFO),
            machine=self.plan.machine,
        )
        node.workerinput[ORDERS_KEY] = orders.packed()

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
            self._tell(delivery.progress)
        elif delivery.result and delivery.result.cell == cell:
            self.session.watchdog.done(report.node)
            self._take(delivery.result)
            self._count(delivery.result, report)
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
        with self._faults_are_kept(), held():
            for sink in self.sinks:
                sink.result(result)
            self.outcomes[result.cell.id] = result.outcome
        self._tell(Progress(cell_id=result.cell.id, phase=Phase.DONE, note=result.outcome))

    def _tell(self, progress: Progress) -> None:
        with self._faults_are_kept():
            for sink in self.sinks:
                sink.progress(progress)

    @contextmanager
    def _faults_are_kept(self) -> Iterator[None]:
        """pytest turns an exception into text."""
        try:
            yield
        except Exception as error:
            self.fault = self.fault or error
            raise

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
        for order in self.plan.orders:
            if order.cell.id in self.outcomes:
                continue
            able = [host.name for host in self.fleet.hosts if order.cell.arch in host.slots]
            known = self.fleet.standing.aside
            whys = "; ".join(f"{name}: {known.get(name, 'has no worker')}" for name in able)
            self.homeless.add(order.cell.id)
            what = f"no host {'is left that ' if able else ''}runs {order.cell.arch} guests"
            self._take(unanswered(order, Outcome.INFRA_FAILED, f"{what}{': ' if whys else ''}{whys}"))

    def pytest_internalerror(self, excrepr: object) -> bool:
        """True: pytest does not print it."""
        self.internal_error = str(excrepr)
        return True


def unanswered(order: CellOrder, outcome: Outcome, cause: str, *, host: str = "") -> CellResult:
    """What is known of a cell that did not come back."""
    asked = tuple(ask.probe for ask in order.asks)
    return CellResult(cell=order.cell, outcome=outcome, cause=cause, attempts=order.attempt, unasked=asked, host=host)


def _warn(what: str) -> None:
    log.warning("%s", printable(what))


def _run_round(plugin: _Round) -> bool:
    """True when it was interrupted."""
    plugin.plan.folder.mkdir(parents=True, exist_ok=True)
    left = {host.name for host in plugin.fleet.left}
    if len(plugin.pool.stranded(left)) < len(plugin.plan.orders):
        with _own_plugins_only():
            try:
                status = pytest.main(_PYTEST_ARGUMENTS, plugins=[plugin])
            except KeyboardInterrupt:  # before or after pytest's own session
                return True
        if plugin.fault:
            raise plugin.fault
        if status == pytest.ExitCode.INTERRUPTED:
            return True
        if status == pytest.ExitCode.INTERNAL_ERROR or (plugin.internal_error and not plugin.outcomes):
            log.info("%s", plugin.internal_error)
            last = plugin.internal_error.strip().rpartition("\n")[2]
            raise InfraError(f"the workers could not be run: {last}", hint="-v shows the traceback")
    plugin.give_up_the_rest()
    return False


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
