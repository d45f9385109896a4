"""Which kfuncs the running kernel's BTF holds: in vmlinux and in each loaded module.

vmlinux has over a hundred thousand types: walking them in Python takes a second under emulation. So names are searched
as bytes, records by their first eight bytes, and ids come from libbpf's index.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .btf import DECL_TAG, FUNC, Btf, sections
from .libbpf import Libbpf

FOLDER = "/sys/kernel/btf"
TAG = "bpf_kfunc"
_HEAD = struct.Struct("=II")


class Kfunc:
    """A kernel function: whose BTF holds it, its id there, and a file descriptor of that BTF (0 for vmlinux)."""

    __slots__ = ("btf_id", "fd", "name", "object")

    def __init__(self, name: str, owner: str, btf_id: int, fd: int) -> None:
        self.name = name
        self.object = owner
        self.btf_id = btf_id
        self.fd = fd


class Vmlinux:
    """The BTF of vmlinux, searched."""

    def __init__(self, libbpf: Libbpf, folder: str = FOLDER) -> None:
        path = os.path.join(folder, "vmlinux")
        with open(path, "rb") as file:
            self._types, self.strings = sections(file.read())
        self._c = libbpf.c
        self._btf = ctypes.c_void_p(self._c.btf__parse_raw(path.encode()))
        if not self._btf:
            raise libbpf.error(f"parsing {path}")
        self.count = int(self._c.btf__type_cnt(self._btf))  # void included
        self._start = self._address(1)

    def _address(self, type_id: int) -> int:
        return int(self._c.btf__type_by_id(self._btf, ctypes.c_uint32(type_id)))

    def _id_at(self, offset: int) -> int | None:
        """The id of the type whose record begins at `offset`; None when none does."""
        low, high = 1, self.count
        while low < high:
            middle = (low + high) // 2
            at = self._address(middle) - self._start
            if at == offset:
                return middle
            if at < offset:
                low = middle + 1
            else:
                high = middle
        return None

    def _records(self, kind: int, linkage: int, name: str) -> list[int]:
        """Offsets of what may be records of a kind and name."""
        wanted = b"\0" + name.encode() + b"\0"
        found, at = [], self.strings.find(wanted)
        if at < 0:
            return []
        head = _HEAD.pack(at + 1, kind << 24 | linkage)
        at = self._types.find(head)
        while at >= 0:
            if at % 4 == 0:
                found.append(at)
            at = self._types.find(head, at + 1)
        return found

    def function(self, name: str) -> int | None:
        """The id of the function `name`."""
        for linkage in (1, 0, 2):  # global, static, extern
            for offset in self._records(FUNC, linkage, name):
                type_id = self._id_at(offset)
                if type_id is not None:
                    return type_id
        return None

    def tagged(self) -> dict[str, int]:
        """All functions that carry the tag `bpf_kfunc`, with their ids."""
        found = {}
        for offset in self._records(DECL_TAG, 0, TAG):
            type_id = struct.unpack_from("=I", self._types, offset + 8)[0]
            if 0 < type_id < self.count:
                name_off, info = _HEAD.unpack_from(self._types, self._address(type_id) - self._start)
                if info >> 24 & 0x1F == FUNC:
                    found[self.strings[name_off : self.strings.index(b"\0", name_off)].decode()] = type_id
        return found


class KernelBtf:
    """All BTF of the running kernel."""

    def __init__(self, libbpf: Libbpf, folder: str = FOLDER) -> None:
        self._vmlinux = Vmlinux(libbpf, folder)
        self._fds = libbpf.kernel_btf_fds()
        self._folder = folder
        self._modules: dict[str, Btf] = {}

    def _module(self, name: str) -> Btf:
        if name not in self._modules:
            with open(os.path.join(self._folder, name), "rb") as file:
                self._modules[name] = Btf(file.read(), self._vmlinux.count, self._vmlinux.strings)
        return self._modules[name]

    def _module_names(self) -> list[str]:
        return sorted(name for name in self._fds if name != "vmlinux")

    def find(self, names: list[str]) -> dict[str, Kfunc]:
        """Those of `names` that are functions of vmlinux or of a loaded module."""
        found = {}
        for name in names:
            type_id = self._vmlinux.function(name)
            if type_id is not None:
                found[name] = Kfunc(name, "vmlinux", type_id, 0)
        left = set(names) - set(found)
        for module in self._module_names() if left else ():
            btf = self._module(module)
            for type_id in btf.of_kind(FUNC):
                name = btf.name(type_id)
                if name in left:
                    found[name] = Kfunc(name, module, type_id, self._fds[module])
        return found

    def tagged(self) -> dict[str, Kfunc]:
        """Every function that its BTF calls a kfunc. Empty on kernels whose BTF has no such tags (before v6.10)."""
        found = {name: Kfunc(name, "vmlinux", btf_id, 0) for name, btf_id in self._vmlinux.tagged().items()}
        for module in self._module_names():
            btf = self._module(module)
            for tag_id in btf.of_kind(DECL_TAG):
                type_id = btf.target(tag_id)
                if btf.name(tag_id) == TAG and type_id in btf.ids() and btf.kind(type_id) == FUNC:
                    name = btf.name(type_id)
                    found[name] = Kfunc(name, module, type_id, self._fds[module])
        return found
