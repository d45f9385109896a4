# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Counts who holds a kernel object: a reference that is not given back need not take memory.

The objects are the running task, what it holds, and those that a program leaves the addresses of. BTF says where their
counters are; they are read from /proc/kcore (Linux: fs/proc/kcore.c).
"""

from __future__ import annotations

import os
import re
import struct
from sys import byteorder

from .btf import PTR, STRUCT, TRANSPARENT, UNION, BtfError
from .calls import TASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .btf import Btf
    from .kernelbtf import KernelBtf

    Counter = tuple[str, int, int]  # its path in the structure, offset and size in bytes; size 0: a percpu_ref
    Object = tuple[str, str, int]  # whose it is, name of its structure, address

MARK = "refs:"  # before the names of counters, among those of slabs
_KCORE, _SYMBOLS, _OFFSETS = "/proc/kcore", "/proc/kallsyms", b" __per_cpu_offset\n"
_HELD = ("cgroups", "cgroups.dfl_cgrp", "real_cred", "nsproxy", "nsproxy.net_ns", "mm", "thread_pid")  # by a task
_ATOMIC = {"atomic_t": 4, "atomic_long_t": 8, "atomic64_t": 8}
_COUNTS = re.compile("ref(s|cnt|count)?$|(^|_)(count|usage|users?)$|^use$")
_DEPTH = 5  # of structures within structures
_LOAD = 1  # PT_LOAD
_WORD = (1 << 64) - 1
_FLAGS = 3  # in the lowest bits of percpu_ref's pointer: include/linux/percpu-refcount.h


class KernelMemory:
    """The kernel's, by its addresses. Raises OSError where it cannot be read."""

    def __init__(self, path: str = _KCORE) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        at, size, count = struct.unpack_from("=32xQ14xHH", os.pread(self._fd, 64, 0))
        table = os.pread(self._fd, size * count, at)
        parts = (struct.unpack_from("=I4xQQ8xQQ", table, size * number) for number in range(count))
        self._parts = [(begin, begin + room, offset) for kind, offset, begin, _, room in parts if kind == _LOAD]

    def number(self, address: int, size: int = 8) -> int:
        for begin, end, offset in self._parts:
            if begin <= address < end:
                found = os.pread(self._fd, size, offset + address - begin)
                if len(found) == size:
                    return int.from_bytes(found, byteorder)
        raise OSError(f"nothing at {address:#x}")


def references(btf: KernelBtf) -> References | None:
    """None where /proc/kcore cannot be read: it is not there, or the kernel is locked down."""
    try:
        return References(btf, KernelMemory())
    except (OSError, struct.error):
        return None


class References:
    """Of the objects of one kernel."""

    def __init__(self, btf: KernelBtf, memory: KernelMemory) -> None:
        self._btf, self._memory = btf, memory
        self._counters: dict[str, list[Counter]] = {}
        self._each_cpu: list[int] | None = None

    def held_by(self, task: int) -> list[Object]:
        """The task at this address, and what it holds."""
        found = [("the running task", TASK, task)]
        for path in _HELD:
            try:
                found.append((f"its {path}", *self._at(path.split("."), TASK, task)))
            except (OSError, BtfError, KeyError):  # not in this kernel
                continue
        return [it for it in found if it[2]]

    def lines(self, objects: Iterable[Object]) -> list[str]:
        """A line for each counter, as of a slab: its name, and how many there are."""
        return [
            f"{MARK}{struct_name}.{path},{whose.replace(' ', '+')} {self._count(address + offset, size)} \n"
            for whose, struct_name, address in objects
            for path, offset, size in self._of(struct_name)
        ]

    # --- where counters are

    def _of(self, name: str) -> list[Counter]:
        if name not in self._counters:
            found = self._btf.structure(name)
            try:
                self._counters[name] = [*_counters(*found)] if found else []
            except BtfError:
                self._counters[name] = []
        return self._counters[name]

    def _at(self, path: list[str], struct_name: str, address: int) -> tuple[str, int]:
        """Name and address of the structure that pointers lead to."""
        for name in path:
            found = self._btf.structure(struct_name)
            if not found:
                raise KeyError(struct_name)
            btf, type_id = found
            offset, pointer = btf.fields(type_id)[name]
            struct_name = _pointed(btf, pointer)
            address = self._memory.number(address + offset)
        return struct_name, address

    # --- what they say

    def _count(self, address: int, size: int) -> int:
        """0 where it cannot be read: what was given back may be no memory any more."""
        try:
            return self._memory.number(address, size) if size else self._sum(address)
        except OSError:
            return 0

    def _sum(self, address: int) -> int:
        """Of a percpu_ref, as each processor counts. It may go down on one and up on another."""
        pointer, data = self._memory.number(address), self._memory.number(address + 8)
        central = self._memory.number(data) if data else 0
        each = 0 if pointer & _FLAGS else sum(self._memory.number((pointer + by) & _WORD) for by in self._offsets())
        return (central + each) & _WORD

    def _offsets(self) -> list[int]:
        """Where the memory of each processor is."""
        if self._each_cpu is None:
            with open(_SYMBOLS, "rb") as file:
                text = file.read()
            at = text.find(_OFFSETS)
            first = int(text[text.rfind(b"\n", 0, at) + 1 :][:16], 16) if at >= 0 else 0
            count = os.cpu_count() or 1
            self._each_cpu = [self._memory.number(first + 8 * cpu) for cpu in range(count)] if first else []
        return self._each_cpu


def _counters(btf: Btf, type_id: int, above: str = "", base: int = 0, depth: int = _DEPTH) -> Iterator[Counter]:
    """Of a structure, and of those within it; a kref and a refcount_t are structures with an atomic_t."""
    for name, member, bits, width in btf.members(type_id) if depth else ():
        path, offset = f"{above}{name}", base + bits // 8
        words, plain = _names(btf, member)
        if size := next(filter(None, map(_ATOMIC.get, words)), 0):
            if _COUNTS.search(name):
                yield path, offset, size
        elif words[-1] == "percpu_ref":
            yield path, offset, 0
        elif btf.kind(plain) in (STRUCT, UNION) and not width:
            yield from _counters(btf, plain, f"{path}." if name else above, offset, depth - 1)


def _names(btf: Btf, type_id: int) -> tuple[list[str], int]:
    """Those of a type and of what it is a typedef of, and the id of that; nothing and 0 for void."""
    words = [btf.name(type_id)]
    while btf.kind(type_id) in TRANSPARENT:
        type_id = btf.target(type_id)
        words.append(btf.name(type_id))
    return words, type_id


def _pointed(btf: Btf, pointer: int) -> str:
    """The name of the structure. Raises BtfError."""
    _, pointer = _names(btf, pointer)
    if btf.kind(pointer) != PTR:
        raise BtfError("not a pointer")
    return _names(btf, btf.target(pointer))[0][-1]
