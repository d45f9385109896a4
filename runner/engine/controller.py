# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs the cells of a plan on xdist workers, in one pytest session."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from runner.engine.execute import held, signal_workers
from runner.engine.fleet import FleetHealth
from runner.engine.plan import (
    DELIVERY_KEY,
    ORDERS_KEY,
    CellOrder,
    Delivery,
    Ended,
    Phase,
    Plan,
    Progress,
    Sink,
    WorkerOrders,
    attempts,
)
from runner.engine.scheduling import Job, Pool, item_id
from runner.engine.xdist import OF_THE_MACHINE, FleetSession, host_of
from runner.errors import InfraError
from runner.model import CellResult, Outcome

log = logging.getLogger(__name__)

_PATIENCE = 2  # a worker waits this much longer for the controller than the controller for it
# a busy host can make a boot fail, too: a kernel is blamed for the second one
_REPEATED = OF_THE_MACHINE | {Outcome.BOOT_FAILED}


@dataclass(slots=True)
class Controller:
    """The pytest plugin on the controller's side."""

    plan: Plan
    sinks: Sequence[Sink]
    session: FleetSession = field(init=False)  # from pytest_configure on
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # the results themselves are large, and kept elsewhere
    pool: Pool[Any] = field(init=False)
    internal_error: str = ""
    fault: BaseException | None = None  # of a sink: of the store, when its disk is full
    _orders: dict[str, CellOrder] = field(init=False)  # of items that have no result yet

    def __post_init__(self) -> None:
        self._orders = {item_id(order.cell.id, order.attempt): order for order in attempts(self.plan.orders)}
        self.pool = Pool(map(self._job, self.plan.orders), FleetHealth(self.plan.fleet))

    def _job(self, order: CellOrder) -> Job:
        return Job(order.cell.id, order.cell.arch, self.plan.known_s.get(order.cell.id, {}), order.attempt)

    def pytest_configure(self, config: pytest.Config) -> None:
        limits = self.plan.orders[0].cell.limits
        self.session = FleetSession(config, self.pool, list(self._orders), limits)
        config.pluginmanager.register(self.session)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        host = host_of(node)
        orders = WorkerOrders(
            orders=self.plan.orders,
            payload={it: dict(files) for it, files in self.plan.payload.items()},
            folder="" if host.ssh else os.fspath(self.plan.folder.absolute()),
            silence_s=_PATIENCE * self.plan.fleet.limits.silence_s if host.ssh else None,
            offline=self.plan.offline,
            verbose=log.isEnabledFor(logging.INFO),
            machine=self.plan.machine,
        )
        node.workerinput[ORDERS_KEY] = orders.packed()

    def pytest_keyboard_interrupt(self) -> None:
        """Without this, execnet gives each worker five seconds before it tells it."""
        signal_workers(signal.SIGINT)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Another machine sent it: it is a delivery of the cell that the worker was given, or the worker is ended."""
        packed = dict(report.user_properties).get(DELIVERY_KEY)
        order = self._orders.get(report.nodeid)
        if not isinstance(packed, bytes):
            if report.failed and order:
                self._failed(order, report)
            return
        node = report.node  # xdist adds it
        if (job := self.pool.at(node)) is None or job.item != report.nodeid:
            order = None
        try:
            delivery = Delivery.unpacked(packed)
        except ValueError:
            delivery = Delivery()
        progress, result = delivery.progress, delivery.result
        if order and progress and progress.cell_id == order.cell.id:
            self.session.heartbeats.entered(node, order.cell, progress.phase)
            self._tell(progress)
        elif order and result and result.cell == order.cell:
            result = result.model_copy(update={"host": host_of(node).name})
            self._take(order, result)
            self.session.came(node, result)
        else:
            self.session.distrust(node)

    def _failed(self, order: CellOrder, report: pytest.TestReport) -> None:
        """An exception in a worker, which is a fault of this program; or a worker died: xdist reports its item."""
        host, why = host_of(report.node).name, self.session.why_gone(report.node)  # xdist adds the node
        text = str(report.longrepr or "").strip()
        if report.when in {"setup", "call"}:
            log.info("%s", text)
            cause = f"an unexpected exception in a worker: {text.rpartition(chr(10))[2]}"
            result = unanswered(order, Outcome.INFRA_FAILED, cause, host=host)
            self._take(order, result)
            self.session.came(report.node, result)
        else:
            where = f" on {host}" if len(self.plan.fleet.hosts) > 1 else ""
            self._take(order, unanswered(order, Outcome.LOST, f"the worker{where} died: {why or text}", host=host))

    def _take(self, order: CellOrder, result: CellResult) -> None:
        """The one result of an attempt. A cell that is to be repeated waits again."""
        if kept := self.plan.kept.get(order.cell.id):
            result = kept.entered(result, order.asks)
        with self._faults_are_kept(), held():
            for sink in self.sinks:
                sink.result(result)
            del self._orders[item_id(order.cell.id, order.attempt)]
            self.outcomes[order.cell.id] = result.outcome
        repeated = self._orders.get(item_id(order.cell.id, order.attempt + 1))
        if repeated and result.outcome in _REPEATED:
            self.pool.put_back(self._job(repeated))
        self._tell(Progress(cell_id=order.cell.id, phase=Phase.DONE, note=result.outcome))

    def _tell(self, progress: Progress) -> None:
        with self._faults_are_kept():
            for sink in self.sinks:
                sink.progress(progress)

    @contextmanager
    def _faults_are_kept(self) -> Iterator[None]:
        """pytest makes text of an exception. rich makes SystemExit of a broken pipe, and pytest prints it."""
        try:
            yield
        except (Exception, SystemExit) as error:
            self.fault = self.fault or error
            raise RuntimeError("a sink failed") from error

    @property
    def complete(self) -> bool:
        return len(self.outcomes) == len(self.plan.orders) and not self.pool.waiting and not self.pool.running

    def give_up_the_rest(self) -> None:
        """The cells for which no host is left."""
        health = self.pool.health
        for order in self.plan.orders:
            if order.cell.id in self.outcomes:
                continue
            able = [host.name for host in self.plan.fleet.hosts if order.cell.arch in host.slots]
            whys = "; ".join(f"{name}: {health.aside.get(name, 'has no worker')}" for name in able)
            what = f"no host {'is left that ' if able else ''}runs {order.cell.arch} guests"
            self._take(order, unanswered(order, Outcome.INFRA_FAILED, f"{what}{': ' if whys else ''}{whys}"))

    def pytest_internalerror(self, excrepr: object) -> bool:
        """True: pytest does not print it."""
        self.internal_error = str(excrepr)
        return True


def unanswered(order: CellOrder, outcome: Outcome, cause: str, *, host: str = "") -> CellResult:
    """What is known of a cell that did not come back."""
    asked = tuple(ask.probe for ask in order.asks)
    return CellResult(cell=order.cell, outcome=outcome, cause=cause, attempts=order.attempt, unasked=asked, host=host)


def run_on_workers(plan: Plan, sinks: Sequence[Sink]) -> Ended:
    """Run every cell, whatever is kept of it. Raises InfraError when no worker comes up, and what a sink raises."""
    plugin = Controller(plan, sinks)
    plugin.plan.folder.mkdir(parents=True, exist_ok=True)
    if len(plugin.pool.stranded(host.name for host in plugin.plan.fleet.hosts)) < len(plugin.plan.orders):
        status = pytest.main(_PYTEST_ARGUMENTS, plugins=[plugin])
        if plugin.fault:
            raise plugin.fault
        if status == pytest.ExitCode.INTERRUPTED:
            return Ended.COMPLETE if plugin.complete else Ended.INTERRUPTED
        if status == pytest.ExitCode.INTERNAL_ERROR or (plugin.internal_error and not plugin.outcomes):
            log.info("%s", plugin.internal_error)
            last = plugin.internal_error.strip().rpartition("\n")[2]
            raise InfraError(f"the workers could not be run: {last}", hint="-v shows the traceback")
    plugin.give_up_the_rest()
    return Ended.COMPLETE


# A pytest of our own: no terminal, no cache, no plugin of whoever's environment and no configuration or conftest of
# whoever's folder this is. The workers get the same, on whatever machine: xdist refuses arguments that are files here,
# so each is one word with its option.
_PYTEST_ARGUMENTS = [
    f"--config-file={os.devnull}",
    "--rootdir=/",
    "--disable-plugin-autoload",
    "--noconftest",
    "--capture=no",
    "-pno:terminal",
    "-pno:cacheprovider",
    "-pno:faulthandler",
    "-pno:logging",
    "-pxdist.plugin",
    "-prunner.engine.worker",
]
