# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which helpers programs may call, and which types of programs, maps and attachments the kernel has.

The names are those of the kernel's own BTF: enum bpf_func_id and the like. A helper is asked about as a kfunc is: the
smallest program that calls it is loaded, never run. libbpf's probe of helpers is not used: up to 1.5 it does not know
the words by which kernels from 6.14 on refuse one.
"""

from __future__ import annotations

import ctypes
import os

from .kernelbtf import KernelBtf
from .libbpf import Libbpf, LibbpfError
from .structs import PROG_TYPES, MapOpts, smallest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Body(TypedDict):
        """Body of runner/probes/features: `what` is an enum, `prog_type` of helpers alone."""

        what: str
        prog_type: str


_STRUCT_OPS, _ENOTSUPP = "BPF_MAP_TYPE_STRUCT_OPS", 524  # what a kernel that knows it says of a wrong type
_EOPNOTSUPP = 95  # libbpf of a type that it does not know
# Such a map is made here: value size and flags, with a key of 4 bytes. Kernels refuse others.
_NEWER_MAPS = {"BPF_MAP_TYPE_INSN_ARRAY": (16, 0), "BPF_MAP_TYPE_RHASH": (4, 1)}  # 1: BPF_F_NO_PREALLOC
_PROBES = {"bpf_map_type": "libbpf_probe_bpf_map_type", "bpf_prog_type": "libbpf_probe_bpf_prog_type"}


class Prober:
    """One answer for each enum."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._libbpf = libbpf
        self._btf = KernelBtf(libbpf)

    def ask(self, body: Body) -> dict[str, object]:
        """`values` of each name: 1, 0 or a negative errno, of attachments its number; of helpers `errnos`, and `words`
        by name, which are indices into `lines`."""
        names = self._btf.vmlinux.enumerators(body["what"])
        if body["what"] == "bpf_func_id":
            return self._helpers(names, body["prog_type"])
        if body["what"] in _PROBES:
            probe = getattr(self._libbpf.c, _PROBES[body["what"]])
            numbers, names = names, {name: probe(number, None) for name, number in names.items()}
            if names.get(_STRUCT_OPS) == 0:
                names[_STRUCT_OPS] = self._has_struct_ops()
            names |= {
                name: self._has_map(numbers[name], name) for name in _NEWER_MAPS if names.get(name) == -_EOPNOTSUPP
            }
            self._libbpf.take_words()
        return {"values": names}

    def _has_struct_ops(self) -> int:
        """libbpf's probe from 1.4 on sets a field that kernels before 6.9 refuse."""
        opts = MapOpts(sz=ctypes.sizeof(MapOpts), btf_vmlinux_value_type_id=1)
        self._libbpf.c.bpf_map_create(26, None, 4, 4, 1, ctypes.byref(opts))
        return int(ctypes.get_errno() == _ENOTSUPP)

    def _has_map(self, number: int, name: str) -> int:
        """1, or the negative errno with which the kernel refuses to make one."""
        value, flags = _NEWER_MAPS[name]
        try:
            os.close(self._libbpf.map_create(number, 1, flags, key=4, value=value))
        except LibbpfError:
            return -ctypes.get_errno()
        return 1

    def _helpers(self, names: dict[str, int], prog_type: str) -> dict[str, object]:
        opts, number = self._btf.load_opts(PROG_TYPES[prog_type]), PROG_TYPES[prog_type].number
        errnos: dict[str, int] = {}
        lines: dict[str, int] = {}
        words: dict[str, int] = {}
        for name, helper in names.items():
            errnos[name], log = self._libbpf.verified(number, smallest(0, 0, helper), opts)
            if errnos[name]:
                words[name] = lines.setdefault(log[-1000:], len(lines))
        return {"errnos": errnos, "words": words, "lines": [*lines]}
