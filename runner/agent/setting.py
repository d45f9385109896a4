# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where claims are asked that need more than a program and a packet: devices of their own, and what they carry."""

from __future__ import annotations

import _socket as socket  # see conntrack.py
import os
from time import monotonic, sleep

from . import NoAnswer, bounded
from .guest import Namespace, ip, write_sysctl
from .hooks import Hooks
from .libbpf import PACKET, STDERR, STDOUT, Libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from .claimobject import Object

    class Packet(TypedDict):
        """As the host's."""

        hex: str
        size: int

    class Wire(TypedDict):
        """As the host's."""

        device: str
        sender: str
        attach: str | None
        also: dict[str, str]
        times: int

    class Setting(TypedDict):
        """Setting of the host."""

        namespace: str
        prepare: str
        packet: Packet
        wire: Wire | None
        bound: str
        later: bool
        streams: bool


_ANY_PROTOCOL = 3  # ETH_P_ALL
_PATIENCE_S = 10.0  # far more than a loaded machine needs: what is late is not what is lost
_DONE = "done"


class Network:
    """The network namespace of a file's claims, made by its commands; without any, the agent's own."""

    def __init__(self, libbpf: Libbpf, folder: str, name: str) -> None:
        """Raises NoAnswer when the commands fail, OSError."""
        self._libbpf = libbpf
        self._namespace = Namespace() if name else None
        self._hooks: dict[str, Hooks] = {}
        self._senders: dict[str, socket.socket] = {}
        if self._namespace:
            with open(os.path.join(folder, f"{name}.ip"), encoding="utf-8") as file, self._namespace:
                _set_up(file.read())

    def __enter__(self) -> None:
        if self._namespace:
            self._namespace.__enter__()

    def __exit__(self, *_: object) -> None:
        if self._namespace:
            self._namespace.__exit__()

    def index(self, device: str) -> int:
        """0 without a name. Raises NoAnswer when there is no such device here."""
        try:
            return socket.if_nametoindex(device) if device else 0
        except OSError as error:
            raise NoAnswer(f"no device {device}: {error.strerror}") from None

    def run(self, wanted: Setting, program: str, fd: int, found: Object, inputs: dict[str, int]) -> dict[str, object]:
        """Run the program, loaded as `fd`: what an Observation has of it. Raises LibbpfError, OSError, NoAnswer.

        A refused `prepare` program is a refusal of the whole.
        """
        found.write(inputs)
        if wanted["prepare"]:
            first, refused, log = found.load(wanted["prepare"])
            if refused:
                return {"load_errno": refused, "log": bounded(log)}
            failed, _ = self._libbpf.test_run(first, b"")
            if failed:
                raise NoAnswer(f"{wanted['prepare']} did not run: {os.strerror(failed)}")
        packet = (bytes.fromhex(wanted["packet"]["hex"]) or PACKET).ljust(wanted["packet"]["size"], b"\0")
        if wanted["wire"]:
            return {"run_errno": 0, "fields": self._carried(wanted["wire"], packet, program, fd, found)}
        if program.startswith("syscall_"):
            packet = b""
        if wanted["streams"]:
            self._streams(fd)  # of an earlier run
        failed, returned = self._libbpf.test_run(fd, packet)
        fields = _awaited(found) if wanted["later"] and returned else found.read()
        observation: dict[str, object] = {"run_errno": failed, "retval": returned, "fields": fields}
        if wanted["streams"]:
            observation.update(self._streams(fd))
        return observation

    def _streams(self, fd: int) -> dict[str, str]:
        """What the program has written."""
        streams = {"stdout": STDOUT, "stderr": STDERR}
        return {name: bounded(self._libbpf.read_stream(fd, number)) for name, number in streams.items()}

    def _carried(self, wire: Wire, packet: bytes, program: str, fd: int, found: Object) -> dict[str, int]:
        """The result, once the packet has passed the programs, or has had its time."""
        attached = [self._attach(program, fd, wire["device"], wire["attach"])]
        try:
            for name, device in wire["also"].items():
                other, refused, log = found.load(name)
                if refused:
                    raise NoAnswer(f"{name} does not load: {log.strip()[-500:]}")
                attached.append(self._attach(name, other, device, None))
            limit, left = monotonic() + _PATIENCE_S, wire["times"]
            while not (fields := found.read()).get(_DONE) and monotonic() < limit:
                if left:
                    self._sender(wire["sender"]).send(packet)
                    left -= 1
                sleep(0.001)
        finally:
            for hooks in attached:
                hooks.detach()
        return fields

    def _attach(self, program: str, fd: int, device: str, how: str | None) -> Hooks:
        is_tc = program.startswith("tc_")
        key = f"{device} {is_tc}"  # a device has one hook of each
        if key not in self._hooks:
            self._hooks[key] = Hooks(self._libbpf, self.index(device))
        self._hooks[key].attach(how or ("clsact" if is_tc else "native"), fd)
        return self._hooks[key]

    def _sender(self, device: str) -> socket.socket:
        if device not in self._senders:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.bind((device, _ANY_PROTOCOL))
            self._senders[device] = made
        return self._senders[device]


def _awaited(found: Object) -> dict[str, int]:
    """The result, once a callback has set `done`, or has had its time: then `done` is 0."""
    limit = monotonic() + _PATIENCE_S
    while not found.read()[_DONE] and monotonic() < limit:
        sleep(0.001)
    return found.read()  # what was read while it was written may be half of it


def _set_up(commands: str) -> None:
    """Those of ip(8) first, since a device must be there. Raises NoAnswer, OSError, NetlinkError."""
    ours = {"sysctl": _sysctl, "flowtable": _flowtable, "give": _give}
    lines = [line.partition(" ") for line in commands.splitlines()]
    if theirs := "".join(f"{''.join(line)}\n" for line in lines if line[0] not in ours):
        ip(theirs)
    for command, _, rest in lines:
        if command in ours:
            ours[command](rest)


def _sysctl(words: str) -> None:
    name, _, value = words.partition("=")
    write_sysctl(name, value)


def _flowtable(devices: str) -> None:
    from .conntrack import Table  # noqa: PLC0415  under emulation an import is dear

    Table().offload(devices.split())


def _give(words: str) -> None:
    from .given import COMMANDS  # noqa: PLC0415  as above

    command, _, rest = words.partition(" ")
    COMMANDS[command](rest)
