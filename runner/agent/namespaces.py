"""Network namespaces: made, entered, and given ids by which the one that we run in can name them."""

from __future__ import annotations

import ctypes
import os

from .netlink import ROUTE, Netlink, number

_OWN = "/proc/self/ns/net"
_NEWNET = 0x40000000  # CLONE_NEWNET
_NEWNSID, _NSID, _FD = 88, 1, 3  # RTM_NEWNSID, NETNSA_NSID, NETNSA_FD
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


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
        route = Netlink(ROUTE)
        route.ask(_NEWNSID, b"\0\0\0\0" + number(_NSID, netns_id) + number(_FD, made.fd))
        route.close()
        self._made[netns_id] = made
