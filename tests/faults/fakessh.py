# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The ssh server of fakevng.py: a real one, with an agent that replays recorded.py and misbehaves as it is told."""

from __future__ import annotations

import io
import json
import signal
import socket
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.faults import recorded
from tests.faults.fakevng import AGENT_ENDS, IN_A_PROBE, LISTENS, hang, say, signalled

NONSENSE = (
    b'{"event": "answer", "probe": "../../etc/passwd", "body": {"load_errno": 0}}',
    b'{"event": "answer", "probe": "alloc-udp:tc", "body": "none of yours"}',
    b'{"event": "answer", "probe": "census:tc", "item": 7}',
    b"\x1b[2J\x00\xff\xfe not json",
    b"[" * 5000,
    b'{"event": ["begin"]}',
)


@dataclass
class Server(paramiko.ServerInterface):
    """One guest's."""

    scenario: str
    asks: list[dict[str, str]] = field(default_factory=list)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return 0  # paramiko.common.OPEN_SUCCEEDED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return 0  # paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self.scenario == "starts-no-command" or (self.scenario == "starts-no-agent" and b"from agent" in command):
            hang()
        threading.Thread(target=self._execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def _execute(self, channel: paramiko.Channel, command: str) -> None:
        status = 0
        if self.scenario == "stopped-while-it-takes":
            channel.recv(1)
            signalled(signal.SIGSTOP)()
        content = b"".join(iter(lambda: channel.recv(65536), b""))  # it ends when the other side saw the command begin
        if "tar xf" in command:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                member = tar.extractfile("asks.json")
                assert member is not None
                content = member.read()
        if content:
            self.asks = json.loads(content)["asks"]
        if "from agent" in command:
            status = self._agent(channel)
        channel.send_exit_status(status)
        channel.close()

    def _agent(self, channel: paramiko.Channel) -> int:
        channel.sendall(recorded.hello().encode() + b"\n")
        for ask in self.asks:
            announced, *answer = recorded.answers(ask["probe"])
            channel.sendall(announced.encode() + b"\n")
            if ask["probe"] == recorded.FAULTY:
                self._misbehave(channel)
                if self.scenario in AGENT_ENDS:
                    return 137
            for line in answer:
                channel.sendall(line.encode() + b"\n")
        channel.sendall(recorded.end(ask["probe"] for ask in self.asks).encode() + b"\n")
        return 0

    def _misbehave(self, channel: paramiko.Channel) -> None:
        match self.scenario:
            case "drops-in-an-answer":
                channel.sendall(b'{"event": "observation", "probe": "alloc-')
                channel.get_transport().sock.close()
                hang()
            case "agent-prints-nonsense":
                channel.sendall(b"\n".join(NONSENSE) + b"\n")
            case "agent-prints-an-endless-line":
                for _ in range(80):
                    channel.sendall(b"x" * 65536)
                hang()
            case "agent-never-ends":
                while True:
                    channel.sendall(b"and so on\n" * 100)
            case other:
                IN_A_PROBE.get(other, bool)()


def serve(scenario: str, port: int, keys: Path) -> None:
    """For ever."""
    seed = (keys / "host").read_bytes()[-64:-32]  # as runner/guest/ssh.py writes it for dropbear
    own, other = Ed25519PrivateKey.from_private_bytes(seed), Ed25519PrivateKey.generate()
    key = other if scenario == "has-another-host-key" else own
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    recorded.hello()  # reads the file, before anybody measures a silence
    listener = socket.create_server(("127.0.0.1", port))
    say(LISTENS)
    while True:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(paramiko.Ed25519Key.from_private_key(io.StringIO(pem)))
        transport.start_server(event=threading.Event(), server=Server(scenario))
