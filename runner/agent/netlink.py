"""Netlink: messages and attributes, and a socket that asks; and by it network namespaces, their devices and routes.

Formats: Documentation/userspace-api/netlink/intro.rst. Each call works in the network namespace in which it is made.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTE, NETFILTER = 0, 12  # the families of sockets
_REQUEST, _ACK, _DUMP, EXCL, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_ERROR, _DONE = 2, 3
_NESTED_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 64 << 10
_LIMIT_S = 5.0


class NetlinkError(Exception):
    """What came is no netlink."""


def padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def attribute(kind: int, content: bytes) -> bytes:
    return padded(_ATTRIBUTE.pack(4 + len(content), kind) + content)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits, in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value & 0xFFFFFFFF))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(inner))


def attributes(content: bytes) -> dict[int, bytes]:
    """The attributes by their type; of two of one type the last counts. Raises NetlinkError."""
    found: dict[int, bytes] = {}
    at = 0
    while len(content) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < _ATTRIBUTE.size or at + length > len(content):
            raise NetlinkError(f"an attribute of {length} bytes at {at} of {len(content)}")
        found[kind & _NESTED_MASK] = content[at + _ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found


def messages(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and body of each message. Raises NetlinkError."""
    at = 0
    while at < len(content):
        if len(content) - at < _HEADER.size:
            raise NetlinkError(f"{len(content) - at} bytes are no message")
        length, kind, _, sequence, _ = _HEADER.unpack_from(content, at)
        if length < _HEADER.size or at + length > len(content):
            raise NetlinkError(f"a message of {length} bytes at {at} of {len(content)}")
        yield kind, sequence, content[at + _HEADER.size : at + length]
        at += length + (-length % 4)


class Netlink:
    """A socket in the network namespace in which it was opened."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._socket.bind((0, 0))
        self._socket.settimeout(_LIMIT_S)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        return padded(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)

    def ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Ask for something to be done. OSError when the kernel does not."""
        self._socket.send(self._message(kind, flags | _ACK, body))
        self._replies(self._sequence)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all that there is. OSError, NetlinkError."""
        self._socket.send(self._message(kind, _DUMP, body))
        return self._replies(self._sequence)

    def batch(self, begin: tuple[int, bytes], middle: list[tuple[int, int, bytes]], end: tuple[int, bytes]) -> None:
        """All of `middle` (type, flags, body) or nothing, as nftables wants it. OSError."""
        parts = [self._message(begin[0], 0, begin[1])]
        parts += [self._message(kind, flags, body) for kind, flags, body in middle[:-1]]
        kind, flags, body = middle[-1]
        parts.append(self._message(kind, flags | _ACK, body))
        last = self._sequence
        parts.append(self._message(end[0], 0, end[1]))
        self._socket.send(b"".join(parts))
        self._replies(last)

    def _replies(self, last: int) -> list[bytes]:
        """Until the message `last` is answered."""
        bodies: list[bytes] = []
        while True:
            for kind, sequence, body in messages(self._socket.recv(_BUFFER_BYTES)):
                if kind in (_ERROR, _DONE):
                    code = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                    if code < 0:
                        raise OSError(-code, os.strerror(-code))
                    if sequence == last:
                        return bodies
                elif sequence == last:
                    bodies.append(body)


# --- network namespaces, by rtnetlink -------------------------------------------------------------------------------

_OWN = "/proc/self/ns/net"
_NEWNET = 0x40000000  # CLONE_NEWNET
_NEWNSID, _NSID, _FD = 88, 1, 3  # RTM_NEWNSID, NETNSA_NSID, NETNSA_FD
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_LINK = struct.Struct("=BBHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_IFNAME, _LINKINFO, _NETNS_FD, _KIND, _DATA, _PEER = 3, 18, 28, 1, 2, 1
_LOCAL, _DST, _GATEWAY = 2, 1, 5
_UP = 1
_MAIN_TABLE, _STATIC, _UNICAST = 254, 4, 1
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _ask(kind: int, body: bytes, flags: int = 0) -> None:
    route = Netlink(ROUTE)
    try:
        route.ask(kind, body, flags)
    finally:
        route.close()


def make_pair(name: str, peer: str, peer_netns: int) -> None:
    """Two veth devices; the peer is in the namespace of the file descriptor. OSError."""
    other = _LINK.pack(0, 0, 0, 0, 0, 0) + text(_IFNAME, peer) + number(_NETNS_FD, peer_netns)
    info = nested(_LINKINFO, text(_KIND, "veth"), nested(_DATA, attribute(_PEER, other)))
    _ask(_NEWLINK, _LINK.pack(0, 0, 0, 0, 0, 0) + text(_IFNAME, name) + info, CREATE | EXCL)


def bring_up(name: str, address: str) -> int:
    """Give a device a /24 address, set it up, and say its index. OSError."""
    index = socket.if_nametoindex(name)
    local = attribute(_LOCAL, socket.inet_aton(address))
    _ask(_NEWADDR, _ADDRESS.pack(socket.AF_INET, 24, 0, 0, index) + local, CREATE | EXCL)
    _ask(_NEWLINK, _LINK.pack(0, 0, 0, index, _UP, _UP))
    return index


def add_route(network: str, bits: int, gateway: str) -> None:
    """OSError."""
    body = _ROUTE.pack(socket.AF_INET, bits, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNICAST, 0)
    body += attribute(_DST, socket.inet_aton(network)) + attribute(_GATEWAY, socket.inet_aton(gateway))
    _ask(_NEWROUTE, body, CREATE | EXCL)


class Namespace:
    """A new network namespace. `with namespace:` is inside of it; it is gone with its file descriptor."""

    def __init__(self) -> None:
        self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.unshare(_NEWNET), "unshare")
        self.fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        self.__exit__()

    def __enter__(self) -> None:
        _check(_libc.setns(self.fd, _NEWNET), "setns")

    def __exit__(self, *_: object) -> None:
        _check(_libc.setns(self._home, _NEWNET), "setns")


class Numbered:
    """Namespaces with ids."""

    def __init__(self) -> None:
        self._made: dict[int, Namespace] = {}

    def assign(self, netns_id: int) -> None:
        """From now on a namespace has this id, as seen from here. OSError."""
        if netns_id in self._made:
            return
        made = Namespace()
        _ask(_NEWNSID, b"\0\0\0\0" + number(_NSID, netns_id) + number(_FD, made.fd))
        self._made[netns_id] = made
