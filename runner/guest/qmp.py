# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands for a running qemu, over its QMP socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from runner.model.deadline import Deadline

_PAUSE_S = 0.003
_BLOCK = 1 << 16


class QmpError(Exception):
    """qemu refused a command, or is gone."""


def connected(path: Path, deadline: Deadline, alive: Callable[[], bool]) -> socket.socket:
    """A connection to a socket, as soon as qemu has made it. Raises QmpError."""
    while True:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(str(path))
        except OSError as error:
            found.close()
            if not alive():
                raise QmpError("qemu ended at once") from error
            if deadline.expired:
                raise QmpError(f"qemu did not open its sockets within {deadline.what}") from error
            time.sleep(_PAUSE_S)
        else:
            return found


@dataclass(slots=True)
class Qmp:
    """Not thread-safe."""

    connection: socket.socket
    _rest: bytes = b""

    @classmethod
    @contextmanager
    def of(cls, connection: socket.socket, deadline: Deadline) -> Iterator[Self]:
        """Negotiate on `connection`, which is closed when the block ends."""
        with connection:
            qmp = cls(connection)
            qmp._message(deadline)
            qmp("qmp_capabilities", deadline=deadline)
            yield qmp

    def __call__(self, command: str, *, deadline: Deadline, **arguments: object) -> Any:
        """What `command` returns. Raises QmpError."""
        request = {"execute": command, "arguments": arguments}
        try:
            self.connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{command}: {error.strerror}") from error
        while True:
            message = self._message(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise QmpError(f"{command}: {message['error'].get('desc', '')}")

    def _message(self, deadline: Deadline) -> Any:
        while b"\n" not in self._rest:
            self.connection.settimeout(deadline.remaining_s + 0.001)
            try:
                chunk = self.connection.recv(_BLOCK)
            except OSError as error:
                raise QmpError(f"qemu did not answer: {error}") from error
            if not chunk:
                raise QmpError("qemu ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


def migrated(qmp: Qmp, path: Path, deadline: Deadline) -> None:
    """Write the state of a stopped machine to `path`. Raises QmpError."""
    qmp("migrate", uri=f"exec:cat > {path}", deadline=deadline)
    while (about := qmp("query-migrate", deadline=deadline)).get("status") != "completed":
        if about.get("status") in {"failed", "cancelled"}:
            raise QmpError(f"qemu could not save: {about.get('error-desc', 'it gave no reason')}")
        if deadline.expired:
            raise QmpError(f"qemu did not save within {deadline.what}")
        time.sleep(_PAUSE_S)
