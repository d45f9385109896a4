"""Which kfuncs the running kernel's BTF holds: in vmlinux and in each loaded module.

vmlinux has over a hundred thousand types: walking them in Python takes a second under emulation. So names are searched
as bytes, records by their first eight bytes, and ids come from libbpf's index.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .btf import DECL_TAG, FUNC, STRUCT, THREE, TWO, BtfError, sections, string_at
from .layouts import Layouts, prototypes
from .libbpf import Libbpf

FOLDER = "/sys/kernel/btf"
VMLINUX = "vmlinux"
TAG = "bpf_kfunc"
OTHER_TAGS = ("bpf_fastcall",)  # what else a kfunc's tags may say
_WHOLE = 0xFFFFFFFF
_LINKAGES = (1, 0, 2)  # global, static, extern


class Kfunc:
    """A kernel function: whose BTF holds it, its id there, and a file descriptor of that BTF (0 for vmlinux).

    `tags`: `bpf_kfunc` and what else its declaration tags say. `prototype` is empty where it cannot be had.
    `layouts` are of the structures that programs hand to it.
    """

    __slots__ = ("btf_id", "fd", "layouts", "name", "object", "prototype", "tags")

    def __init__(self, name: str, owner: str, btf_id: int, fd: int, tags: tuple[str, ...] = ()) -> None:
        self.name = name
        self.object = owner
        self.btf_id = btf_id
        self.fd = fd
        self.tags = tags
        self.prototype = ""
        self.layouts: list[dict[str, object]] = []


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

    def _at(self, type_id: int) -> int:
        """Where the record of a type begins. BtfError when it is not here."""
        at = self._address(type_id) - self._start
        if not (self._has(type_id) and 0 <= at <= len(self._types) - THREE.size):
            raise BtfError(f"no type {type_id} here")
        return at

    def record(self, type_id: int) -> tuple[int, int, int]:
        """Name offset, info, size or type. BtfError when it is not here."""
        record: tuple[int, int, int] = THREE.unpack_from(self._types, self._at(type_id))
        return record

    def kind(self, type_id: int) -> int:
        return self.record(type_id)[1] >> 24 & 0x1F

    def name(self, type_id: int) -> str:
        """Empty when it has none."""
        return self.string(self.record(type_id)[0])

    def behind(self, type_id: int, start: int, length: int) -> bytes:
        """Bytes of what follows a type's record: its members, its parameters, its values."""
        begin = self._at(type_id) + THREE.size + start
        found = self._types[begin : begin + length]
        if len(found) != length:
            raise BtfError(f"type {type_id} is cut short")
        return found

    def holder(self, type_id: int) -> ObjectBtf | None:
        """Whose type it is: this object's, or its base's."""
        if self._has(type_id):
            return self
        return self._base.holder(type_id) if self._base else None

    def string(self, offset: int) -> str:
        return string_at(offset, self._base_strings, self._strings)

    def _id_before(self, offset: int) -> int | None:
        """The id of the last type whose record begins at or before `offset`; None when none does."""
        self.handle  # noqa: B018  parses
        low, high = self._first, self._end
        while low < high:
            middle = (low + high) // 2
            if self._address(middle) - self._start <= offset:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low > self._first else None

    def _id_at(self, offset: int) -> int | None:
        """The id of the type whose record begins at `offset`; None when none does."""
        type_id = self._id_before(offset)
        return type_id if type_id and self._address(type_id) - self._start == offset else None

    def _string_offsets(self, name: str) -> list[int]:
        """Where a string is: its own or, in a module, the base's."""
        wanted = b"\0" + name.encode() + b"\0"
        found = [(self._base_strings.find(wanted), 1), (self._strings.find(wanted), len(self._base_strings) + 1)]
        return [at + behind for at, behind in found if at >= 0]

    def strings_ending(self, end: str) -> list[tuple[str, int]]:
        """Strings of this object that end so, with their offsets."""
        found, wanted = [], end.encode() + b"\0"
        at = self._strings.find(wanted)
        while at >= 0:
            begin = self._strings.rfind(b"\0", 0, at) + 1
            word = self._strings[begin : at + len(end)].decode("utf-8", "replace")
            found.append((word, begin + len(self._base_strings)))
            at = self._strings.find(wanted, at + 1)
        return found

    def mentions(self, string: int) -> list[tuple[int, int]]:
        """Types that may name a string of this object behind their records, and where."""
        found, wanted = [], struct.pack("=I", string)
        at = self._types.find(wanted)
        while at >= 0:
            type_id = self._id_before(at) if at % 4 == 0 else None
            place = at - self._at(type_id) - THREE.size if type_id else -1
            if type_id and place >= 0:
                found.append((type_id, place))
            at = self._types.find(wanted, at + 1)
        return found

    def _records(self, kind: int, linkage: int, name: str) -> list[int]:
        """Offsets of what may be records of a kind and name."""
        found = []
        for string in self._string_offsets(name):
            head = TWO.pack(string, kind << 24 | linkage)
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
        at = (offset for linkage in low_bits for offset in self._records(kind, linkage, name))
        return next(filter(None, map(self._id_at, at)), None)

    def tagged(self, tag: str) -> dict[str, int]:
        """All functions of this object that carry a declaration tag, with their ids."""
        found = {}
        for offset in self._records(DECL_TAG, 0, tag):
            if offset + 2 * TWO.size > len(self._types):
                continue
            type_id, component = TWO.unpack_from(self._types, offset + TWO.size)
            if component != _WHOLE or not self._has(type_id):
                continue  # a parameter's tag, or the bytes of something else
            name_off, info, _ = self.record(type_id)
            if info >> 24 & 0x1F == FUNC:
                found[self.string(name_off)] = type_id
        return found

    def prototype(self, function: int) -> int:
        """The id of a function's FUNC_PROTO."""
        return self.record(function)[2]


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
        homes = [(self.vmlinux, found)]
        for module in sorted(name for name in self._fds if name != VMLINUX):
            btf = ObjectBtf(self._libbpf, os.path.join(self._folder, module), self.vmlinux)
            candidates = (btf.strings_among(names) | shared) - found.keys()
            more = _kfuncs_of(btf, module, self._fds[module], candidates)
            homes += [(btf, more)] if more else []
            found = {**more, **found}
        protos = [{name: btf.prototype(kfunc.btf_id) for name, kfunc in held.items()} for btf, held in homes]
        jobs = [(btf.handle, ids) for (btf, _), ids in zip(homes, protos, strict=True)]
        for name, prototype in prototypes(self._libbpf, jobs).items():
            found[name].prototype = prototype
        layouts = Layouts()
        for (btf, held), ids in zip(homes, protos, strict=True):
            for name, kfunc in held.items():
                kfunc.layouts = layouts.of(btf, ids[name], kfunc.prototype)
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
