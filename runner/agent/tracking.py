"""The kernel's connection tracking of one network namespace: switched on, and its table read, by netfilter netlink."""

from __future__ import annotations

import socket
import struct

from .netlink import CREATE, NETFILTER, Netlink, NetlinkError, attributes, nested, number, text

_CTNETLINK, _NFTABLES = 1 << 8, 10 << 8  # NFNL_SUBSYS_*
_CT_GET, _CT_DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_NEWTABLE, _NEWCHAIN, _NEWRULE = _NFTABLES, _NFTABLES | 3, _NFTABLES | 6
_BATCH_BEGIN, _BATCH_END = 16, 17
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _TIMEOUT, _MARK, _ZONE = 1, 2, 3, 7, 8, 18  # CTA_*
_PROTOINFO, _PROTOINFO_TCP, _TCP_STATE = 4, 1, 1  # CTA_PROTOINFO_*
_IP, _PROTO = 1, 2  # CTA_TUPLE_*
_SRC, _DST = 1, 2  # CTA_IP_V4_*
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_NAT_PRIORITY = -100
_APPEND = 0x800


def _head(family: int, resource: int = 0) -> bytes:
    """struct nfgenmsg"""
    return struct.pack("=BB", family, 0) + struct.pack(">H", resource)


def _big(kind: int, value: int) -> bytes:
    return number(kind, socket.htonl(value & 0xFFFFFFFF))


class Tuple:
    """One direction of a connection; addresses and ports as numbers."""

    __slots__ = ("dst", "dst_port", "proto", "src", "src_port")

    def __init__(self, content: bytes) -> None:
        """Of a nested CTA_TUPLE_*. Raises NetlinkError; what is not there, or is not IPv4, is 0."""
        parts = attributes(content)
        ip, proto = attributes(parts.get(_IP, b"")), attributes(parts.get(_PROTO, b""))
        self.src, self.dst = _number(ip, _SRC, 4), _number(ip, _DST, 4)
        self.proto = _number(proto, _PROTO_NUM, 1)
        self.src_port, self.dst_port = _number(proto, _SRC_PORT, 2), _number(proto, _DST_PORT, 2)


class Entry:
    """One line of the table."""

    __slots__ = ("mark", "orig", "reply", "status", "tcp_state", "timeout_s", "zone")

    def __init__(self, body: bytes) -> None:
        """Of a ctnetlink message, behind its netlink header. Raises NetlinkError."""
        found = attributes(body[4:])
        self.orig, self.reply = Tuple(found.get(_TUPLE_ORIG, b"")), Tuple(found.get(_TUPLE_REPLY, b""))
        self.status, self.timeout_s = _number(found, _STATUS, 4), _number(found, _TIMEOUT, 4)
        tcp = attributes(attributes(found.get(_PROTOINFO, b"")).get(_PROTOINFO_TCP, b""))
        self.tcp_state = _number(tcp, _TCP_STATE, 1)
        self.mark, self.zone = _number(found, _MARK, 4), _number(found, _ZONE, 2)


def _number(found: dict[int, bytes], kind: int, size: int) -> int:
    """Conntrack's numbers are in network byte order. Raises NetlinkError when one has another size."""
    content = found.get(kind)
    if content is None:
        return 0
    if len(content) != size:
        raise NetlinkError(f"attribute {kind} has {len(content)} bytes, not {size}")
    return int.from_bytes(content, "big")


class Table:
    """The table of the namespace in which this was made."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETFILTER)

    def entries(self) -> list[Entry]:
        """OSError, NetlinkError."""
        return [Entry(body) for body in self._netlink.dump(_CT_GET, _head(socket.AF_INET))]

    def clear(self) -> None:
        """OSError."""
        self._netlink.ask(_CT_DELETE, _head(socket.AF_UNSPEC))


def switch_on() -> None:
    """Make the kernel track connections here, and translate addresses. OSError.

    It does so for whoever needs it: a rule that looks at a packet's state is enough, in a chain for translation.
    """
    head = _head(socket.AF_INET)
    hook = nested(4, _big(1, 0), _big(2, _NAT_PRIORITY))  # NF_INET_PRE_ROUTING
    state = nested(1, text(1, "ct"), nested(2, _big(1, 1), _big(2, 0)))  # NFT_REG_1 = NFT_CT_STATE
    nftables = Netlink(NETFILTER)
    try:
        nftables.batch(
            (_BATCH_BEGIN, _head(0, 10)),
            [
                (_NEWTABLE, CREATE, head + text(1, "probe")),
                (_NEWCHAIN, CREATE, head + text(1, "probe") + text(3, "all") + hook + text(7, "nat")),
                (_NEWRULE, CREATE | _APPEND, head + text(1, "probe") + text(2, "all") + nested(4, state)),
            ],
            (_BATCH_END, _head(0, 10)),
        )
    finally:
        nftables.close()
