"""Network namespaces, and their devices, addresses and routes by rtnetlink.

Each call works in the network namespace in which it is made.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from .netlink import CREATE, EXCL, ROUTE, Netlink, attribute, nested, number, text

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
