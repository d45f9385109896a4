# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Gateways to Pythons here and over ssh, and what is used of execnet beyond its documented names, and why.

As in xdist.py, within the bounds in pyproject.toml, held by test_xdist_contract.py:

    popen_args, ssh_args, bootstrap, _register   what Group.makegateway consists of: it has no limit, and only who made
                        the link can end one that does not come up
    Popen2IO, Popen2IOMaster    a process in a session of its own, and an ssh whose last words are kept; `infile` is
                        read before execnet begins to, for what a shell prints
    gateway._io         kills a worker, or its ssh, at once: the public exit waits for it
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import IO, Any

import execnet
from execnet import gateway_base, gateway_bootstrap, gateway_io

from runner.engine.fleet import OUTPUT_BEGINS, Host
from runner.errors import InfraError
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
