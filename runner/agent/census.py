# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""May programs of a type call a kfunc? Loads the smallest program that calls it, and keeps the verifier's words.

Nothing is run: a kfunc that would crash or panic the kernel is loaded like any other.
"""

from __future__ import annotations

import ctypes
import errno

from . import NoAnswer, bounded
from .kernelbtf import KernelBtf, Kfunc, warm
from .libbpf import Libbpf, LibbpfError
from .structs import KFUNC_CALL, MAP_FD, PROG_TYPES, LoadOpts, smallest, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypedDict

    class Body(TypedDict):
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
        self._libbpf, self._btf = libbpf, KernelBtf(libbpf)
        self._kfuncs: dict[str, Kfunc] | None = None
        self._told: set[str] = set()
        self._arena: int | None = None
        self._fds = (ctypes.c_int * 2)()

    def ask(self, body: Body) -> Items:
        """Each kfunc's CensusObservation; then the names that were looked for and are not there."""
        names, prog_type = frozenset(body["kfuncs"]), PROG_TYPES[body["prog_type"]]
        if self._kfuncs is None:
            self._kfuncs = self._btf.kfuncs(names)
        opts = self._btf.load_opts(prog_type)
        if reason := self._libbpf.unloadable(prog_type.number, opts):
            raise NoAnswer(reason)
        for _, kfunc in sorted(self._kfuncs.items()):
            yield kfunc.name, lambda kfunc=kfunc: self._about(kfunc) | self.answer(kfunc, prog_type.number, opts)  # type: ignore[misc]
        return {"missing": sorted(names - self._kfuncs.keys())}

    def _about(self, kfunc: Kfunc) -> dict[str, object]:
        if kfunc.name in self._told:
            return {}
        self._told.add(kfunc.name)
        return {word: getattr(kfunc, word) for word in FACTS}

    def answer(self, kfunc: Kfunc, prog_type: int, opts: LoadOpts) -> dict[str, object]:
        """`load_errno` and `log`; when it was asked again, also `again` (how), `again_errno`, `again_log`."""
        insns = program(kfunc)
        refused, log = self._load(kfunc, prog_type, insns, opts)
        answer: dict[str, object] = {"load_errno": refused, "log": bounded(log)}
        if _NEEDS_DEVICE in log:
            for name, index in devices():  # bound to one after the other
                refused, log = self._load(kfunc, prog_type, insns, opts, index)
                answer.update(again=f"bound to {name}", again_errno=refused, again_log=bounded(log))
                if refused != errno.EOPNOTSUPP:
                    break
        elif _NEEDS_ARENA in log:
            try:
                insns = wide(0, MAP_FD, self._arena_fd()) + insns  # a program that uses it
            except LibbpfError as error:
                answer.update(again=f"not asked again: {error}")
            else:
                refused, log = self._load(kfunc, prog_type, insns, opts)
                answer.update(again="with an arena", again_errno=refused, again_log=bounded(log))
        return answer

    def _load(self, kfunc: Kfunc, prog_type: int, insns: bytes, opts: LoadOpts, device: int = 0) -> tuple[int, str]:
        opts = opts.bound(device)
        if kfunc.fd:
            self._fds[1] = kfunc.fd
            opts.fd_array = self._fds
        return self._libbpf.verified(prog_type, insns, opts)

    def _arena_fd(self) -> int:
        if self._arena is None:
            self._arena = self._libbpf.map_create(_ARENA, 1, _MMAPABLE, _ARENA_ADDRESS)
        return self._arena


def devices() -> list[tuple[str, int]]:
    """Names and indices of the network devices, but for the loopback."""
    from _socket import if_nameindex  # noqa: PLC0415  under emulation an import is dear

    return sorted((name, index) for index, name in if_nameindex() if name != "lo")
