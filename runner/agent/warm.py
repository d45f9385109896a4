# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Gets ready, and then serves a port of the machine instead of an ssh server.

What comes is a line of JSON and the bytes that it announces; what goes ends with a line `done`:

    {"do": "ask", "files": {NAME: SIZE, ...}}   the agent's lines; files besides asks.json lie beside it
    {"do": "run", "command": ..., "stdin": SIZE}    its output follows the last line
    {"do": "wake", "now_ns": ..., "seed": HEX}  sets the clock, adds to the kernel's random numbers, programs its timers
    {"event": "done", "status": ..., "size": SIZE}

A process that is saved with its machine continues in every machine that is started from there. Each question is asked
by a child: what becomes of it is told here, and the next one starts from the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import sys
import time

from .__main__ import Ready
from .guest import LIBC, load_modules, read, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PORT = "runner.agent"  # _AGENT_PORT of runner/guest/command.py
_PORTS = "/sys/class/virtio-ports"
# RNDADDENTROPY, RNDRESEEDCRNG of linux/random.h; powerpc's ioctls have their direction elsewhere
_STIR, _STIR_POWERPC = (0x40085203, 0x5207), (0x80085203, 0x20005207)
_ABSOLUTE = 1  # TIMER_ABSTIME
_PAUSE_S = 0.01
_TRIES = 500
_BLOCK = 1 << 16


def open_port() -> int:
    """Raises OSError when the machine has no such port. The driver may be a module, and learns names a bit later."""
    if not os.path.isdir(_PORTS):
        load_modules(["virtio_console"])
    for _ in range(_TRIES):
        for port in sorted(os.listdir(_PORTS)):
            if read(os.path.join(_PORTS, port, "name")) == PORT:
                return os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC)
        time.sleep(_PAUSE_S)
    raise OSError(f"no port {PORT}")


class Served:
    """Requests that come on one side of a port or socket, one after the other."""

    def __init__(self, port: int, ready: Ready, folder: str) -> None:
        self._port, self._ready, self._folder = port, ready, folder
        self._rest = b""
        # As the ssh server has: a signal that its receiver ignores is never pending, and programs look for that.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Answer the next request."""
        while b"\n" not in self._rest:
            self._rest += self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        request = json.loads(line)
        getattr(self, f"_{request['do']}")(request)

    def done(self, status: int = 0, output: bytes = b"") -> None:
        line = json.dumps({"event": "done", "status": status, "size": len(output)})
        self._send(f"{line}\n".encode() + output)

    def _ask(self, request: dict[str, Any]) -> None:
        contents = {name: self._take(size) for name, size in request["files"].items()}
        child = os.fork()
        if not child:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._answer(contents)
                sys.stdout.flush()
                os._exit(0)
            except BaseException as error:  # nothing of the parent's may run here
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            self._send(b"\n")  # its last line may have no end
        self.done(status)

    def _answer(self, contents: dict[str, bytes]) -> None:
        document = json.loads(contents["asks.json"])
        os.chdir(self._folder)
        for name, content in contents.items():
            with open(name, "wb") as file:
                file.write(content)
        errors = os.open("agent.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(errors, 2)
        os.dup2(self._port, 1)
        self._ready.ask(document, self._folder)

    def _run(self, request: dict[str, Any]) -> None:
        feed = self._take(request["stdin"])
        self.done(*spawn("/bin/sh", ["sh", "-c", request["command"]], dict(os.environ), feed))

    def _wake(self, request: dict[str, Any]) -> None:
        time.clock_settime_ns(time.CLOCK_REALTIME, request["now_ns"])
        seed = bytes.fromhex(request["seed"])
        add, reseed = _STIR_POWERPC if os.uname().machine.startswith("ppc") else _STIR
        random = os.open("/dev/urandom", os.O_WRONLY)
        try:
            fcntl.ioctl(random, add, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
            fcntl.ioctl(random, reseed)
        finally:
            os.close(random)
        program_timers()
        self.done()

    def _take(self, size: int) -> bytes:
        """The next bytes. The port gives a page at a time: what came before must not be copied for each."""
        chunks, missing = [self._rest], size - len(self._rest)
        while missing > 0:
            chunks.append(self._more())
            missing -= len(chunks[-1])
        whole = b"".join(chunks)
        self._rest = whole[size:]
        return whole[:size]

    def _more(self) -> bytes:
        chunk = os.read(self._port, _BLOCK)
        if not chunk:  # nobody is connected to the other side
            time.sleep(_PAUSE_S)
        return chunk

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._port, data) :]


def program_timers() -> None:
    """Make the kernel program the timer of each processor; does not return if one does not fire.

    QEMU loses what riscv64's timer and powerpc's decrementer wait for (vmstate_riscv_mtimer has no timers), and a
    kernel programs a timer again only for what is due before that: after a start nothing that sleeps may ever wake.
    """
    sleep = LIBC.clock_nanosleep
    due = struct.pack("qq", 0, 1)  # the first nanosecond after the boot: before all else that is due
    processors = os.sched_getaffinity(0)
    for processor in processors:
        os.sched_setaffinity(0, {processor})
        sleep(time.CLOCK_MONOTONIC, _ABSOLUTE, due, None)
    os.sched_setaffinity(0, processors)


def main() -> None:
    """The arguments are a document: {"modules": [...], "kinds": [...]}."""
    wanted = json.loads(sys.argv[1])
    port = open_port()
    served = Served(port, Ready(wanted["modules"], wanted["kinds"]), os.getcwd())
    served.done()
    while True:
        served.serve()
