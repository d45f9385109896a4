"""Netlink: messages and attributes, and a socket that asks. Formats: Documentation/userspace-api/netlink/intro.rst."""

from __future__ import annotations

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
        parts += [
            self._message(kind, flags | (_ACK if last else 0), body) for last, kind, flags, body in _marked(middle)
        ]
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


def _marked(middle: list[tuple[int, int, bytes]]) -> Iterator[tuple[bool, int, int, bytes]]:
    for index, (kind, flags, body) in enumerate(middle):
        yield index == len(middle) - 1, kind, flags, body
