"""One ssh connection to a host, for everything but the workers: those have their own, see engine/links.py."""

from __future__ import annotations

import base64
import getpass
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import paramiko

from runner.errors import InfraError
from runner.guest.ssh import closed_at
from runner.hosts.hostsfile import HostEntry
from runner.model.deadline import Deadline
from runner.text import printable

_POLL_S = 0.02
_MAX_OUTPUT = 16 * 1024 * 1024
_KNOWN_HOSTS = "~/.ssh/known_hosts"
_SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
_TAIL_LINES = 15


class Writer(Protocol):
    """Where a command's stdin is written to."""

    def write(self, content: bytes, /) -> int: ...


Feed = Callable[[Writer], None]


@dataclass(frozen=True, slots=True)
class Said:
    """What a command on a host left."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Connection:
    """An authenticated connection to `host`."""

    host: HostEntry
    client: paramiko.SSHClient

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        feed: Feed | None = None,
        on_output: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Said:
        """Run a shell line to its end; `on_output` gets its stdout as it comes.

        Raises InfraError when the connection breaks, when the deadline passes, and, unless `check` is False, when it
        ends with anything but 0.
        """
        try:
            said = self._run(command, deadline, feed, on_output)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if deadline.expired:
                raise self._late(command, deadline) from error
            raise InfraError(f"{self.host.name}: the connection broke: {error or type(error).__name__}") from error
        if check and said.status != 0:
            tail = "\n".join(printable(said.stderr.strip() or said.stdout.strip()).splitlines()[-_TAIL_LINES:])
            raise InfraError(f"{self.host.name}: `{_shown(command)}` failed with exit status {said.status}:\n{tail}")
        return said

    def _run(
        self, command: str, deadline: Deadline, feed: Feed | None, on_output: Callable[[str], None] | None
    ) -> Said:
        transport = self.client.get_transport()
        if transport is None:
            raise EOFError("closed")
        with transport.open_session(timeout=max(1.0, deadline.remaining_s)) as channel:
            with closed_at(channel, deadline):
                channel.exec_command(command)
            threading.Thread(target=_send, args=(channel, feed), daemon=True).start()
            out, err = bytearray(), bytearray()
            while True:
                ended = channel.exit_status_ready()
                if channel.recv_ready():
                    chunk = channel.recv(1 << 16)
                    out += chunk
                    if on_output:
                        on_output(chunk.decode(errors="replace"))
                elif channel.recv_stderr_ready():
                    err += channel.recv_stderr(1 << 16)
                elif ended:
                    return Said(channel.recv_exit_status(), out.decode(errors="replace"), err.decode(errors="replace"))
                elif channel.closed or not transport.is_active():
                    raise EOFError("it was closed")
                elif deadline.expired:
                    raise self._late(command, deadline)
                else:
                    time.sleep(_POLL_S)
                if len(out) + len(err) > _MAX_OUTPUT:
                    raise InfraError(f"{self.host.name}: `{_shown(command)}` printed more than {_MAX_OUTPUT} bytes")

    def _late(self, command: str, deadline: Deadline) -> InfraError:
        return InfraError(f"{self.host.name}: `{_shown(command)}` did not end within {deadline.what}")


@contextmanager
def connect(host: HostEntry, *, deadline: Deadline) -> Iterator[Connection]:
    """Raises InfraError: no way there, an unknown host key, a key that is not let in."""
    known = Path(host.options.known_hosts or _KNOWN_HOSTS).expanduser()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Refuse(host, known))
    for file in (_SYSTEM_KNOWN_HOSTS, known):
        if file.is_file():
            client.load_system_host_keys(str(file))
    key = host.options.identity_file
    limit_s = max(1.0, deadline.remaining_s)
    try:
        client.connect(
            host.address,
            host.port,
            host.user or getpass.getuser(),
            key_filename=str(Path(key).expanduser()) if key else None,
            allow_agent=not host.options.identities_only,
            look_for_keys=not host.options.identities_only,
            timeout=limit_s,
            banner_timeout=limit_s,
            auth_timeout=limit_s,
        )
        yield Connection(host, client)
    except paramiko.BadHostKeyException as error:
        raise InfraError(
            f"{host.name}: the host shows another key than the one that is known: {_fingerprint(error.key)}",
            hint=f"if its key was changed on purpose: ssh-keygen -f {known} -R {_known_as(host)}",
        ) from None
    except paramiko.AuthenticationException:
        what = f"{host.name}: {host.ssh} lets none of our keys in"
        raise InfraError(what, hint=f"ssh-copy-id -p {host.port} {host.ssh}") from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise InfraError(f"{host.name}: no connection to {host.ssh} port {host.port}: {error}") from error
    finally:
        client.close()


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown host key is never taken by itself."""

    def __init__(self, host: HostEntry, known: Path) -> None:
        self._host = host
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        kind = key.get_name().removeprefix("ssh-").partition("-")[0]
        raise InfraError(
            f"{self._host.name}: its host key is not known: {_fingerprint(key)}",
            hint="compare that with the host's own; when it is the same, this accepts it: "
            f"ssh-keyscan -t {kind} -p {self._host.port} {self._host.address} >> {self._known}",
        )


def _known_as(host: HostEntry) -> str:
    return host.address if host.port == 22 else f"[{host.address}]:{host.port}"


def _fingerprint(key: paramiko.PKey) -> str:
    """As ssh-keygen -l shows it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _send(channel: paramiko.Channel, feed: Feed | None) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):  # the reader meets the same and says so
        if feed is not None:
            feed(_ChannelWriter(channel))
        channel.shutdown_write()


@dataclass(frozen=True, slots=True)
class _ChannelWriter:
    channel: paramiko.Channel

    def write(self, content: bytes, /) -> int:
        self.channel.sendall(content)
        return len(content)


def _shown(command: str) -> str:
    return command if len(command) <= 100 else f"{command[:100]}…"
