# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The ssh connection to a guest, against a real server on a socket pair."""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from runner.guest.ssh import ConnectionSilent, to_guest
from runner.model.deadline import Deadline

SIZE = 16 << 20
LIMIT_S = 60


@dataclass
class Server(paramiko.ServerInterface):
    """Takes the half of what it is sent, and the rest once it may."""

    may: threading.Event
    taken: int = 0
    threads: list[threading.Thread] = field(default_factory=list)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return 0  # paramiko.common.OPEN_SUCCEEDED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return 0  # paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.threads.append(threading.Thread(target=self._take, args=(channel,), daemon=True))
        self.threads[-1].start()
        return True

    def _take(self, channel: paramiko.Channel) -> None:
        with suppress(EOFError, OSError):  # the client is gone
            while self.taken < SIZE and (chunk := channel.recv(1 << 16)):
                self.taken += len(chunk)
                if self.taken > SIZE // 2:
                    self.may.wait(LIMIT_S)
            channel.send_exit_status(0)
            channel.close()


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def sent(server: Server, silence: Deadline | None, begins: list[int]) -> list[str]:
    """What a command prints that is sent SIZE bytes; each begin of a wait is in `begins`."""
    ours, theirs = socket.socketpair()
    host = paramiko.Ed25519Key.from_private_key(io.StringIO(pem(Ed25519PrivateKey.generate())))
    transport = paramiko.Transport(theirs)
    transport.add_server_key(host)
    transport.start_server(event=threading.Event(), server=server)
    deadline = Deadline.after(LIMIT_S, "the test's limit")

    def begun() -> Deadline:
        begins.append(server.taken)
        if len(begins) > 2:
            server.may.set()
        return silence or deadline

    try:
        with to_guest(ours, pem(Ed25519PrivateKey.generate()), host.asbytes(), deadline=deadline) as ssh:
            return list(ssh.lines("cat", deadline=deadline, stdin=bytes(SIZE), silence=begun))
    finally:
        transport.close()
        server.may.set()
        for thread in server.threads:
            thread.join(LIMIT_S)


def test_what_is_taken_of_the_input_is_no_silence() -> None:
    server, begins = Server(threading.Event()), list[int]()
    assert sent(server, None, begins) == []
    assert server.taken == SIZE
    assert len(begins) > 2, "it would not have been taken else"


def test_a_guest_that_takes_no_more_is_silent() -> None:
    with pytest.raises(ConnectionSilent):
        sent(Server(threading.Event()), Deadline.after(0.5, "the limit of silence"), [])
