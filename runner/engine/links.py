"""Gateways to workers: execnet's own, but an ssh that does not come up is ended, and what it said is kept."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import IO, Any

import execnet
from execnet import gateway_base, gateway_bootstrap, gateway_io
from execnet.gateway_bootstrap import HostNotFound

from runner.errors import InfraError
from runner.text import plain

log = logging.getLogger(__name__)

# On another machine no module of the home folder may be imported, and no pytest plugin of its environment
_SETTLE = """
import os
folder, environ = channel.receive()
os.chdir(folder)
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
os.environ.update(environ)
"""
_KEPT_LINES = 5
_LINE_CHARS = 300


class SshLink(gateway_io.Popen2IOMaster):
    """An ssh process whose stdin and stdout are the gateway. Its stderr is read, and goes through our own log."""

    def __init__(self, spec: execnet.XSpec, execmodel: Any) -> None:
        self.remoteaddress = str(spec.ssh)
        self.said: deque[str] = deque(maxlen=_KEPT_LINES)
        pipe = subprocess.PIPE
        # a session of its own: a Ctrl-C is for the controller, which then ends the workers
        self.popen = subprocess.Popen(
            gateway_io.ssh_args(spec), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        gateway_base.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel=execmodel)
        self._listener = threading.Thread(target=self._listen, args=(self.popen.stderr,), daemon=True)
        self._listener.start()

    def _listen(self, stream: IO[bytes]) -> None:
        """What another machine says is hostile: no control characters, no endless lines."""
        with stream:
            for raw in iter(lambda: stream.readline(_LINE_CHARS), b""):
                text = plain(raw.decode(errors="replace"))
                if text:
                    self.said.append(text)
                    log.info("%s: %s", self.remoteaddress, text)

    def last_words(self) -> str:
        """Why it ended, after it did."""
        self._listener.join(timeout=1)
        return "; ".join(self.said)


class Links(execnet.Group):
    """Makes gateways; what brings up no Python within `connect_s` is killed."""

    def __init__(self, connect_s: float) -> None:
        super().__init__(execmodel="main_thread_only")
        self._connect_s = connect_s
        self._coming: set[gateway_io.Popen2IOMaster] = set()

    def makegateway(self, spec: Any = None) -> execnet.Gateway:
        """Raises InfraError with ssh's own words."""
        self.allocate_id(spec)
        link = (SshLink if spec.ssh else gateway_io.create_io)(spec, self.execmodel)
        self._coming.add(link)
        late = threading.Event()

        def give_up() -> None:
            late.set()
            link.kill()

        timer = threading.Timer(self._connect_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            gateway = gateway_bootstrap.bootstrap(link, spec)
            gateway._rinfo()  # a dead link shows here at the latest
            settling = gateway.remote_exec(_SETTLE)
            settling.send(("/" if spec.ssh else ".", dict(spec.env)))
            settling.waitclose()
        except (OSError, EOFError, AssertionError, HostNotFound, execnet.RemoteError) as error:
            link.kill()
            link.wait()
            for stream in (link.popen.stdin, link.popen.stdout):
                with suppress(OSError):
                    stream.close()
            why = f"no answer within {self._connect_s:g} s" if late.is_set() else _last_words(link)
            raise InfraError(why or f"it ended: {error or type(error).__name__}") from error
        finally:
            timer.cancel()
            self._coming.discard(link)
        gateway.spec = spec
        self._register(gateway)
        return gateway

    def end_coming(self) -> None:
        """Kill what is not up yet."""
        for link in list(self._coming):
            link.kill()


def end(gateway: execnet.Gateway) -> None:
    """End the process behind a gateway at once; its channels then report that it is gone."""
    gateway._io.kill()


def last_words(gateway: execnet.Gateway) -> str:
    """What an ssh said before it ended; empty for a process of this machine."""
    return _last_words(gateway._io)


def _last_words(link: gateway_base.IO) -> str:
    return link.last_words() if isinstance(link, SshLink) else ""
