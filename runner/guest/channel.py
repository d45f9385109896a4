# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is said to a guest that may be saved, over sockets of its own qemu: commands to that, questions to the agent.

See runner/agent/warm.py for what is said to the agent. Nobody else can be on it: the socket is in the folder of the
guest.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from runner.guest.ssh import MAX_LINE, MAX_OUTPUT, ConnectionLost, ConnectionSilent
from runner.model.deadline import Deadline
from runner.process import Completed

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


_DONE = b'{"event": "done"'
_SEED_BYTES = 64  # more than the kernel's own key has


@dataclass(slots=True)
class Channel:
    """One request after the other. Methods raise ConnectionLost when it breaks, ConnectionSilent at a limit.

    After either it is closed: what would come next is the answer to an earlier request.
    """

    connection: socket.socket
    _rest: bytes = b""

    def ready(self, deadline: Deadline) -> None:
        """The agent says that it is warm."""
        self._reply(deadline)

    def wake(self, deadline: Deadline) -> None:
        """Set the guest's clock, and make its random numbers other ones than those of any other start."""
        self._request("wake", {"now_ns": time.time_ns(), "seed": secrets.token_hex(_SEED_BYTES)}, deadline)
        self._reply(deadline)

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a shell command to its end. Its stderr comes in stdout."""
        self._request("run", {"command": command, "stdin": len(stdin)}, deadline, stdin)
        return self._reply(deadline)

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        """The agent's lines as they come, without their ends. `silence` begins the wait for each output."""
        sizes = {name: len(content) for name, content in files.items()}
        self._request("ask", {"files": sizes}, deadline, b"".join(files.values()))
        for line in self._lines(silence, deadline):
            yield line.decode(errors="replace")

    def close(self) -> None:
        self.connection.close()

    def _request(self, do: str, about: dict[str, object], deadline: Deadline, data: bytes = b"") -> None:
        message = json.dumps({"do": do, **about}).encode() + b"\n" + data
        try:
            self.connection.settimeout(deadline.remaining_s + 0.001)
            self.connection.sendall(message)
        except OSError as error:
            self.close()
            raise _broken(error) from error

    def _reply(self, deadline: Deadline) -> Completed:
        """What the last line says; lines before it are nobody's."""
        lines = self._lines(lambda: deadline, deadline)
        while True:
            try:
                next(lines)
            except StopIteration as end:
                done: Completed = end.value
                return done

    def _lines(self, silence: Callable[[], Deadline], deadline: Deadline) -> Generator[bytes, None, Completed]:
        """Every line before the last one, which says `done`. Returns what that one tells."""
        quiet = silence()
        while True:
            while b"\n" not in self._rest:
                if len(self._rest) > MAX_LINE:
                    self.close()
                    raise ConnectionLost(f"the guest printed a line of more than {MAX_LINE} bytes")
                self._more(quiet, deadline)
                quiet = silence()
            line, _, self._rest = self._rest.partition(b"\n")
            if line.startswith(_DONE):
                return self._completed(line, quiet, deadline)
            yield line

    def _completed(self, line: bytes, quiet: Deadline, deadline: Deadline) -> Completed:
        try:
            done = json.loads(line)
            status, size = int(done["status"]), int(done["size"])
        except (ValueError, LookupError, TypeError) as error:
            self.close()
            raise ConnectionLost("the guest sent something else than the agent's words") from error
        if not 0 <= size <= MAX_OUTPUT:
            self.close()
            raise ConnectionLost(f"a command printed more than {MAX_OUTPUT} bytes")
        while len(self._rest) < size:
            self._more(quiet, deadline)
        output, self._rest = self._rest[:size], self._rest[size:]
        return Completed(status, output.decode(errors="replace"), "")

    def _more(self, quiet: Deadline, deadline: Deadline) -> None:
        try:
            ready, _, _ = select.select([self.connection], [], [], min(quiet.remaining_s, deadline.remaining_s))
            chunk = self.connection.recv(_BLOCK) if ready else None
        except (OSError, ValueError) as error:
            self.close()
            raise _broken(error) from error
        if chunk is None:
            self.close()
            done = deadline.expired
            limit = deadline if done else quiet
            raise ConnectionSilent(f"the guest {'was not done' if done else 'sent no output'} within {limit.what}")
        if not chunk:
            self.close()
            raise ConnectionLost("the connection to the guest broke")
        self._rest += chunk


def _broken(error: Exception) -> ConnectionLost:
    silent = isinstance(error, TimeoutError)
    return (ConnectionSilent if silent else ConnectionLost)(f"the connection to the guest: {error}")
