# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's functions that programs call, and the structures that they read, found in its BTF once for all objects.

runner/probes/externs.py has taken the functions out of the objects: libbpf would look through all BTF for each of them.
What is put in here is what libbpf would have put in.
"""

from __future__ import annotations

import ctypes
import os
import struct
from sys import byteorder

from .btf import (
    ARRAY,
    ENUM,
    ENUM64,
    FUNC,
    FUNC_PROTO,
    HEADER,
    INT,
    MAGIC,
    PTR,
    STRUCT,
    TRANSPARENT,
    UNION,
    Btf,
)
from .kernelbtf import KernelBtf
from .structs import CALL, KFUNC_CALL, LD_IMM64, instruction, register, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernelbtf import Kfunc
    from .libbpf import Libbpf

POISON = 2002000000  # libbpf's POISON_CALL_KFUNC_BASE
_MARK = 0x6B660000  # as runner/probes/externs.py has it
FUNCTIONS, TYPES = "kfuncs", "kernel_types"  # of an object: structures whose members' names are meant
_PSEUDO_BTF_ID = 3
_DEPTH = 32  # libbpf's


def names_in(btf: Btf, of: str = FUNCTIONS) -> list[str]:
    """Of an object's functions, in the order of their numbers, or of types."""
    at = btf.find(of, STRUCT)
    return [name for name, *_ in btf.members(at)] if at else []


def there(name: str) -> str:
    """What the kernel calls it: an object's `name___6_17` is `name` with another prototype.

    As libbpf's bpf_core_essential_name_len().
    """
    root, _, flavour = name.rpartition("___")
    return root if root and not root.endswith("_") and not flavour.startswith("_") else name


class Externs:
    """What libbpf's search would find. Raises LibbpfError and BtfError."""

    def __init__(self, libbpf: Libbpf) -> None:
        self._libbpf = libbpf
        self._kernel: KernelBtf | None = None
        self._found: dict[str, Kfunc] = {}
        self._asked: set[str] = set()
        self._modules: list[int] = []  # file descriptors of their BTF
        self.fds = (ctypes.c_int * 1)()  # what a load needs for calls into modules: the Nth is the Nth module's

    def of(self, btf: Btf) -> list[Kfunc | None]:
        """Those of an object, in the order of their numbers: None for what is not there, or has another prototype."""
        names = names_in(btf)
        self.find(frozenset(names))
        return [self._compatible(btf, name, self._found.get(there(name))) for name in names]

    def kernel(self) -> KernelBtf:
        if self._kernel is None:
            self._kernel = KernelBtf(self._libbpf)
        return self._kernel

    def find(self, names: frozenset[str]) -> None:
        """Look for functions: once for those of many objects costs as much as for those of one."""
        new = frozenset(map(there, names)) - self._asked
        if not new:
            return
        kernel = self.kernel()
        self._asked |= new
        if present := frozenset(name for name in new - self._found.keys() if kernel.has_word(name)):
            self._found.update(kernel.functions(present))
            self._modules += sorted({it.fd for it in self._found.values()} - {0, *self._modules})
            self.fds = (ctypes.c_int * (len(self._modules) + 1))(0, *self._modules)

    @staticmethod
    def _compatible(btf: Btf, name: str, there: Kfunc | None) -> Kfunc | None:
        here = btf.find(name, FUNC)
        if there is None or here is None:
            return None
        return there if alike(btf, btf.target(here), there.btf, there.btf.target(there.btf_id)) else None

    def settled(self, insns: bytes, functions: list[Kfunc | None]) -> tuple[bytes, bool]:
        """The program with the functions instead of their numbers; and does it need `fds`?"""
        if not functions:
            return insns, False
        out, uses_fds = bytearray(insns), False
        opcodes = insns[::8]
        at = opcodes.find(CALL)
        while at >= 0:
            place, at = 8 * at, opcodes.find(CALL, at + 1)
            number = int.from_bytes(insns[place + 4 : place + 8], byteorder) - _MARK
            if 0 <= number < len(functions):
                it = functions[number]
                index = self._modules.index(it.fd) + 1 if it and it.fd else 0
                uses_fds = uses_fds or index > 0
                # else the verifier refuses the call, and names the number
                source, btf_id = (KFUNC_CALL, it.btf_id) if it else (0, POISON + number)
                out[place : place + 8] = instruction(CALL, 0, source, index, btf_id)
        at = opcodes.find(LD_IMM64)
        while at >= 0:
            place, at = 8 * at, opcodes.find(LD_IMM64, at + 2)
            low, high = (int.from_bytes(insns[place + i : place + i + 4], byteorder) for i in (4, 12))
            if high == _MARK and 0 <= low - _MARK < len(functions):
                it = functions[low - _MARK]
                source, btf_id, fd = (_PSEUDO_BTF_ID, it.btf_id, it.fd) if it else (0, 0, 0)
                out[place : place + 16] = wide(register(insns[place : place + 8]), source, btf_id, fd)
        return bytes(out), uses_fds


def alike(a: Btf, at: int, b: Btf, bt: int, depth: int = _DEPTH) -> bool:
    """libbpf's bpf_core_types_are_compat: of structures and enums only the kinds count."""
    for _ in range(_DEPTH):
        at, bt = a.plain(at), b.plain(bt)
        (kind, count, to), (other, other_count, other_to) = a.record(at), b.record(bt)
        if _same_kind(kind) != _same_kind(other):
            return False
        if kind == INT:
            return not a.int_offset(at) and not b.int_offset(bt)
        if kind == PTR:
            at, bt = to, other_to
        elif kind == ARRAY:
            at, bt = a.element(at)[0], b.element(bt)[0]
        elif kind == FUNC_PROTO:
            pairs = zip(a.parameters(at), b.parameters(bt), strict=True) if count == other_count else None
            if pairs is None or not depth or not all(alike(a, x, b, y, depth - 1) for (_, x), (_, y) in pairs):
                return False
            at, bt = to, other_to
        else:
            return True
    return False


def _same_kind(kind: int) -> int:
    return ENUM if kind == ENUM64 else kind


# --- structures -------------------------------------------------------------------------------------------------------

_COUNT, _KIND = 0xFFFF, 24  # in the word `info`: the number of members, and where the kind begins


class CoreBtf:
    """BTF of some of the kernel's structures alone, for libbpf: to parse all of it takes most of an object's load.

    What a relocation of a field may touch is there: members, and what lies within them. What they point to is not. The
    file grows by what objects need.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "core.btf")
        self._types: list[bytes] = []
        self._strings, self._places = bytearray(b"\0"), {"": 0}
        self._ids: dict[tuple[int, int], int] = {}  # by the BTF and the id there
        self._known: dict[str, tuple[Btf, int] | None] = {}

    def add(self, kernel: KernelBtf, names: list[str]) -> None:
        """Write the file, with these structures, too. Raises BtfError, LibbpfError, OSError."""
        for name in names:
            if name not in self._known:
                self._known[name] = there = kernel.structure(name)
                if there:
                    self._copy(*there)
        types = b"".join(self._types)
        head = HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(types), len(types), len(self._strings))
        with open(self.path, "wb") as file:
            file.write(head + types + self._strings)

    def _copy(self, btf: Btf, type_id: int) -> int:
        """Its id here."""
        if not type_id:
            return 0
        kind, _, to = btf.record(type_id)
        if kind == FUNC_PROTO:
            return 0
        holder = btf.holder(type_id)
        key = (0, 0) if kind == PTR else (id(holder), type_id)  # all pointers are one
        if key in self._ids:
            return self._ids[key]
        self._types.append(b"")
        made = self._ids[key] = len(self._types)
        self._types[made - 1] = self._record(btf, type_id, kind, to)
        return made

    def _record(self, btf: Btf, type_id: int, kind: int, to: int) -> bytes:
        if kind == PTR:
            return struct.pack("=III", 0, PTR << _KIND, 0)
        name, (info, _, behind) = self._string(btf.name(type_id)), btf.raw(type_id)
        if kind in (STRUCT, UNION):
            behind = [(self._string(btf.string(name)), self._copy(btf, of), place) for name, of, place in behind]
        elif kind == ARRAY:
            element, count = btf.element(type_id)
            it = self._copy(btf, element)
            behind = [(it, it, count)]  # libbpf does not look at the type of the index
        elif kind in TRANSPARENT:
            to = self._copy(btf, to)
        elif kind in (ENUM, ENUM64):
            info &= ~_COUNT
        return struct.pack("=III", name, info, to) + b"".join(struct.pack(f"={len(row)}I", *row) for row in behind)

    def _string(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._places[text]
