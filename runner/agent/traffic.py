# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real flows between network namespaces, past an attached program, and what the kernel's own table then says of them.

A client, and two servers: in one's namespace the kernel tracks no connections, so that an entry stays as a program made
it; in the other's it tracks them and translates addresses.
"""

from __future__ import annotations

import _socket as socket  # see conntrack.py
import fcntl
import struct
from time import monotonic, sleep

from .conntrack import Table
from .guest import Namespace, ip
from .hooks import Hooks
from .libbpf import Libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from .claimobject import Object

    class Traffic(TypedDict):
        """Traffic of the host."""

        attach: str
        protocol: str
        tracked: bool
        virtual: bool


FIRST_PORT = 20000  # bpf/traffic.bpf.c
SERVER_PORT = 8080
VIRTUAL = "10.99.0.1"  # nobody has this address; what goes there reaches the tracked server's device
_NAMESPACES = """\
netns add client
netns add plain
netns add tracked
link add plain netns client type veth peer name server0 netns plain
link add tracked netns client type veth peer name server0 netns tracked
"""
_UP, _GATEWAY = 0x1, 0x2  # IFF_UP; RTF_GATEWAY
_ADD_ROUTE, _SET_FLAGS, _SET_ADDRESS, _SET_MASK = 0x890B, 0x8914, 0x8916, 0x891C  # SIOC*
_REQUEST_OF_DEVICE = struct.Struct("=16s24s")  # struct ifreq
_FLAGS = struct.pack("=H", _UP)
_ROUTE = struct.Struct("@L16s16s16sHhLPhPLLH")  # struct rtentry
_ANY = "0.0.0.0"  # noqa: S104  all addresses of a namespace of our own
_PATIENCE_S = 10.0  # far more than a loaded machine needs: what is late is not what is lost
_UNACKED = 24  # offset of tcpi_unacked, struct tcp_info
_REQUEST, _REPLY = b"request", b"reply"

# Beside the program's own result. Addresses are numbers; _OF_ENTRY are those of the flow's one entry, or 0.
_OF_ENTRY = (
    "entry_status",
    "entry_timeout_s",
    "entry_mark",
    "entry_zone",
    "entry_tcp_state",  # enum tcp_conntrack: 3 is TCP_CONNTRACK_ESTABLISHED
    "reply_src_addr",
    "reply_src_port",
    "reply_dst_addr",
    "reply_dst_port",
)
FIELDS = (
    "delivered",  # requests that the server got
    "answered",  # replies that the client got
    "seen_addr",  # the client, as the server saw it
    "seen_port",  # without the flow's number, as reply_dst_port
    "entries",  # of the flow in the kernel's table
    *_OF_ENTRY,
)


class Server:
    """A namespace with a device, two sockets that wait, and a table."""

    def __init__(self, libbpf: Libbpf, name: str, network: str) -> None:
        self.address = f"{network}.2"
        self.namespace = Namespace(name)
        with self.namespace:
            start("server0", self.address)
            route(_ANY, _ANY, f"{network}.1")
            self.hooks = Hooks(libbpf, socket.if_nametoindex("server0"))
            self.table = Table()
            self.udp = _socket(socket.SOCK_DGRAM, SERVER_PORT)
            self.tcp = _socket(socket.SOCK_STREAM, SERVER_PORT)
            self.tcp.listen(8)


def start(device: str, address: str) -> None:
    """Give a device an address of a network of 24 bits, and set it up. Each ip(8) takes longer to start than all this.

    Raises OSError.
    """
    words = ((_SET_ADDRESS, _sockaddr(address)), (_SET_MASK, _sockaddr("255.255.255.0")), (_SET_FLAGS, _FLAGS))
    for request, content in words:
        _control(request, _REQUEST_OF_DEVICE.pack(device.encode(), content))


def route(network: str, mask: str, gateway: str) -> None:
    """Raises OSError."""
    to, by, bits = (_sockaddr(it) for it in (network, gateway, mask))
    _control(_ADD_ROUTE, _ROUTE.pack(0, to, by, bits, _UP | _GATEWAY, 0, 0, 0, 0, 0, 0, 0, 0))


def _sockaddr(address: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _control(request: int, content: bytes) -> None:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(end.fileno(), request, content)
    finally:
        end.close()


def _socket(kind: int, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(_PATIENCE_S)
    made.bind((_ANY, port))
    return made


class Testbed:
    """The namespaces, made once, and the flows through them. Raises NoAnswer and what `flow` raises."""

    def __init__(self, libbpf: Libbpf) -> None:
        ip(_NAMESPACES)
        self._client = Namespace("client")
        with self._client:
            start("plain", "10.77.0.1")
            start("tracked", "10.77.1.1")
            route("10.99.0.0", "255.255.0.0", "10.77.1.2")
        self._servers = {False: Server(libbpf, "plain", "10.77.0"), True: Server(libbpf, "tracked", "10.77.1")}
        with self._servers[True].namespace:
            self._servers[True].table.switch_on()

    def flow(self, wanted: Traffic, number: int, fd: int, found: Object, inputs: dict[str, int]) -> dict[str, int]:
        """One flow past the program: its result and FIELDS. OSError, LibbpfError, NetlinkError."""
        server = self._servers[wanted["tracked"]]
        with server.namespace:
            server.table.clear()
            server.hooks.attach(wanted["attach"], fd)
        found.write(inputs)
        address = VIRTUAL if wanted["virtual"] else server.address
        with self._client:
            client = _socket(
                socket.SOCK_STREAM if wanted["protocol"] == "tcp" else socket.SOCK_DGRAM, FIRST_PORT + number
            )
        fields, ends = dict.fromkeys(FIELDS, 0), [client]
        try:
            try:  # noqa: SIM105  contextlib is as dear
                (_tcp if wanted["protocol"] == "tcp" else _udp)(ends, address, server, fields)
            except TimeoutError:  # a flow that does not get through is an answer too
                pass
            fields.update(found.read())
            entries = [entry for entry in server.table.entries() if entry["orig_src_port"] == FIRST_PORT + number]
        finally:  # not before the table was read: it shows when a connection ends
            for end in ends:
                end.close()
        fields["entries"] = len(entries)
        if len(entries) == 1:
            fields.update((name, entries[0][name.removeprefix("entry_")]) for name in _OF_ENTRY)
            fields["reply_dst_port"] -= number
        fields["seen_port"] -= number
        return fields


def _tcp(ends: list[socket.socket], address: str, server: Server, fields: dict[str, int]) -> None:
    """Connect, ask twice. Adds the server's end of the connection to `ends`. Raises TimeoutError."""
    client = ends[0]
    client.connect((address, SERVER_PORT))
    fd, seen = server.tcp._accept()  # type: ignore[attr-defined]  # what socket.accept() calls
    there = socket.socket(fileno=fd)
    ends.append(there)
    there.settimeout(_PATIENCE_S)
    _saw(fields, seen)
    for _ in range(2):
        client.sendall(_REQUEST)
        fields["delivered"] += there.recv(len(_REQUEST)) == _REQUEST
        there.sendall(_REPLY)
        fields["answered"] += client.recv(len(_REPLY)) == _REPLY
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # acknowledge the reply now
    _await_acknowledged(there)


def _await_acknowledged(end: socket.socket) -> None:
    """The entry of a connection with unacknowledged data has another timeout: net/netfilter/nf_conntrack_proto_tcp.c.

    Raises TimeoutError.
    """
    limit = monotonic() + _PATIENCE_S
    while any(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)[_UNACKED:]):
        if monotonic() > limit:
            raise TimeoutError
        sleep(0.001)


def _udp(ends: list[socket.socket], address: str, server: Server, fields: dict[str, int]) -> None:
    """Ask twice. Raises TimeoutError."""
    client = ends[0]
    client.connect((address, SERVER_PORT))
    for _ in range(2):
        client.send(_REQUEST)
        content, seen = server.udp.recvfrom(len(_REQUEST))
        _saw(fields, seen)
        fields["delivered"] += content == _REQUEST
        server.udp.sendto(_REPLY, seen)
        fields["answered"] += client.recv(len(_REPLY)) == _REPLY


def _saw(fields: dict[str, int], seen: tuple[str, int]) -> None:
    fields["seen_addr"], fields["seen_port"] = int.from_bytes(socket.inet_aton(seen[0]), "big"), seen[1]
