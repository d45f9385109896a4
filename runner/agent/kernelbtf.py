"""Which kfuncs the running kernel's BTF holds: in vmlinux and in each loaded module.

vmlinux has over a hundred thousand types: walking them in Python takes a second under emulation. So names are searched
as bytes, records by their first eight bytes, and ids come from libbpf's index.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .btf import DECL_TAG, FUNC, STRUCT, BtfError, sections
from .libbpf import Libbpf
from .prototypes import prototypes

FOLDER = "/sys/kernel/btf"
VMLINUX = "vmlinux"
TAG = "bpf_kfunc"
OTHER_TAGS = ("bpf_fastcall",)  # what else a kfunc's tags may say
_HEAD = struct.Struct("=II")
_RECORD = struct.Struct("=III")
_TAGGED = struct.Struct("=II")  # of a DECL_TAG: what it is of, and of which part
_WHOLE = 0xFFFFFFFF
_LINKAGES = (1, 0, 2)  # global, static, extern


class Kfunc:
    """A kernel function: whose BTF holds it, its id there, and a file descriptor of that BTF (0 for vmlinux).

    `tags`: `bpf_kfunc` and what else its declaration tags say. `prototype` is empty where it cannot be had.
    """

    __slots__ = ("btf_id", "fd", "name", "object", "prototype", "tags")

    def __init__(self, name: str, owner: str, btf_id: int, fd: int, tags: tuple[str, ...] = ()) -> None:
        self.name = name
        self.object = owner
        self.btf_id = btf_id
        self.fd = fd
        self.tags = tags
        self.prototype = ""


class ObjectBtf:
    """The BTF of vmlinux, or of a module on top of it. Raises LibbpfError and BtfError.

    It is searched as bytes first; libbpf parses it only when something was found.
    """

    def __init__(self, libbpf: Libbpf, path: str, base: ObjectBtf | None = None) -> None:
        with open(path, "rb") as file:
            self._types, self._strings = sections(file.read())
        self._libbpf = libbpf
        self._path = path
        self._base = base
        self._base_strings = base._strings if base else b""
        self._parsed: ctypes.c_void_p | None = None
        self._first = self._end = self._start = 0

    @property
    def handle(self) -> ctypes.c_void_p:
        """libbpf's own."""
        if self._parsed is None:
            c, base = self._libbpf.c, self._base
            parsed = ctypes.c_void_p(c.btf__parse_split(self._path.encode(), base.handle if base else None))
            if not parsed:
                raise self._libbpf.error(f"parsing {self._path}")
            self._first = base._end if base else 1
            self._end = int(c.btf__type_cnt(parsed))  # the first id that is not here
            self._parsed = parsed
            self._start = self._address(self._first)
        return self._parsed

    def _address(self, type_id: int) -> int:
        return int(self._libbpf.c.btf__type_by_id(self.handle, ctypes.c_uint32(type_id)) or 0)

    def _has(self, type_id: int) -> bool:
        self.handle  # noqa: B018  parses
        return self._first <= type_id < self._end

    def _record(self, type_id: int) -> tuple[int, int, int]:
        """Name offset, info, size or type. BtfError when it is not here."""
        at = self._address(type_id) - self._start
        if not (self._has(type_id) and 0 <= at <= len(self._types) - _RECORD.size):
            raise BtfError(f"no type {type_id} here")
        record: tuple[int, int, int] = _RECORD.unpack_from(self._types, at)
        return record

    def string(self, offset: int) -> str:
        own = offset - len(self._base_strings)
        strings, start = (self._strings, own) if own >= 0 else (self._base_strings, offset)
        end = strings.find(b"\0", start)
        if end < 0:
            raise BtfError(f"no string at {offset}")
        return strings[start:end].decode("utf-8", "replace")

    def _id_at(self, offset: int) -> int | None:
        """The id of the type whose record begins at `offset`; None when none does."""
        self.handle  # noqa: B018  parses
        low, high = self._first, self._end
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

    def _string_offsets(self, name: str) -> list[int]:
        """Where a string is: its own or, in a module, the base's."""
        wanted = b"\0" + name.encode() + b"\0"
        found = [(self._base_strings.find(wanted), 1), (self._strings.find(wanted), len(self._base_strings) + 1)]
        return [at + behind for at, behind in found if at >= 0]

    def _records(self, kind: int, linkage: int, name: str) -> list[int]:
        """Offsets of what may be records of a kind and name."""
        found = []
        for string in self._string_offsets(name):
            head = _HEAD.pack(string, kind << 24 | linkage)
            at = self._types.find(head)
            while at >= 0:
                if at % 4 == 0:
                    found.append(at)
                at = self._types.find(head, at + 1)
        return found

    def has_string(self, text: str) -> bool:
        return bool(self._string_offsets(text))

    def strings_among(self, wanted: frozenset[str]) -> frozenset[str]:
        """Those that occur as strings here. One pass, however many they are."""
        names = frozenset(name.encode() for name in wanted)
        return frozenset(name.decode() for name in names.intersection(self._strings.split(b"\0")))

    def function(self, name: str) -> int | None:
        """The id of the function `name`."""
        return self._find(FUNC, _LINKAGES, name)

    def struct(self, name: str) -> int | None:
        """The id of the structure `name`."""
        return self._find(STRUCT, range(1, 256), name)

    def _find(self, kind: int, low_bits: tuple[int, ...] | range, name: str) -> int | None:
        for linkage in low_bits:
            for offset in self._records(kind, linkage, name):
                type_id = self._id_at(offset)
                if type_id is not None:
                    return type_id
        return None

    def tagged(self, tag: str) -> dict[str, int]:
        """All functions of this object that carry a declaration tag, with their ids."""
        found = {}
        for offset in self._records(DECL_TAG, 0, tag):
            if offset + _HEAD.size + _TAGGED.size > len(self._types):
                continue
            type_id, component = _TAGGED.unpack_from(self._types, offset + _HEAD.size)
            if component != _WHOLE or not self._has(type_id):
                continue  # a parameter's tag, or the bytes of something else
            name_off, info, _ = self._record(type_id)
            if info >> 24 & 0x1F == FUNC:
                found[self.string(name_off)] = type_id
        return found

    def prototype(self, function: int) -> int:
        """The id of a function's FUNC_PROTO."""
        return self._record(function)[2]


class KernelBtf:
    """All BTF of the running kernel."""

    def __init__(self, libbpf: Libbpf, folder: str = FOLDER) -> None:
        self._libbpf = libbpf
        self._folder = folder
        self.vmlinux = ObjectBtf(libbpf, os.path.join(folder, VMLINUX))
        self._fds = libbpf.kernel_btf_fds()

    def kfuncs(self, names: frozenset[str]) -> dict[str, Kfunc]:
        """Every function that its BTF calls a kfunc, and those of `names` that are functions of any kind.

        BTF has such tags from v6.10 on, when pahole was new enough; before, `names` are all that is known.
        """
        shared = self.vmlinux.strings_among(names)  # a module's names are there too when vmlinux has the same string
        found = _kfuncs_of(self.vmlinux, VMLINUX, 0, shared)
        jobs = [_job(self.vmlinux, found)]
        for module in sorted(name for name in self._fds if name != VMLINUX):
            btf = ObjectBtf(self._libbpf, os.path.join(self._folder, module), self.vmlinux)
            candidates = (btf.strings_among(names) | shared) - found.keys()
            more = _kfuncs_of(btf, module, self._fds[module], candidates)
            jobs += [_job(btf, more)] if more else []
            found = {**more, **found}
        for name, prototype in prototypes(self._libbpf, jobs).items():
            found[name].prototype = prototype
        return found


def _kfuncs_of(btf: ObjectBtf, owner: str, fd: int, names: frozenset[str]) -> dict[str, Kfunc]:
    found = {name: Kfunc(name, owner, at, fd, (TAG,)) for name, at in btf.tagged(TAG).items()}
    for tag in OTHER_TAGS if found else ():
        for name in btf.tagged(tag).keys() & found.keys():
            found[name].tags += (tag,)
    for name in sorted(names - found.keys()):
        type_id = btf.function(name)
        if type_id is not None:
            found[name] = Kfunc(name, owner, type_id, fd)
    return found


def _job(btf: ObjectBtf, kfuncs: dict[str, Kfunc]) -> tuple[ctypes.c_void_p, dict[str, int]]:
    return btf.handle, {name: btf.prototype(kfunc.btf_id) for name, kfunc in kfuncs.items()}
