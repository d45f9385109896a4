# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BTF of some of the kernel's structures alone, for libbpf: to parse all of it takes most of an object's load.

What a relocation of a field may touch is there: members, and what lies within them. What they point to is not.
"""

from __future__ import annotations

import os
import struct

from .btf import ARRAY, ENUM, ENUM64, FUNC_PROTO, HEADER, MAGIC, PTR, STRUCT, TRANSPARENT, UNION, Btf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernelbtf import KernelBtf

_COUNT, _KIND = 0xFFFF, 24  # in the word `info`: the number of members, and where the kind begins


class CoreBtf:
    """A file that grows by what objects need."""

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
