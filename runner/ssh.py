"""ssh, to guests and to hosts. The only user of paramiko."""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import paramiko

from runner.errors import InfraError, RunnerError
from runner.model.deadline import Deadline
from runner.process import Completed

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what breaks is told by our own errors

_LOOK_S = 1.0  # a connection that broke unnoticed is found within this
_BLOCK = 1 << 16
_MAX_OUTPUT = 16 << 20  # of one command
_MAX_LINE = 4 << 20
_SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")


class ConnectionLost(Exception):
    """The other side is gone, or sends what it must not."""


class ConnectionSilent(ConnectionLost):
    """The other side did not answer within a limit."""


class Writer(Protocol):
    """Where a command's stdin is written to."""

    def write(self, content: bytes, /) -> int: ...


Feed = Callable[[Writer], None]


def feeding(content: bytes) -> Feed:
    """Writes just that."""

    def feed(to: Writer) -> None:
        to.write(content)

    return feed


@dataclass(frozen=True, slots=True)
class Ssh:
    """An authenticated connection to `peer`. Every wait has a limit; one that passes it ends the connection.

    Methods raise ConnectionLost when it breaks, ConnectionSilent when a limit passes.
    """

    transport: paramiko.Transport
    peer: str  # what messages call it

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        feed: Feed | None = None,
        together: bool = False,
    ) -> Completed:
        """Run a shell line to its end; `feed` writes its stdin. With `together` stderr comes in stdout.

        Raises also what `feed` raises.
        """
        out, err = bytearray(), bytearray()
        with self._channel(command, deadline, together=together) as channel:
            sender = _Sender(channel, feed)
            for chunk, is_err in self._chunks(channel, lambda: deadline, deadline):
                (err if is_err else out).extend(chunk)
                if len(out) + len(err) > _MAX_OUTPUT:
                    raise ConnectionLost(f"`{_shown(command)}` printed more than {_MAX_OUTPUT} bytes")
            if sender.error:
                raise sender.error
            status = self._status(channel, command, deadline)
        return Completed(status, out.decode(errors="replace"), err.decode(errors="replace"))

    def lines(self, command: str, *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        """The lines of `command` as they come, of stdout and stderr, without their ends.

        The last one may lack its end: it is not given. `silence` begins a wait: for the start, and for each output.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with self._channel(command, deadline.sooner(silence()), together=True) as channel:
            channel.shutdown_write()
            rest = ""
            for chunk, _ in self._chunks(channel, silence, deadline):
                *whole, rest = (rest + decode(chunk)).split("\n")
                yield from whole
                if len(rest) > _MAX_LINE:
                    raise ConnectionLost(f"{self.peer} printed a line of more than {_MAX_LINE} bytes")
            if not self.transport.is_active():  # paramiko then shows an end like any other
                raise ConnectionLost("the ssh connection broke")

    @contextmanager
    def _channel(self, command: str, start: Deadline, *, together: bool) -> Iterator[paramiko.Channel]:
        """The channel on which `command` runs; it starts before `start`."""
        with self._unbroken(f"`{_shown(command)}`"):
            try:
                # paramiko waits for some answers, and for room to send, without a limit
                with start.at_end(self.transport.close):
                    channel = self.transport.open_session(timeout=max(1.0, start.remaining_s))
                    channel.set_combine_stderr(together)
                    channel.exec_command(command)
            except (paramiko.SSHException, EOFError, OSError) as error:
                if start.expired:
                    raise ConnectionSilent(f"{self.peer} did not start a command within {start.what}") from error
                raise
            try:
                yield channel
            except GeneratorExit:
                raise
            except BaseException:
                self.transport.close()  # a channel's own close waits for a peer that does not read
                raise
            finally:
                channel.close()

    @contextmanager
    def _unbroken(self, doing: str) -> Iterator[None]:
        """paramiko's many ways to say that the other side is gone, as one."""
        try:
            yield
        except (paramiko.SSHException, OSError, EOFError) as error:
            silent = "timeout" in str(error).lower() or isinstance(error, TimeoutError)
            kind = ConnectionSilent if silent else ConnectionLost
            raise kind(f"{doing}: {error or type(error).__name__}") from error

    def _chunks(
        self, channel: paramiko.Channel, silence: Callable[[], Deadline], deadline: Deadline
    ) -> Iterator[tuple[bytes, bool]]:
        """What the command prints as it comes, each with: is it of stderr?"""
        quiet = silence()
        while True:
            ended = channel.eof_received or channel.closed  # looked at first: what came before it is read below
            came = False
            if channel.recv_ready():
                came = True
                yield channel.recv(_BLOCK), False
            if channel.recv_stderr_ready():
                came = True
                yield channel.recv_stderr(_BLOCK), True
            if came:
                quiet = silence()
            elif ended:
                return
            if deadline.expired:  # also of what never stops printing
                raise ConnectionSilent(f"{self.peer} was not done within {deadline.what}")
            if quiet.expired:
                raise ConnectionSilent(f"{self.peer} sent no output within {quiet.what}")
            select.select([channel], [], [], min(quiet.remaining_s, deadline.remaining_s, _LOOK_S) + 0.001)

    def _status(self, channel: paramiko.Channel, command: str, deadline: Deadline) -> int:
        """recv_exit_status() would wait for ever when the connection drops between the output and the status."""
        if not channel.status_event.wait(min(deadline.end_s, deadline.remaining_s)) or channel.exit_status == -1:
            raise ConnectionLost(f"`{_shown(command)}` ended without a status: the ssh connection dropped")
        return channel.exit_status


class _Sender:
    """Writes a command's stdin in a thread of its own, so that its output is read meanwhile."""

    def __init__(self, channel: paramiko.Channel, feed: Feed | None) -> None:
        self.error: RunnerError | None = None
        self._channel = channel
        if feed is None:
            channel.shutdown_write()
        else:
            threading.Thread(target=self._send, args=(feed,), daemon=True).start()

    def _send(self, feed: Feed) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):  # the reader meets the same and says so
            try:
                feed(self)
            except RunnerError as error:
                self.error = error
            self._channel.shutdown_write()

    def write(self, content: bytes, /) -> int:
        self._channel.sendall(content)
        return len(content)


@contextmanager
def to_guest(connection: socket.socket, private_key: str, host_key: bytes, *, deadline: Deadline) -> Iterator[Ssh]:
    """Authenticate on `connection`, both ways: a host key that is not the guest's own ends it."""
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.auth_timeout = max(1.0, deadline.remaining_s)
    ssh = Ssh(transport, "the guest")
    try:
        with ssh._unbroken("ssh handshake"):
            transport.start_client(timeout=max(1.0, deadline.remaining_s))
            shown = transport.get_remote_server_key().asbytes()
            if shown != host_key:
                raise ConnectionLost(f"an unknown host key answers: {base64.b64encode(shown).decode()}")
            transport.auth_publickey("root", paramiko.Ed25519Key.from_private_key(io.StringIO(private_key)))
        yield ssh
    finally:
        transport.close()


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom to log in. Paths may begin with `~/`."""

    name: str  # what messages call the host
    address: str
    port: int
    user: str
    key: str | None = None  # the file of a private key
    only_key: bool = False  # show no others
    known_hosts: str | None = None  # by default the user's own


@contextmanager
def to_host(account: Account, *, deadline: Deadline) -> Iterator[Ssh]:
    """Raises InfraError: no way there, an unknown host key, a key that is not accepted."""
    known = Path(account.known_hosts or "~/.ssh/known_hosts").expanduser()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Refuse(account, known))
    for file in (_SYSTEM_KNOWN_HOSTS, known):
        if file.is_file():
            client.load_system_host_keys(str(file))
    limit_s = max(1.0, deadline.remaining_s)
    where = f"{account.user}@{account.address}"
    try:
        client.connect(
            account.address,
            account.port,
            account.user,
            key_filename=str(Path(account.key).expanduser()) if account.key else None,
            allow_agent=not account.only_key,
            look_for_keys=not account.only_key,
            timeout=limit_s,
            banner_timeout=limit_s,
            auth_timeout=limit_s,
        )
        transport = client.get_transport()
        if transport is None:
            raise EOFError("closed")
        yield Ssh(transport, account.name)
    except paramiko.BadHostKeyException as error:
        entry = account.address if account.port == 22 else f"[{account.address}]:{account.port}"
        raise InfraError(
            f"{account.name}: the host shows another key than the one that is known: {_fingerprint(error.key)}",
            hint=f"if its key was changed on purpose: ssh-keygen -f {known} -R {entry}",
        ) from None
    except paramiko.AuthenticationException:
        what = f"{account.name}: {where} accepts none of our keys"
        raise InfraError(what, hint=f"ssh-copy-id -p {account.port} {where}") from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise InfraError(f"{account.name}: no connection to {where} port {account.port}: {error}") from error
    finally:
        client.close()


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown host key is never taken by itself."""

    def __init__(self, account: Account, known: Path) -> None:
        self._account = account
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        kind = key.get_name().removeprefix("ssh-").partition("-")[0]
        account = self._account
        raise InfraError(
            f"{account.name}: its host key is not known: {_fingerprint(key)}",
            hint="compare that with the host's own; when it is the same, this accepts it: "
            f"ssh-keyscan -t {kind} -p {account.port} {account.address} >> {self._known}",
        )


def _fingerprint(key: paramiko.PKey) -> str:
    """As ssh-keygen -l shows it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _shown(command: str) -> str:
    return command if len(command) <= 100 else f"{command[:100]}…"
