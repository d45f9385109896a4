# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""May programs of a type call a kfunc? Loads the smallest program that calls it, and keeps the verifier's words.

Nothing is run: a kfunc that would crash or panic the kernel is loaded like any other.
"""

from __future__ import annotations

import ctypes
import errno
import os

from . import NoAnswer, bounded
from .kernelbtf import KernelBtf, Kfunc, warm
from .libbpf import Libbpf, LibbpfError
from .progtypes import PROG_TYPES, load_opts
from .structs import KFUNC_CALL, MAP_FD, LoadOpts, smallest, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypedDict

    class Wanted(TypedDict):
        """Body of runner/probes/census."""

        prog_type: str
        kfuncs: list[str]

    Items = Generator[tuple[str, Callable[[], dict[str, object]]], None, dict[str, object]]

_ARENA, _MMAPABLE = 33, 1 << 10  # BPF_MAP_TYPE_ARENA, BPF_F_MMAPABLE
_ARENA_ADDRESS = 1 << 32  # where it would be mapped; it must have an address before a program may use it

FACTS = ("object", "prototype", "tags", "layouts")  # of a kfunc

# The kernel says these before it looks whether the program type may call the kfunc: so ask again, without the obstacle.
_NEEDS_DEVICE = "require device-bound program"
_NEEDS_ARENA = "requires a program with an associated arena"


def program(kfunc: Kfunc) -> bytes:
    """That calls it. Index 0 is vmlinux; anything else is one of fd_array."""
    return smallest(KFUNC_CALL, 1 if kfunc.fd else 0, kfunc.btf_id)


__all__ = ["Prober", "warm"]


class Prober:
    """Asks about every kfunc; what is known of one besides goes with the first answer about it."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._libbpf = libbpf
        self._census: KernelCensus | None = None
        self._told: set[str] = set()

    def ask(self, body: Wanted) -> Items:
        """Each kfunc's CensusObservation; then the names that were looked for and are not there."""
        if self._census is None:
            self._census = KernelCensus(self._libbpf, frozenset(body["kfuncs"]))
        census, prog_type = self._census, body["prog_type"]
        if reason := census.untestable(prog_type):
            raise NoAnswer(reason)
        for kfunc in census.kfuncs.values():
            yield kfunc.name, lambda kfunc=kfunc: self._about(kfunc) | census.ask(kfunc, prog_type)  # type: ignore[misc]
        return {"missing": census.missing}

    def _about(self, kfunc: Kfunc) -> dict[str, object]:
        if kfunc.name in self._told:
            return {}
        self._told.add(kfunc.name)
        return {word: getattr(kfunc, word) for word in FACTS}


class KernelCensus:
    """What this kernel says about its kfuncs. Raises LibbpfError, BtfError, OSError."""

    def __init__(self, libbpf: Libbpf, names: frozenset[str]) -> None:
        self._libbpf = libbpf
        self._btf = KernelBtf(libbpf)
        self._arena: int | None = None
        self._opts: dict[str, LoadOpts] = {}
        self._fds = (ctypes.c_int * 2)()
        found = self._btf.kfuncs(names)
        self.kfuncs = {name: found[name] for name in sorted(found)}
        self.missing = sorted(names - found.keys())

    def untestable(self, prog_type: str) -> str:
        """Why no program of this type can be loaded here, not even one that calls nothing; empty when one can."""
        try:
            opts = self._load_opts(prog_type)
        except LookupError as error:
            return str(error)
        return self._libbpf.unloadable(PROG_TYPES[prog_type].number, opts)

    def ask(self, kfunc: Kfunc, prog_type: str) -> dict[str, object]:
        """`load_errno` and `log`; when it was asked again, also `again` (how), `again_errno`, `again_log`."""
        insns = program(kfunc)
        refused, log = self._load(kfunc, prog_type, insns)
        answer: dict[str, object] = {"load_errno": refused, "log": bounded(log)}
        if _NEEDS_DEVICE in log:
            for name, index in devices():  # bound to one after the other
                refused, log = self._load(kfunc, prog_type, insns, index)
                answer.update(again=f"bound to {name}", again_errno=refused, again_log=bounded(log))
                if refused != errno.EOPNOTSUPP:
                    break
        elif _NEEDS_ARENA in log:
            try:
                insns = wide(0, MAP_FD, self._arena_fd()) + insns  # a program that uses it
            except LibbpfError as error:
                answer.update(again=f"not asked again: {error}")
            else:
                refused, log = self._load(kfunc, prog_type, insns)
                answer.update(again="with an arena", again_errno=refused, again_log=bounded(log))
        return answer

    def _load(self, kfunc: Kfunc, prog_type: str, insns: bytes, device: int = 0) -> tuple[int, str]:
        opts = self._load_opts(prog_type).bound(device)
        if kfunc.fd:
            self._fds[1] = kfunc.fd
            opts.fd_array = self._fds
        return self._libbpf.verified(PROG_TYPES[prog_type].number, insns, opts)

    def _load_opts(self, prog_type: str) -> LoadOpts:
        if prog_type not in self._opts:
            self._opts[prog_type] = load_opts(PROG_TYPES[prog_type], self._btf.vmlinux)
        return self._opts[prog_type]

    def _arena_fd(self) -> int:
        if self._arena is None:
            self._arena = self._libbpf.map_create(_ARENA, 1, _MMAPABLE, _ARENA_ADDRESS)
        return self._arena


def devices(folder: str = "/sys/class/net") -> list[tuple[str, int]]:
    """Names and indices of the network devices, but for the loopback."""
    found = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name, "ifindex"), encoding="ascii") as file:
            if name != "lo":
                found.append((name, int(file.read())))
    return found
