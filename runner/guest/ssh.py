"""Speaks ssh to a guest. The only user of paramiko."""

from __future__ import annotations

import base64
import codecs
import io
import logging
import os
import select
import shutil
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import paramiko

from runner.errors import GuestLost, GuestSilent
from runner.guest.interface import Answered
from runner.guest.keys import Keys
from runner.model.deadline import Deadline

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what breaks is told by our own errors

_POLL_S = 0.2
_MAX_OUTPUT = 16 * 1024 * 1024  # of one command
_MAX_LINE = 4 * 1024 * 1024


def greeted(port: int, *, timeout_s: float) -> socket.socket | None:
    """A connection on which an ssh server said something; None when there is none yet.

    qemu's user network accepts before the guest listens, so a connection alone proves nothing.
    """
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    except OSError:
        return None
    try:
        if connection.recv(4, socket.MSG_PEEK) == b"SSH-":
            return connection
    except OSError:
        pass
    connection.close()
    return None


class Ssh:
    """One authenticated connection. Raises GuestLost when it breaks."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    @classmethod
    @contextmanager
    def over(cls, connection: socket.socket, keys: Keys, *, deadline: Deadline) -> Iterator[Self]:
        """Authenticate on `connection`, both ways: a host key that is not the guest's own ends it."""
        transport = paramiko.Transport(connection)
        transport.banner_timeout = transport.auth_timeout = max(1.0, deadline.remaining_s)
        try:
            with _broken("ssh handshake"):
                transport.start_client(timeout=max(1.0, deadline.remaining_s))
                shown = transport.get_remote_server_key().asbytes()
                if shown != keys.host_public:
                    raise GuestLost(f"an unknown host key answers: {base64.b64encode(shown).decode()}")
                private = paramiko.Ed25519Key.from_private_key(io.StringIO(keys.client_private))
                transport.auth_publickey("root", private)
            yield cls(transport)
        finally:
            transport.close()

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Answered:
        """Run `command` to its end; its stdout and stderr come as one text."""
        with self._channel(command, deadline) as channel:
            sender = threading.Thread(target=_send, args=(channel, stdin), daemon=True)
            sender.start()
            output = bytearray()
            for chunk in _chunks(channel, silence_s=float("inf"), deadline=deadline):
                output += chunk
                if len(output) > _MAX_OUTPUT:
                    raise GuestLost(f"`{command}` printed more than {_MAX_OUTPUT} bytes")
            return Answered(_status(channel, command, deadline.end_s), output.decode(errors="replace"))

    def lines(self, command: str, *, silence_s: float, deadline: Deadline) -> Iterator[str]:
        """The lines of `command` as they come, without their ends. The last one may lack its end: it is not given."""
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with self._channel(command, deadline) as channel:
            channel.shutdown_write()
            rest = ""
            for chunk in _chunks(channel, silence_s=silence_s, deadline=deadline):
                *whole, rest = (rest + decode(chunk)).split("\n")
                yield from whole
                if len(rest) > _MAX_LINE:
                    raise GuestLost(f"the guest printed a line of more than {_MAX_LINE} bytes")
            if not self._transport.is_active():  # paramiko then shows an end like any other
                raise GuestLost("the ssh connection broke")

    def interact(self, *, deadline: Deadline) -> None:
        """A shell on this terminal, until it ends: once it is open it is the user's, and has no limit."""
        size = shutil.get_terminal_size()
        with _broken("shell"):
            channel = self._transport.open_session(timeout=max(1.0, deadline.remaining_s))
            with closed_at(channel, deadline):
                channel.get_pty(os.environ.get("TERM", "vt100"), size.columns, size.lines)
                channel.invoke_shell()
        with channel, _raw_terminal():
            _pump_terminal(channel)

    @contextmanager
    def _channel(self, command: str, deadline: Deadline) -> Iterator[paramiko.Channel]:
        with _broken(f"`{command}`"):
            channel = self._transport.open_session(timeout=max(1.0, deadline.remaining_s))
            channel.settimeout(_POLL_S)
            channel.set_combine_stderr(True)
            try:
                with closed_at(channel, deadline):
                    channel.exec_command(command)
            except paramiko.SSHException as error:
                if deadline.expired:
                    raise GuestSilent(f"the guest did not start a command within {deadline.what}") from error
                raise
        with channel:
            yield channel


@contextmanager
def closed_at(channel: paramiko.Channel, deadline: Deadline) -> Iterator[None]:
    """paramiko waits for the answer to a request without a limit; a channel that is closed ends that."""
    timer = threading.Timer(max(1.0, deadline.remaining_s), channel.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _broken(doing: str) -> Iterator[None]:
    """paramiko's many ways to say that the other side is gone, as one."""
    try:
        yield
    except (paramiko.SSHException, OSError, EOFError) as error:
        silent = "timeout" in str(error).lower() or isinstance(error, TimeoutError)
        raise (GuestSilent if silent else GuestLost)(f"{doing}: {error or type(error).__name__}") from error


def _chunks(channel: paramiko.Channel, *, silence_s: float, deadline: Deadline) -> Iterator[bytes]:
    heard = time.monotonic()
    while True:
        try:
            chunk = channel.recv(65536)
        except TimeoutError:
            if time.monotonic() - heard > silence_s:
                raise GuestSilent(f"the guest said nothing for {silence_s:g} s") from None
            if deadline.expired:
                raise GuestSilent(f"the guest was not done within {deadline.what}") from None
            continue
        except OSError as error:
            raise GuestLost(f"the ssh connection broke: {error}") from error
        if not chunk:
            return
        heard = time.monotonic()
        yield chunk


def _status(channel: paramiko.Channel, command: str, limit_s: float) -> int:
    """recv_exit_status() would wait for ever when the connection drops between the output and the status."""
    if not channel.status_event.wait(limit_s) or channel.exit_status == -1:
        raise GuestLost(f"`{command}` ended without a status: the ssh connection dropped")
    return channel.exit_status


def _send(channel: paramiko.Channel, stdin: bytes) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):  # the reader will meet the same and say so
        channel.settimeout(None)
        channel.sendall(stdin)
        channel.shutdown_write()
    channel.settimeout(_POLL_S)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def _pump_terminal(channel: paramiko.Channel) -> None:
    channel.settimeout(None)
    while True:
        ready, _, _ = select.select([channel, sys.stdin], [], [])
        if channel in ready:
            chunk = channel.recv(4096)
            if not chunk:
                return
            os.write(sys.stdout.fileno(), chunk)
        if sys.stdin in ready:
            typed = os.read(sys.stdin.fileno(), 4096)
            if not typed:
                channel.shutdown_write()
                return
            channel.sendall(typed)
