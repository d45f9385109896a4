# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The session of a run, and all that is used of pytest-xdist beyond its documented hooks and names, and why.

xdist itself connects to one worker after another before the first cell starts, ends the whole session when a host
cannot be reached, and with --max-worker-restart=0 drains every worker when one dies. On eight hosts, with cells of 2 s,
one death then costs 17 s, since the others idle until the last one is done and all workers start again. Here it costs
1.2 s. So these are used, within the bounds in pyproject.toml; test_xdist_contract.py fails when they change:

    DSession            drives a session: its `queue` of events, each a call of `worker_NAME`. No hook adds a worker
    _active_nodes       the session goes on while there are any: also what is on its way counts
    handle_crashitem    reports the item at which a worker died
    _session            xdist's handlers read it; its own sessionstart, which is replaced, sets it
    NodeManager         starts and ends workers, without specs of its own; `roots`, `group`, `EXIT_TIMEOUT` are ours
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from xdist.dsession import DSession
from xdist.workermanage import NodeManager

from runner.engine.fleet import Host
from runner.engine.gateways import Heartbeats, Links, kill, last_words, spec_of
from runner.engine.scheduling import Pool, TurnScheduling
from runner.errors import InfraError
from runner.model import CellResult, Limits, Outcome

log = logging.getLogger(__name__)

OF_THE_MACHINE = frozenset({Outcome.LOST, Outcome.INFRA_FAILED})  # these are no kernel's fault
_UNEXPLAINED = "it ended without a word"


class FleetSession(DSession):  # type: ignore[misc]  # xdist has no types
    """Takes the place of xdist's own session. Everything but `_connect` runs in the controller's thread.

    Workers come up side by side, in the background; a host that is gone ends nothing; a dead worker is replaced.
    """

    def __init__(self, config: pytest.Config, pool: Pool[Any], items: Sequence[str], limits: Limits) -> None:
        super().__init__(config)
        self._pool = pool
        self._health = pool.health
        self._items = items
        self._coming: dict[object, Host] = {}  # connections on their way
        self._causes: dict[Any, str] = {}  # node -> why it died
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._end_s = limits.end_s
        silence_s = self._health.fleet.limits.silence_s
        self.heartbeats = Heartbeats(silence_s, limits, self._end, lambda: self.queue.put(("beat", {})))

    # --- what xdist asks for --------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.nodemanager = NodeManager(self.config, specs=[])
        self.nodemanager.roots = []  # nothing is copied to anywhere: cells travel as data
        self.nodemanager.group = Links(self._health.fleet.limits.connect_s)
        self.nodemanager.EXIT_TIMEOUT = self._end_s
        self._session = session
        for host in self._health.left:
            self._bring_up(host, self._wanted(host))
        self.heartbeats.start()

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        self.heartbeats.stop()
        self._forget_coming(list(self._coming))
        if self.nodemanager is not None:
            self.nodemanager.group.end_coming()
        for thread in self._threads:
            thread.join(self._end_s)  # what came up by now ends with all the others
        super().pytest_sessionfinish()

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self) -> TurnScheduling:
        return TurnScheduling(self._items, self._pool, lambda node: host_of(node).name, self._hopeful)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self.heartbeats.starting(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self.heartbeats.ready(node)

    def triggershutdown(self) -> None:
        self.heartbeats.over()
        self._forget_coming(list(self._coming))
        super().triggershutdown()

    # --- workers come ---------------------------------------------------------------------------------------------

    def _wanted(self, host: Host) -> int:
        """No more workers than cells for them."""
        return min(host.workers, sum(job.arch in host.slots for job in self._pool.waiting.values()))

    def _bring_up(self, host: Host, number: int) -> None:
        """Side by side, but one after another on a host over ssh: an sshd refuses many at once."""
        places = [object() for _ in range(number)]
        self._coming.update(dict.fromkeys(places, host))
        self._active_nodes.update(places)  # what is on its way keeps the session alive
        for group in [places] if host.ssh else [[place] for place in places]:
            thread = threading.Thread(target=self._connect, args=(host, group), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self, host: Host, places: list[object]) -> None:
        for place in places:
            if place not in self._coming:
                return
            try:
                self.nodemanager.setup_node(spec_of(host, next(self._numbers)), self._announcing(place))
            except Exception as error:  # of a thread that ends without a word the session would wait for ever
                what = error.what if isinstance(error, InfraError) else str(error) or type(error).__name__
                self.queue.put(("unreachable", {"place": place, "why": what}))

    def _announcing(self, place: object) -> Callable[[tuple[str, dict[str, Any]]], None]:
        """Takes a node's events; the first one says that it is connected. All come in one thread."""
        known = threading.Event()

        def put(event: tuple[str, dict[str, Any]]) -> None:
            if not known.is_set():
                known.set()
                self.queue.put(("connected", {"node": event[1]["node"], "place": place}))
            self.queue.put(event)

        return put

    def worker_connected(self, node: Any, place: object) -> None:
        if self._coming.pop(place, None) is None:  # the session is over
            node.ensure_teardown()
            return
        self._active_nodes.discard(place)
        self._active_nodes.add(node)

    def worker_unreachable(self, place: object, why: str) -> None:
        host = self._coming.pop(place, None)
        self._active_nodes.discard(place)
        if host is not None:
            self._host_failed(host, f"cannot be reached: {why}", replace=True)

    def worker_beat(self) -> None:
        """Time passed: a worker that waits for a faster one may be needed after all."""
        if self.sched is not None and not self.shuttingdown:
            self.sched.schedule()

    # --- workers go -----------------------------------------------------------------------------------------------

    def worker_workerfinished(self, node: Any) -> None:
        if node in self._active_nodes:
            self.heartbeats.forget(node)
            super().worker_workerfinished(node)

    def worker_internal_error(self, node: Any, formatted_error: str) -> None:
        self.worker_errordown(node, formatted_error)
        kill(node.gateway)

    def worker_errordown(self, node: Any, error: object | None) -> None:
        if node not in self._active_nodes:  # known already
            return
        self.heartbeats.forget(node)
        self._active_nodes.discard(node)
        self.config.hook.pytest_testnodedown(node=node, error=error)
        cause = self._causes.setdefault(node, last_words(node.gateway) or _words(error))
        try:
            crashed = self.sched.remove_node(node)
        except KeyError:
            crashed = None
        if crashed:
            self.handle_crashitem(crashed, node)
        if self.shouldstop or self.shuttingdown:
            return
        cell_id = (crashed or "").partition("/")[0]
        self._host_failed(host_of(node), f"a worker died: {cause}", cell_id=cell_id, replace=True)

    def _end(self, node: Any, why: str) -> None:
        """End a worker at once; xdist then learns that it is gone. Also called in the thread of the heartbeats."""
        self._causes.setdefault(node, why)
        kill(node.gateway)

    # --- hosts ----------------------------------------------------------------------------------------------------

    def came(self, node: Any, result: CellResult) -> None:
        """A worker's cell is done: that counts for or against its host."""
        host, times = host_of(node), result.timings
        self.heartbeats.done(node)
        if result.outcome in OF_THE_MACHINE:
            why = f"{result.cell.id}: {result.cause.partition(chr(10))[0]}"
            self._host_failed(host, why, cell_id=result.cell.id)
            return
        self._health.answered(host.name)
        taken_s = (times.total_s or 0.0) - (times.prepare_s or 0.0)
        if result.outcome is Outcome.RAN and taken_s and (job := self._pool.at(node)):
            self._pool.learn(host.name, job, taken_s)

    def distrust(self, node: Any) -> None:
        """What a worker sends makes no sense: it is ended."""
        self._end(node, "it sent something that is not about its cell")

    def why_gone(self, node: Any) -> str:
        """Why a worker died; empty when nothing is known."""
        return self._causes.get(node, "")

    def _host_failed(self, host: Host, why: str, *, cell_id: str = "", replace: bool = False) -> None:
        health = self._health
        if health.failed(host.name, why, cell_id=cell_id):
            failures = f"{health.fleet.limits.failures} failures in a row"
            what = f"set aside after {failures}, its cells run elsewhere; the last one"
            log.warning("host %s is %s: %s", host.name, what, why)
            self._let_go(host)
        elif replace and host.name not in health.aside:
            # a worker that died at a cell is replaced in any case: there are only so many cells
            if cell_id or not health.worn_out(host.name):
                self._bring_up(host, min(1, self._wanted(host)))
            else:
                health.aside[host.name] = why
                log.warning("host %s, the last one, is given up: %s", host.name, why)
                self._let_go(host)
        self.worker_beat()

    def _let_go(self, host: Host) -> None:
        """Its workers may finish the cells that they are at."""
        self._forget_coming([place for place, at in self._coming.items() if at is host])
        for node in self._connected():
            if host_of(node) is host:
                node.shutdown()

    def _forget_coming(self, places: list[object]) -> None:
        for place in places:
            self._coming.pop(place, None)
            self._active_nodes.discard(place)

    def _hopeful(self) -> set[str]:
        """The hosts that have workers, or will have some."""
        hosts = [*map(host_of, self._connected()), *self._coming.values()]
        return {host.name for host in hosts} - self._health.aside.keys()

    def _connected(self) -> list[Any]:
        return [node for node in self._active_nodes if node not in self._coming]


def host_of(node: Any) -> Host:
    """The host that a worker runs on."""
    host: Host = node.gateway.spec.host
    return host


def _words(error: object | None) -> str:
    text = str(error or "").strip()
    return _UNEXPLAINED if text in {"", "Not properly terminated"} else text.splitlines()[-1]
