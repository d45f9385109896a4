# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's connection tracking of one network namespace: switched on, read and cleared, by netfilter netlink.

Formats: Documentation/userspace-api/netlink/intro.rst, include/uapi/linux/netfilter/.
"""

from __future__ import annotations

import _socket as socket  # without the Python in front of it, which imports `enum` and is dear under emulation
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NETFILTER = 12  # the family of sockets
_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
_ERROR, _DONE = 2, 3
_NESTED, _NESTED_MASK = 0x8000, 0x3FFF  # NLA_F_NESTED; without it and NLA_F_NET_BYTEORDER
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 64 << 10
_LIMIT_S = 5.0

_CTNETLINK, _NFTABLES = 1 << 8, 10 << 8  # NFNL_SUBSYS_*
_CT_GET, _CT_DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_NEWTABLE, _NEWCHAIN, _NEWRULE, _NEWFLOWTABLE = _NFTABLES, _NFTABLES | 3, _NFTABLES | 6, _NFTABLES | 22
_BATCH_BEGIN, _BATCH_END = 16, 17
_NUMBERS = (("status", 3, 4), ("timeout_s", 7, 4), ("mark", 8, 4), ("zone", 18, 2))  # CTA_*, and bytes
_PROTOINFO, _PROTOINFO_TCP, _TCP_STATE = 4, 1, 1  # CTA_PROTOINFO_*
_IP, _PROTO = 1, 2  # CTA_TUPLE_*
_SRC, _DST = 1, 2  # CTA_IP_V4_*
_SRC_PORT, _DST_PORT = 2, 3  # CTA_PROTO_*
_NAT_PRIORITY = -100


class NetlinkError(Exception):
    """What came is no netlink."""


def attribute(kind: int, content: bytes) -> bytes:
    return _padded(_ATTRIBUTE.pack(4 + len(content), kind) + content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    """32 bits, in network byte order, as all numbers here."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(inner))


def _head(family: int, resource: int = 0) -> bytes:
    """struct nfgenmsg"""
    return struct.pack(">BBH", family, 0, resource)


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


def entry(body: bytes) -> dict[str, int]:
    """One line of the table, of a ctnetlink message behind its netlink header: `status`, `reply_src_port`, ...

    Addresses and ports are numbers; what is not there, or is not IPv4, is 0. Raises NetlinkError.
    """
    found = attributes(body[4:])
    tcp = attributes(attributes(found.get(_PROTOINFO, b"")).get(_PROTOINFO_TCP, b""))
    of_all = {name: _read(found, kind, size) for name, kind, size in _NUMBERS}
    return {**of_all, "tcp_state": _read(tcp, _TCP_STATE, 1), **_side(found, "orig", 1), **_side(found, "reply", 2)}


def _side(found: dict[int, bytes], name: str, kind: int) -> dict[str, int]:
    """One direction of a connection: CTA_TUPLE_ORIG or CTA_TUPLE_REPLY."""
    parts = attributes(found.get(kind, b""))
    ip, proto = attributes(parts.get(_IP, b"")), attributes(parts.get(_PROTO, b""))
    return {
        f"{name}_src_addr": _read(ip, _SRC, 4),
        f"{name}_src_port": _read(proto, _SRC_PORT, 2),
        f"{name}_dst_addr": _read(ip, _DST, 4),
        f"{name}_dst_port": _read(proto, _DST_PORT, 2),
    }


def _read(found: dict[int, bytes], kind: int, size: int) -> int:
    """Raises NetlinkError when the number has another size."""
    content = found.get(kind)
    if content is None:
        return 0
    if len(content) != size:
        raise NetlinkError(f"attribute {kind} has {len(content)} bytes, not {size}")
    return int.from_bytes(content, "big")


_TABLE = _head(socket.AF_INET) + _text(1, "probe")


class Table:
    """The table of the network namespace in which this was made. Methods raise OSError and NetlinkError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(_LIMIT_S)
        self._sequence = 0

    def entries(self) -> list[dict[str, int]]:
        return [entry(body) for body in self._ask((_CT_GET, _DUMP, _head(socket.AF_INET)))]

    def clear(self) -> None:
        self._ask((_CT_DELETE, _ACK, _head(socket.AF_UNSPEC)))

    def switch_on(self) -> None:
        """Make the kernel track connections here, and translate addresses.

        It does so for whoever needs it: a rule that looks at a packet's state is enough, in a chain for translation.
        """
        hook = nested(4, _number(1, 0), _number(2, _NAT_PRIORITY))  # NF_INET_PRE_ROUTING
        state = nested(1, _text(1, "ct"), nested(2, _number(1, 1), _number(2, 0)))  # NFT_REG_1 = NFT_CT_STATE
        self._chain(hook, "nat", state)

    def offload(self, devices: Iterable[str]) -> None:
        """Put flows that are forwarded between these devices into a flow table."""
        names = nested(3, *(_text(1, device) for device in devices))
        ingress = nested(3, _number(1, 0), _number(2, 0), names)  # NF_NETDEV_INGRESS
        hook = nested(4, _number(1, 2), _number(2, 0))  # NF_INET_FORWARD
        rule = nested(1, _text(1, "flow_offload"), nested(2, _text(1, "flows")))
        self._chain(hook, "filter", rule, (_NEWFLOWTABLE, _CREATE, _TABLE + _text(2, "flows") + ingress))

    def _chain(self, hook: bytes, kind: str, expression: bytes, *before: tuple[int, int, bytes]) -> None:
        """Make a table with a chain of one rule. nftables takes all between the ends or nothing."""
        end = _head(0, 10)
        self._ask(
            (_BATCH_BEGIN, 0, end),
            (_NEWTABLE, _CREATE, _TABLE),
            *before,
            (_NEWCHAIN, _CREATE, _TABLE + _text(3, "all") + hook + _text(7, kind)),
            (_NEWRULE, _CREATE | _APPEND | _ACK, _TABLE + _text(2, "all") + nested(4, expression)),
            (_BATCH_END, 0, end),
        )

    def _ask(self, *wanted: tuple[int, int, bytes]) -> list[bytes]:
        """Send messages (type, flags, body) together; the bodies that answer the one with _ACK or _DUMP."""
        content, last = b"", 0
        for kind, flags, body in wanted:
            self._sequence += 1
            last = self._sequence if flags & (_ACK | _DUMP) else last
            content += _padded(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)
        self._socket.send(content)
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
