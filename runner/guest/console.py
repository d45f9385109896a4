# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest's console, from its first byte on: kept in a file and at hand, and parsed as it comes. Hostile text."""

from __future__ import annotations

import codecs
import logging
import os
import re
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from runner.caches import disk_fault
from runner.errors import InfraError
from runner.guest.splats import SplatParser, ends_a_kernel
from runner.model import Splat
from runner.text import lines

log = logging.getLogger(__name__)

MAX_BYTES = 8 * 1024 * 1024  # a guest in a loop of oopses must not fill the disk; the rest is read and dropped
_CUT = b"\n[runner: the console log ends here, it was longer than the limit]\n"
_MAX_LINE = 2048  # what the parser sees of one; the kernel's own end at 1024, kernel/printk/printk.c
_LISTENING = "Not backgrounding"  # dropbear's svr-main.c, when its sockets are open
_POWERED_OFF = re.compile(r"reboot: (?:Power down|Restarting system|System halted)")  # kernel/reboot.c
_FORWARDING = "Could not set up host forwarding rule"  # qemu's net/slirp.c
_LEAD_LINES = 3  # of what comes before an end: "cut here", the lock's owner
_MAX_LAST_LINES = 120
_TAIL_LINES = 20
_LOOK_S = 0.1
_GATHER_S = 0.02  # an emulated serial port sends each character by itself, and each look at it costs


@dataclass(slots=True)
class ConsoleParser:
    """Knows what a console has said so far; looks at each character once."""

    listening: bool = False  # has the guest's ssh server opened its sockets? A knock before that is lost
    looked_at: int = 0  # characters, in whole lines
    _splats: SplatParser = field(default_factory=SplatParser)
    _rest: str = ""  # the line that has no end yet

    @property
    def died(self) -> str:
        """The line in which the kernel says that it died; empty when it does not."""
        return self._splats.died

    @property
    def splats(self) -> tuple[Splat, ...]:
        """What the kernel reported by itself, in order. The last one may go on."""
        return self._splats.splats

    @property
    def begun(self) -> str:
        """The probe, or PROBE:ITEM, that the agent named last; empty before the first."""
        return self._splats.probe

    def feed(self, text: str) -> None:
        *whole, rest = text.split("\n")
        for line in whole:
            self._line((self._rest + line)[:_MAX_LINE])
            self._rest = ""
        self._rest = (self._rest + rest)[:_MAX_LINE]

    def _line(self, line: str) -> None:
        self.looked_at += len(line) + 1
        for part in lines(line):
            self._splats.feed(part)
            self.listening = self.listening or _LISTENING in part


class Console:
    """The console of one guest. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._content = bytearray()
        self._began_s = self._heard_s = time.monotonic()
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.parser = ConsoleParser()
        self._fault: InfraError | None = None
        self._abandoned = threading.Event()
        self.ended = threading.Event()  # qemu closed it

    @classmethod
    @contextmanager
    def of(cls, process: subprocess.Popen[bytes], path: Path, *, end_s: float) -> Iterator[Self]:
        """Read the stdout of `process` to its end in a thread, appending to `path`.

        That end comes with the end of `process`, within `end_s` of the block's. It is not waited for when something
        that outlived `process` keeps the pipe open.
        """
        if process.stdout is None:
            raise ValueError("the guest was started without a pipe")
        console = cls(path)
        thread = threading.Thread(target=console._pump, args=(process.stdout,), name="console", daemon=True)
        thread.start()
        try:
            yield console
        finally:
            limit = time.monotonic() + end_s
            while thread.is_alive() and time.monotonic() < limit:
                thread.join(_LOOK_S)
                if process.poll() is not None:
                    console._abandoned.set()

    def _pump(self, stream: IO[bytes]) -> None:
        """Not by the stream's own buffer: its lock is held while it waits, and closing it waits for that lock."""
        try:
            with self._path.open("ab", buffering=0) as file:
                while chunk := self._read(stream.fileno()):
                    file.write(self._keep(chunk))
        except (OSError, ValueError) as error:  # disk full; the pipe was closed under us
            log.warning("%s: the console log is cut short: %s", self._path, error)
            if isinstance(error, OSError):
                self._fault = disk_fault(error, f"the console log {self._path}")
            with suppress(OSError, ValueError):  # a guest whose console nobody reads stops
                while chunk := self._read(stream.fileno()):
                    self._keep(chunk)
        finally:
            with self._lock:
                self.parser.feed("\n")  # a last line may have no end
            self.ended.set()

    def _read(self, pipe: int) -> bytes:
        """What is there, soon after something is; nothing at the end."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while not poll.poll(_LOOK_S * 1000):
            if self._abandoned.is_set():
                return b""
        time.sleep(_GATHER_S)
        return os.read(pipe, 1 << 16)

    def _keep(self, chunk: bytes) -> bytes:
        """As much of it as is kept."""
        with self._lock:
            room = MAX_BYTES - len(self._content)
            if room < 0:  # it was cut
                return b""
            kept = chunk if len(chunk) <= room else chunk[:room] + _CUT
            self._content += kept
            self._heard_s = time.monotonic()
            self.parser.feed(self._decode(kept))
        return kept

    def check(self) -> None:
        """Raises InfraError when the log could not be written: what a guest says without one cannot be looked into."""
        if self._fault:
            raise self._fault

    @property
    def age_s(self) -> float:
        """Since its guest was started."""
        return time.monotonic() - self._began_s

    @property
    def silent_s(self) -> float:
        """Since the guest last printed something; since its start where it never did."""
        return time.monotonic() - self._heard_s

    @property
    def text(self) -> str:
        """All of it: asked for once, at the end."""
        with self._lock:
            return self._content.decode(errors="replace")

    @property
    def splats(self) -> tuple[Splat, ...]:
        """What the kernel reported by itself, in order. The last one may go on."""
        with self._lock:
            return self.parser.splats

    @property
    def begun(self) -> str:
        """The probe, or PROBE:ITEM, that the agent named last; empty before the first."""
        with self._lock:
            return self.parser.begun


# --- a whole console, at the end ------------------------------------------------------------------------------------


def kernel_started(text: str) -> bool:
    """Did the kernel itself print anything?"""
    return "Linux version " in text or any(re.match(r"\[ *\d+\.\d{6}\] ", line) for line in lines(text))


def powered_off(text: str) -> bool:
    """Did the kernel itself end the machine?"""
    return _POWERED_OFF.search(text) is not None


def port_taken(text: str) -> bool:
    """Did qemu not get its port? It was free a moment before."""
    return _FORWARDING in text


def tail(text: str) -> str:
    """The last lines that are not empty."""
    return "\n".join([line for line in lines(text) if line][-_TAIL_LINES:])


def last_words(text: str) -> str:
    """From just before the first report that explains an end on; the last lines when there is none."""
    said = [line for line in lines(text) if line]
    for at, line in enumerate(said):
        if ends_a_kernel(line):
            start = max(0, at - _LEAD_LINES)
            return "\n".join(said[start : start + _MAX_LAST_LINES])
    return "\n".join(said[-_TAIL_LINES:])
