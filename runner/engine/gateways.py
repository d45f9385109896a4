# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Pythons here and over ssh: their gateways, the heartbeat over each, and what is used of execnet for it beyond its
documented names, and why.

As in xdist.py, within the bounds in pyproject.toml, held by test_xdist_contract.py:

    popen_args, ssh_args, bootstrap, _register   what Group.makegateway consists of: it has no limit, and only who made
                        the link can end one that does not come up
    Popen2IO, Popen2IOMaster    a process in a session of its own, and an ssh whose last words are kept; `infile` is
                        read before execnet begins to, for what a shell prints
    gateway._io         kills a worker, or its ssh, at once: the public exit waits for it

The controller asks each worker each second over a channel of its own, and a thread of the worker answers; the keepalive
of ssh would not notice a stopped process. A worker without a heartbeat is ended. One that answers while its cell hangs
exceeds the limits of the cell: a cell keeps prepare_s and cell_s by itself, and `end_s` after that its worker is ended.
A worker of another machine that is not asked any more cannot reach its controller: it ends itself, and what it started
ends with it.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, Any

import execnet
from execnet import gateway_base, gateway_bootstrap, gateway_io

from runner.engine.fleet import OUTPUT_BEGINS, Host
from runner.engine.plan import HEARTBEAT_KEY, Phase
from runner.errors import InfraError
from runner.model import Cell, Limits
from runner.model.deadline import Deadline
from runner.text import plain

log = logging.getLogger(__name__)

# On another machine no module of the home folder may be imported
_SETTLE = """
import os
folder, environ = channel.receive()
os.chdir(folder)
os.environ.update(environ)
"""
_KEPT_LINES = 5
_LINE_CHARS = 300
_EVERY_S = 1.0  # each worker is asked
_LATE = 3.0  # times that: then it was this process that slept


class Link(gateway_io.Popen2IOMaster):
    """A Python here, or an ssh, whose stdin and stdout are the gateway. What ssh says goes through our own log."""

    def __init__(self, spec: execnet.XSpec, execmodel: Any) -> None:
        self.remoteaddress = str(spec.ssh or "")
        self.said: deque[str] = deque(maxlen=_KEPT_LINES)
        argv = gateway_io.ssh_args(spec) if spec.ssh else gateway_io.popen_args(spec)
        pipe = subprocess.PIPE
        # a session of its own: a Ctrl-C is for the controller alone, which then ends the workers
        self.popen = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe if spec.ssh else None, start_new_session=True
        )
        gateway_base.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)
        self._listener = threading.Thread(target=self._listen, args=(self.popen.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stream: IO[bytes] | None) -> None:
        """What another machine says is hostile: no control characters, no endless lines."""
        if stream is None:  # a worker of this machine says it itself
            return
        with stream:
            for raw in iter(lambda: stream.readline(_LINE_CHARS), b""):
                text = plain(raw.decode(errors="replace"))
                if text:
                    self.said.append(text)
                    log.info("%s: %s", self.remoteaddress, text)

    def skip_noise(self) -> None:
        """Read what the user's shell there prints before Python starts; it is shown if Python does not start."""
        for raw in iter(lambda: self.infile.readline(_LINE_CHARS), b""):
            if raw.rstrip().endswith(OUTPUT_BEGINS.encode()):
                return
            self.said.append(plain(raw.decode(errors="replace")))

    def last_words(self) -> str:
        """Why it ended, after it did."""
        self._listener.join(timeout=1)
        return "; ".join(self.said)


class Links(execnet.Group):
    """Makes gateways; what brings up no Python within `connect_s` is killed. Their specs have ids."""

    def __init__(self, connect_s: float) -> None:
        super().__init__(execmodel="main_thread_only")
        self._connect_s = connect_s
        self._coming: set[Link] = set()

    def makegateway(self, spec: Any = None) -> execnet.Gateway:
        """Raises InfraError with ssh's own words."""
        link = Link(spec, self.execmodel)
        deadline = Deadline.after(self._connect_s, "connect_s")
        self._coming.add(link)
        try:
            with deadline.at_end(link.kill):
                if spec.ssh:
                    link.skip_noise()
                gateway = gateway_bootstrap.bootstrap(link, spec)
                settling = gateway.remote_exec(_SETTLE)
                settling.send(("/" if spec.ssh else ".", dict(spec.env)))
                settling.waitclose()  # a dead link shows here at the latest
        except Exception as error:  # what execnet raises of a host that sends anything is no short list
            link.kill()
            link.wait()
            for stream in (link.popen.stdin, link.popen.stdout):
                with suppress(OSError):
                    stream.close()
            why = f"no answer within {deadline.what}" if deadline.expired else link.last_words()
            raise InfraError(why or f"it ended: {error or type(error).__name__}") from error
        finally:
            self._coming.discard(link)
        gateway.spec = spec
        self._register(gateway)
        return gateway

    def end_coming(self) -> None:
        """Kill what is not up yet."""
        for link in list(self._coming):
            link.kill()


def spec_of(host: Host, number: int) -> Any:
    """Of a new worker of a host, which has `spec.host`."""
    spec: Any = execnet.XSpec("execmodel=main_thread_only")
    spec.id = f"{host.name}-{number}"
    if host.ssh:
        spec.ssh, spec.ssh_config = host.ssh, str(host.ssh_config)
        spec.python = f"echo {OUTPUT_BEGINS}; exec {host.python}"
    else:
        spec.popen = True
    spec.env = {"RUNNER_CACHE": host.cache} if host.cache else {}
    spec.host = host
    return spec


def kill(gateway: Any) -> None:
    """End its Python, or its ssh, at once."""
    gateway._io.kill()


def last_words(gateway: Any) -> str:
    """Why it ended, after it did."""
    said: str = gateway._io.last_words()
    return said


# --- the heartbeat ----------------------------------------------------------------------------------------------------


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
        while not self._ended.wait(_EVERY_S):
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
        if now - self._asked > _LATE * _EVERY_S:
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
