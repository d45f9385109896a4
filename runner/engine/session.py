"""xdist's session over a fleet: workers come up side by side, in the background, and a host that is gone ends nothing.

xdist itself connects to one worker after another, ends the whole run when one cannot be reached, and replaces a dead
worker on the same host for ever. Only that is changed here.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import execnet
import pytest
from xdist.dsession import DSession
from xdist.workermanage import NodeManager

from runner.engine import links
from runner.engine.fleet import Fleet, Host
from runner.engine.scheduling import Pool, failed
from runner.engine.turns import TurnScheduling
from runner.engine.watchdog import Watchdog
from runner.errors import InfraError
from runner.model import Limits

_UNEXPLAINED = "it ended without a word"


class FleetSession(DSession):  # type: ignore[misc]  # xdist has no types
    """Takes the place of xdist's own session. Everything but `_connect` runs in the controller's thread."""

    def __init__(
        self,
        config: pytest.Config,
        fleet: Fleet,
        pool: Pool,
        cell_ids: list[str],
        *,
        limits: Limits,
        notice: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self._fleet = fleet
        self._pool = pool
        self._cell_ids = cell_ids
        self._notice = notice
        self._hosts: dict[Any, Host] = {}  # node -> its host
        self._coming: dict[object, Host] = {}  # connections on their way
        self._causes: dict[Any, str] = {}  # node -> why it died
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._over = False
        self._end_s = limits.end_s
        self.watchdog = Watchdog(fleet.silence_s, limits, self._end, lambda: self.queue.put(("beat", {})))

    # --- what xdist asks for ------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.nodemanager = NodeManager(self.config, specs=[])
        self.nodemanager.roots = []  # nothing is copied to anywhere: cells travel as data
        self.nodemanager.group = links.Links(self._fleet.connect_s)
        self.nodemanager.EXIT_TIMEOUT = self._end_s
        self._session = session
        for host in self._fleet.left:
            self._bring_up(host, self._wanted(host))
        self.watchdog.start()

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        self._over = True
        self.watchdog.stop()
        self._forget_coming(list(self._coming))
        if self.nodemanager is not None:
            self.nodemanager.group.end_coming()
        for thread in self._threads:
            thread.join(self._end_s)  # what came up by now ends with all the others
        super().pytest_sessionfinish()

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self) -> TurnScheduling:
        return TurnScheduling(self._cell_ids, self._pool, self._name_of, self._hopeful)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self.watchdog.starting(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self.watchdog.ready(node)

    def triggershutdown(self) -> None:
        self.watchdog.over()
        self._forget_coming(list(self._coming))
        super().triggershutdown()

    # --- workers come -------------------------------------------------------------------------------------------------

    def _wanted(self, host: Host) -> int:
        """No more workers than cells for them."""
        return min(host.workers, sum(job.arch in host.slots for job in self._pool.waiting.values()))

    def _bring_up(self, host: Host, number: int) -> None:
        """One after another on each host, for an sshd refuses many at once; the hosts side by side."""
        places = [object() for _ in range(number)]
        self._coming.update(dict.fromkeys(places, host))
        self._active_nodes.update(places)  # what is on its way keeps the session alive
        thread = threading.Thread(target=self._connect, args=(host, places), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _connect(self, host: Host, places: list[object]) -> None:
        for place in places:
            if self._over or place not in self._coming:
                return
            announced = _Once(self._announcing(place))

            def put(event: tuple[str, dict[str, Any]], announced: _Once = announced) -> None:
                announced.do(event[1]["node"])
                self.queue.put(event)

            try:
                announced.do(self.nodemanager.setup_node(self._spec(host), put))
            except (InfraError, OSError, EOFError, execnet.RemoteError) as error:
                what = error.what if isinstance(error, InfraError) else str(error) or type(error).__name__
                self.queue.put(("unreachable", {"place": place, "why": what}))

    def _announcing(self, place: object) -> Callable[[Any], None]:
        return lambda node: self.queue.put(("connected", {"node": node, "place": place}))

    def _spec(self, host: Host) -> Any:
        spec: Any = execnet.XSpec("execmodel=main_thread_only")
        spec.id = f"{host.name}-{next(self._numbers)}"
        if host.ssh:
            spec.ssh, spec.ssh_config, spec.python = host.ssh, str(self._fleet.ssh_config), host.python
        else:
            spec.popen = True
        spec.env = {"RUNNER_CACHE": host.cache} if host.cache else {}
        spec.host = host
        return spec

    def worker_connected(self, node: Any, place: object) -> None:
        if self._coming.pop(place, None) is None:  # the session is over
            node.ensure_teardown()
            return
        self._hosts[node] = node.gateway.spec.host
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

    # --- workers go ---------------------------------------------------------------------------------------------------

    def worker_workerfinished(self, node: Any) -> None:
        if node in self._active_nodes:
            self.watchdog.forget(node)
            super().worker_workerfinished(node)

    def worker_internal_error(self, node: Any, formatted_error: str) -> None:
        self.worker_errordown(node, formatted_error.strip().splitlines()[-1])
        links.end(node.gateway)

    def worker_errordown(self, node: Any, error: object | None) -> None:
        if node not in self._active_nodes:  # known already
            return
        self.watchdog.forget(node)
        self._active_nodes.discard(node)
        self.config.hook.pytest_testnodedown(node=node, error=error)
        cause = self._causes.setdefault(node, links.last_words(node.gateway) or _words(error))
        try:
            crashed = self.sched.remove_node(node)
        except KeyError:
            crashed = None
        if crashed:
            self.handle_crashitem(crashed, node)
        if self.shouldstop or self.shuttingdown:
            return
        self._host_failed(self._hosts[node], f"a worker died: {cause}", cell_id=crashed or "", replace=True)

    def _end(self, node: Any, why: str) -> None:
        """Also in the watchdog's thread."""
        self._causes.setdefault(node, why)
        links.end(node.gateway)

    # --- hosts --------------------------------------------------------------------------------------------------------

    def cell_failed(self, node: Any, cell_id: str, why: str) -> None:
        """A cell came back without an answer, by the machine's fault."""
        self._host_failed(self._hosts[node], why, cell_id=cell_id)

    def cell_answered(self, node: Any, cell_id: str, taken_s: float | None) -> None:
        host = self._hosts[node]
        self._fleet.standing.in_a_row.pop(host.name, None)
        job = next((job for job in self._pool.running if job.id == cell_id), None)
        if job and taken_s:
            self._pool.learn(host.name, job, taken_s)

    def distrust(self, node: Any) -> None:
        """What a worker sends makes no sense: it is ended."""
        self._end(node, "it sent something that is not about its cell")

    def where(self, node: Any) -> tuple[str, str]:
        """A worker's host, and why the worker died."""
        return self._hosts[node].name, self._causes.get(node, "")

    def _host_failed(self, host: Host, why: str, *, cell_id: str = "", replace: bool = False) -> None:
        standing = self._fleet.standing
        if failed(self._fleet, host.name, why, cell_id=cell_id):
            self._notice(
                f"host {host.name} is set aside after {self._fleet.failures} failures in a row, its cells run "
                f"elsewhere; the last one: {why}"
            )
            self._let_go(host)
        elif replace and host.name not in standing.aside:
            # a worker that died at a cell is replaced in any case: there are only so many cells
            if cell_id or standing.in_a_row[host.name] < self._fleet.failures:
                self._bring_up(host, min(1, self._wanted(host)))
            else:
                standing.aside[host.name] = why
                self._notice(f"host {host.name}, the last one, is given up: {why}")
                self._let_go(host)
        self.worker_beat()

    def _let_go(self, host: Host) -> None:
        """Its workers may finish the cells that they are at."""
        self._forget_coming([place for place, at in self._coming.items() if at is host])
        for node in [node for node, at in self._hosts.items() if at is host and node in self._active_nodes]:
            node.shutdown()

    def _forget_coming(self, places: list[object]) -> None:
        for place in places:
            self._coming.pop(place, None)
            self._active_nodes.discard(place)

    def _hopeful(self) -> set[str]:
        """The hosts that have workers, or will have some."""
        nodes = {host.name for node, host in self._hosts.items() if node in self._active_nodes}
        return (nodes | {host.name for host in self._coming.values()}) - self._fleet.standing.aside.keys()

    def _name_of(self, node: Any) -> tuple[str, str]:
        return node.gateway.id, self._hosts[node].name


class _Once:
    """Does something once, also when several threads want it."""

    def __init__(self, action: Callable[[Any], None]) -> None:
        self._action = action
        self._lock = threading.Lock()
        self._done = False

    def do(self, argument: Any) -> None:
        with self._lock:
            if not self._done:
                self._done = True
                self._action(argument)


def _words(error: object | None) -> str:
    text = str(error or "").strip()
    return _UNEXPLAINED if text in {"", "Not properly terminated"} else text.splitlines()[-1]
