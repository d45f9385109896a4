# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""ssh to guests, and the keys of one: made for it, gone with it. The guest gets its host key and our public key alone.

The only user of paramiko; hosts are reached with the ssh program (runner/hosts/connection.py).
"""

from __future__ import annotations

import base64
import codecs
import io
import logging
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runner.model.deadline import Deadline
from runner.process import Completed


@dataclass(frozen=True, slots=True)
class Keys:
    """Ours, as an OpenSSH private key; the guest's, as the blob that its ssh server must show."""

    client_private: str
    host_public: bytes


def make_keys(folder: Path) -> Keys:
    """Make both key pairs; `folder` (0700) gets the guest's part: `host` in dropbear's format and `authorized_keys`."""
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    folder.mkdir(mode=0o700, parents=True)
    _write(folder / "host", _dropbear_private(host))
    _write(folder / "authorized_keys", client.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n")
    private = client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return Keys(private.decode(), _strings(b"ssh-ed25519", _raw_public(host)))


def leave_key(keys: Keys, folder: Path, port: int) -> tuple[str, ...]:
    """Write our key and the guest's into `folder`; the ssh command that uses them, and nothing of the user's own."""
    key, known = folder / "id", folder / "known_hosts"
    _write(key, keys.client_private.encode())
    _write(known, f"[127.0.0.1]:{port} ssh-ed25519 {base64.b64encode(keys.host_public).decode()}\n".encode())
    options = (f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", "LogLevel=ERROR")
    words = ("ssh", "-F", "none", "-i", str(key), *(word for option in options for word in ("-o", option)))
    return (*words, "-p", str(port), "root@127.0.0.1")


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _dropbear_private(key: Ed25519PrivateKey) -> bytes:
    """dropbear's signkey.c: the key's name, then seed and public key, 32 bytes each, in one string."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return _strings(b"ssh-ed25519", seed + _raw_public(key))


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _strings(*parts: bytes) -> bytes:
    """RFC 4251, section 5: each string after its length."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what breaks is told by our own errors

_LOOK_S = 1.0  # a connection that broke unnoticed is found within this
_BLOCK = 1 << 16
MAX_OUTPUT = 16 << 20  # of one command
MAX_LINE = 4 << 20


class ConnectionLost(Exception):
    """The other side is gone, or sends what it must not."""


class ConnectionSilent(ConnectionLost):
    """The other side did not answer within a limit."""


@dataclass(frozen=True, slots=True)
class Ssh:
    """An authenticated connection to a guest. Every wait has a limit; one that passes it ends the connection.

    Methods raise ConnectionLost when it breaks, ConnectionSilent when a limit passes.
    """

    transport: paramiko.Transport

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a shell line to its end. Its stderr comes in stdout."""
        out = bytearray()
        with self._channel(command, deadline) as channel:
            for chunk in self._chunks(channel, stdin, lambda: deadline, deadline):
                out.extend(chunk)
                if len(out) > MAX_OUTPUT:
                    raise ConnectionLost(f"`{_shown(command)}` printed more than {MAX_OUTPUT} bytes")
            status = self._status(channel, command, deadline)
        return Completed(status, out.decode(errors="replace"), "")

    def lines(
        self, command: str, *, silence: Callable[[], Deadline], deadline: Deadline, stdin: bytes = b""
    ) -> Iterator[str]:
        """The lines of `command` as they come, of stdout and stderr, without their ends.

        The last one may lack its end: it is not given. `silence` begins a wait: for the start, for each output, and for
        each block of `stdin` that is taken.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with self._channel(command, deadline.sooner(silence())) as channel:
            rest = ""
            for chunk in self._chunks(channel, stdin, silence, deadline):
                *whole, rest = (rest + decode(chunk)).split("\n")
                yield from whole
                if len(rest) > MAX_LINE:
                    raise ConnectionLost(f"the guest printed a line of more than {MAX_LINE} bytes")
            if not self.transport.is_active():  # paramiko then shows an end like any other
                raise ConnectionLost("the ssh connection broke")

    @contextmanager
    def _channel(self, command: str, start: Deadline) -> Iterator[paramiko.Channel]:
        """The channel on which `command` runs; it starts before `start`."""
        with self._unbroken(f"`{_shown(command)}`"):
            try:
                # paramiko waits for some answers, and for room to send, without a limit
                with start.at_end(self.transport.close):
                    channel = self.transport.open_session(timeout=max(1.0, start.remaining_s))
                    channel.set_combine_stderr(True)
                    channel.exec_command(command)
            except (paramiko.SSHException, EOFError, OSError) as error:
                if start.expired:
                    raise ConnectionSilent(f"the guest did not start a command within {start.what}") from error
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
        self, channel: paramiko.Channel, stdin: bytes, silence: Callable[[], Deadline], deadline: Deadline
    ) -> Iterator[bytes]:
        """What the command prints, as it comes, while `stdin` is sent to it."""
        sending = _Sending(channel, stdin)
        threading.Thread(target=sending.run, daemon=True).start()
        quiet, sent = silence(), 0
        while True:
            if sending.sent > sent:
                quiet, sent = silence(), sending.sent
            ended = channel.eof_received or channel.closed  # looked at first: what came before it is read below
            if channel.recv_ready():
                yield channel.recv(_BLOCK)
                quiet = silence()
            elif ended:
                return
            if deadline.expired:  # also of what never stops printing
                raise ConnectionSilent(f"the guest was not done within {deadline.what}")
            if quiet.expired:
                raise ConnectionSilent(f"the guest sent no output within {quiet.what}")
            select.select([channel], [], [], min(quiet.remaining_s, deadline.remaining_s, _LOOK_S) + 0.001)

    def _status(self, channel: paramiko.Channel, command: str, deadline: Deadline) -> int:
        """recv_exit_status() would wait for ever when the connection drops between the output and the status."""
        if not channel.status_event.wait(min(deadline.end_s, deadline.remaining_s)) or channel.exit_status == -1:
            raise ConnectionLost(f"`{_shown(command)}` ended without a status: the ssh connection dropped")
        return channel.exit_status


@dataclass(slots=True)
class _Sending:
    """Sends a command's input; `sent` bytes of it are on their way."""

    channel: paramiko.Channel
    stdin: bytes
    sent: int = 0

    def run(self) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):  # the reader meets the same and says so
            for at in range(0, len(self.stdin), _BLOCK):
                self.channel.sendall(self.stdin[at : at + _BLOCK])
                self.sent = at + _BLOCK
            self.channel.shutdown_write()


@contextmanager
def to_guest(connection: socket.socket, private_key: str, host_key: bytes, *, deadline: Deadline) -> Iterator[Ssh]:
    """Authenticate on `connection`, both ways: a host key that is not the guest's own ends it."""
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.auth_timeout = max(1.0, deadline.remaining_s)
    ssh = Ssh(transport)
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


def _shown(command: str) -> str:
    return command if len(command) <= 100 else f"{command[:100]}…"
