"""Keeps what a guest's console prints, from its first byte, in a file and at hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from runner.caches import disk_fault
from runner.errors import InfraError

log = logging.getLogger(__name__)

MAX_BYTES = 8 * 1024 * 1024  # a guest in a loop of oopses must not fill the disk; the rest is read and dropped
_CUT = b"\n[runner: the console log ends here, it was longer than the limit]\n"


class ConsoleLog:
    """The console of one guest. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._content = bytearray()
        self.ended = threading.Event()  # qemu closed it
        self._fault: InfraError | None = None

    @classmethod
    @contextmanager
    def of(cls, stream: IO[bytes] | None, path: Path, *, end_s: float) -> Iterator[Self]:
        """Read `stream` to its end in a thread, appending to `path`; that end comes within `end_s` of the block's."""
        if stream is None:
            raise ValueError("the guest was started without a pipe")
        console = cls(path)
        thread = threading.Thread(target=console._pump, args=(stream,), name="console", daemon=True)
        thread.start()
        try:
            yield console
        finally:
            thread.join(end_s)  # the writers are gone by now; what is left in the pipe is read in no time

    def _pump(self, stream: IO[bytes]) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:
                while chunk := stream.read1(65536):  # type: ignore[attr-defined]
                    self._keep(chunk, file)
        except (OSError, ValueError) as error:  # disk full; the pipe was closed under us
            log.warning("%s: the console log is cut short: %s", self._path, error)
            if isinstance(error, OSError):
                self._fault = disk_fault(error, f"the console log {self._path}")
            self._drain(stream)
        finally:
            self.ended.set()

    def _keep(self, chunk: bytes, file: IO[bytes]) -> None:
        with self._lock:
            room = MAX_BYTES - len(self._content)
            if room <= 0:
                return
            kept = chunk if len(chunk) <= room else chunk[:room] + _CUT
            self._content += kept
        file.write(kept)

    def _drain(self, stream: IO[bytes]) -> None:
        """A guest whose console nobody reads stops."""
        try:
            while chunk := stream.read1(65536):  # type: ignore[attr-defined]
                with self._lock:
                    if len(self._content) < MAX_BYTES:
                        self._content += chunk
        except (OSError, ValueError):
            return

    def check(self) -> None:
        """Raises InfraError when the log could not be written: what a guest says without one cannot be looked into."""
        if self._fault:
            raise self._fault

    @property
    def text(self) -> str:
        with self._lock:
            return self._content.decode(errors="replace")
