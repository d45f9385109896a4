# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The heartbeat between controller and workers, over an execnet channel of its own.

The controller asks each worker each second, and a thread of the worker answers; ssh's keepalive would not notice a
stopped process. A worker without a heartbeat is ended. One that answers while its cell hangs exceeds the cell's
limits: a cell keeps prepare_s and cell_s by itself, and `end_s` after that its worker is ended. A worker of another
machine that is not asked any more cannot reach its controller: it ends itself, and what it started ends with it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from runner.engine.plan import Phase
from runner.model import Cell, Limits
from runner.model.deadline import Deadline

log = logging.getLogger(__name__)

HEARTBEAT_KEY = "runner_heartbeat"  # the channel, in xdist's workerinput
EVERY_S = 1.0
_LATE = 3.0  # times EVERY_S: then it was this process that slept

# --- on a worker --------------------------------------------------------------------------------------------------


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
        time.sleep(EVERY_S)
    last()
    os.kill(os.getpid(), signal.SIGKILL)  # guests end with their worker: runner/process.py


# --- in the controller --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Watched:
    """A worker. Without a deadline it waits for a cell."""

    channel: Any
    deadline: Deadline | None
    doing: str
    heard: float | None = None  # None: it starts, and may be too busy to answer


@dataclass(slots=True)
class Heartbeats:
    """Asks in a thread of its own, and calls from there."""

    silence_s: float
    limits: Limits  # of the workers; those of a cell come with it
    on_fault: Callable[[Any, str], None]  # the node, and what is wrong
    on_beat: Callable[[], None]  # after all were asked
    _workers: dict[Any, _Watched] = field(default_factory=dict)  # by node
    _over: bool = False
    _asked: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)

    def starting(self, node: Any) -> None:
        """Give the worker its end of the channel."""
        channel = node.gateway.newchannel()
        channel.setcallback(lambda _: self._hear(node))
        node.workerinput[HEARTBEAT_KEY] = channel
        self._workers[node] = _Watched(channel, self.limits.deadline("start_s"), "start_s")

    def ready(self, node: Any) -> None:
        if worker := self._workers.get(node):
            worker.heard = time.monotonic()
        self.done(node)

    def entered(self, node: Any, cell: Cell, phase: Phase) -> None:
        """A cell reports. Of a cell that boots several times, only the first boot starts the clock."""
        name = "prepare_s" if phase is Phase.PREPARING else "cell_s"
        worker = self._workers.get(node)
        if worker and worker.doing != f"{cell.id} {name}":
            limits = cell.limits
            what = f"{name} and end_s: in all"
            worker.deadline = Deadline.after(getattr(limits, name) + limits.end_s, what)
            worker.doing = f"{cell.id} {name}"

    def done(self, node: Any) -> None:
        """It waits for a cell, or for nothing any more."""
        if worker := self._workers.get(node):
            worker.doing = ""
            worker.deadline = self.limits.deadline("end_s") if self._over else None

    def over(self) -> None:
        """There are no more cells: who has none ends."""
        self._over = True
        for node, worker in list(self._workers.items()):
            if not worker.doing:
                self.done(node)

    def forget(self, node: Any) -> None:
        self._workers.pop(node, None)

    def start(self) -> None:
        threading.Thread(target=self._go, name="heartbeats", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _hear(self, node: Any) -> None:
        worker = self._workers.get(node)
        if worker and worker.heard is not None:
            worker.heard = time.monotonic()

    def _go(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.ask()
            self.on_beat()

    def _forgive(self, slept_s: float) -> None:
        """This process was stopped and continued, or got no processor time: what came meanwhile is not read yet."""
        for worker in list(self._workers.values()):
            if worker.heard is not None:
                worker.heard = time.monotonic()
            if worker.deadline:
                worker.deadline = replace(worker.deadline, at=worker.deadline.at + slept_s)

    def ask(self) -> None:
        """Tell of what is wrong, and ask all the others."""
        now = time.monotonic()
        if now - self._asked > _LATE * EVERY_S:
            self._forgive(now - self._asked)
        self._asked = now
        for node, worker in list(self._workers.items()):
            if why := self._fault(worker):
                self.forget(node)
                log.info("%s: %s", node.gateway.id, why)
                self.on_fault(node, why)
                continue
            with suppress(OSError):  # xdist learns of it in its own way
                worker.channel.send(None)

    def _fault(self, worker: _Watched) -> str:
        if worker.deadline and worker.deadline.expired:
            return f"it was not done within {worker.deadline.what}"
        if worker.heard is not None and time.monotonic() - worker.heard > self.silence_s:
            return f"no heartbeat for {self.silence_s:g} s"
        return ""
