# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads BTF: types by id and by name, the layout of structures.

libbpf parses it, and finds a type by its id or name; what a type says is read from the bytes, within their bounds.
Format: Documentation/bpf/btf.rst. Byte order and word size are those of the running machine.
"""

from __future__ import annotations

import ctypes
import struct
from bisect import bisect_right

from .libbpf import Libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = range(1, 14)
VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(14, 20)
TRANSPARENT = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)

ONE, TWO, THREE = struct.Struct("=I"), struct.Struct("=II"), struct.Struct("=III")
MAGIC = 0xEB9F
HEADER = struct.Struct("=HBBIIIII")
_INT_SIGNED = 1 << 24
_WHOLE = 0xFFFFFFFF  # a tag of the function itself, not of a parameter
_POINTER = struct.calcsize("P")
_DEPTH = 16  # of types within types; a damaged one may contain itself


class BtfError(Exception):
    """The BTF is malformed, or has no such type or name."""


def sections(raw: bytes | memoryview) -> tuple[bytes, bytes]:
    """The types and the strings of a BTF blob. Raises BtfError."""
    if len(raw) < HEADER.size:
        raise BtfError(f"BTF of {len(raw)} bytes is shorter than its header")
    magic, _, _, header_len, type_off, type_len, str_off, str_len = HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise BtfError(f"BTF begins with {magic:#06x}, not {MAGIC:#06x}: another byte order?")
    types = bytes(raw[header_len + type_off : header_len + type_off + type_len])
    strings = bytes(raw[header_len + str_off : header_len + str_off + str_len])
    if len(types) != type_len or len(strings) != str_len:
        raise BtfError("BTF is cut short")
    return types, strings


class Btf:
    """BTF that libbpf has parsed: of vmlinux, of a module on top of it, or of a BPF object.

    Types and strings are its own or its base's. Methods raise BtfError.
    """

    def __init__(self, libbpf: Libbpf, handle: ctypes.c_void_p, base: Btf | None = None) -> None:
        c, size = libbpf.c, ctypes.c_uint32()
        raw = c.btf__raw_data(handle, ctypes.byref(size))
        self._types, self._strings = sections(
            memoryview((ctypes.c_ubyte * size.value).from_address(raw)) if raw else b""
        )
        self._words: frozenset[bytes] = frozenset()
        self._offsets: dict[str, int] = {}  # of strings that were looked for; -1: not here
        self._tagged: dict[str, dict[str, int]] = {}  # by the tag
        self._begins: dict[int, int] = {}  # where records begin, of types that were looked at
        self._c = c
        self.handle = handle
        self._base = base
        self._base_strings = base._strings if base else b""
        self._first: int = base._end if base else 1
        self._end: int = int(c.btf__type_cnt(handle))  # the first id that is not here
        self._start: int = self._c.btf__type_by_id(handle, self._first) or 0

    @classmethod
    def of_file(cls, libbpf: Libbpf, path: str, base: Btf | None = None) -> Btf:
        """Raises LibbpfError too."""
        handle = ctypes.c_void_p(libbpf.c.btf__parse_split(path.encode(), base.handle if base else None))
        if not handle:
            raise libbpf.error(f"parsing {path}")
        return cls(libbpf, handle, base)

    # --- types by id

    def _at(self, type_id: int) -> int:
        """Where the record of a type of this object begins."""
        if type_id not in self._begins:
            self._begins[type_id] = (self._c.btf__type_by_id(self.handle, type_id) or 0) - self._start
        return self._begins[type_id]

    def holder(self, type_id: int) -> Btf:
        """Whose type it is: this object's, or its base's."""
        return self._place(type_id)[0]

    def _place(self, type_id: int) -> tuple[Btf, int]:
        """Whose type it is, and where its record begins there."""
        if self._base and type_id < self._first:
            return self._base._place(type_id)
        at = self._at(type_id) if self._first <= type_id < self._end else -1
        if not 0 <= at <= len(self._types) - THREE.size:
            raise BtfError(f"no type {type_id} here")
        return self, at

    def record(self, type_id: int) -> tuple[int, int, int]:
        """Kind, number of members or parameters, size or type; of void, which is 0, nothing of it."""
        _, info, size_or_type = self._record(type_id)
        return info >> 24 & 0x1F, info & 0xFFFF, size_or_type

    def _record(self, type_id: int) -> tuple[int, int, int]:
        if not type_id:
            return 0, 0, 0
        holder, at = self._place(type_id)
        record: tuple[int, int, int] = THREE.unpack_from(holder._types, at)
        return record

    def kind(self, type_id: int) -> int:
        return self._record(type_id)[1] >> 24 & 0x1F

    def target(self, type_id: int) -> int:
        """The size of a type, or what a FUNC, DECL_TAG, VAR, PTR or modifier refers to."""
        return self._record(type_id)[2]

    def name(self, type_id: int) -> str:
        """Empty when it has none."""
        return self.string(self._record(type_id)[0])

    def _behind(self, type_id: int, form: struct.Struct, count: int = -1) -> list[tuple[int, ...]]:
        """What follows a type's record: its members, parameters or values; by default as many as it says."""
        holder, at = self._place(type_id)
        begin = at + THREE.size
        length = form.size * (THREE.unpack_from(holder._types, at)[1] & 0xFFFF if count < 0 else count)
        found = holder._types[begin : begin + length]
        if len(found) != length:
            raise BtfError(f"type {type_id} is cut short")
        return list(form.iter_unpack(found))

    def string(self, offset: int) -> str:
        """Those of split BTF go on behind its base's."""
        within = offset - len(self._base_strings)
        strings, start = (self._strings, within) if within >= 0 else (self._base_strings, offset)
        end = strings.find(b"\0", start)
        if end < 0:
            raise BtfError(f"no string at {offset}")
        return strings[start:end].decode("utf-8", "replace")

    # --- types by name

    def find(self, name: str, kind: int) -> int | None:
        """The id of a type of this object."""
        if kind == FUNC:
            return min(self._functions(name), default=None)
        heads = map(ONE.pack, self.offsets(name))
        if self._base and not any(head in self._types for head in heads):
            return None  # libbpf would look through the base first
        found = int(self._c.btf__find_by_name_kind(self.handle, name.encode(), ctypes.c_uint32(kind)))
        return found if found >= self._first else None

    def _functions(self, name: str) -> Iterator[int]:
        """The ids of this object's functions of a name, without libbpf's look at every type."""
        for head in self.function_heads(name):
            for place in self._places(head):
                type_id = self._id_before(place)
                if self._at(type_id) == place:
                    yield type_id

    def function_heads(self, name: str) -> list[bytes]:
        """How the record of such a function may begin, here or in BTF that is split from this."""
        return [TWO.pack(at, FUNC << 24 | linkage) for at in self.offsets(name) for linkage in range(3)]

    def tagged(self, tag: str) -> dict[str, int]:
        """All functions of this object that carry a declaration tag, with their ids."""
        if tag in self._tagged:
            return self._tagged[tag]
        found: dict[str, int] = {}
        heads = [TWO.pack(string, DECL_TAG << 24) for string in self.offsets(tag)]
        for at in (place for head in heads for place in self._places(head)):
            if at + 2 * TWO.size > len(self._types):
                continue
            type_id, component = TWO.unpack_from(self._types, at + TWO.size)
            # otherwise it is the tag of a parameter, or the bytes of something else
            if component == _WHOLE and self._first <= type_id < self._end and self.kind(type_id) == FUNC:
                found[self.name(type_id)] = type_id
        self._tagged[tag] = found
        return found

    def constants(self, ending: str) -> dict[str, int]:
        """The enumerators of this object whose names end so."""
        found: dict[str, int] = {}
        wanted = ending.encode() + b"\0"
        at = self._strings.find(wanted)
        while at >= 0:
            begin = self._strings.rfind(b"\0", 0, at) + 1
            word = self._strings[begin : at + len(wanted) - 1].decode("utf-8", "replace")
            found.update((word, value) for value in self._enumerated(begin + len(self._base_strings)))
            at = self._strings.find(wanted, at + 1)
        return found

    def enumerators(self, name: str) -> dict[str, int]:
        """The names and values of an enum of this object; nothing when there is none of this name."""
        found = self.find(name, ENUM)
        return {self.string(at): value for at, value in self._behind(found, TWO)} if found else {}

    def _enumerated(self, string: int) -> Iterator[int]:
        """The values of the enumerators with this name."""
        for place in self._places(ONE.pack(string)):
            type_id = self._id_before(place)
            if self.kind(type_id) == ENUM:
                yield from (value for name, value in self._behind(type_id, TWO) if name == string)

    def _id_before(self, place: int) -> int:
        """The id of the type whose record begins there, or before."""
        return self._first - 1 + bisect_right(range(self._first, self._end), place, key=self._at)

    def _places(self, head: bytes) -> Iterator[int]:
        """Where these bytes are among the types."""
        at = self._types.find(head)
        while at >= 0:
            if at % 4 == 0:
                yield at
            at = self._types.find(head, at + 1)

    def offsets(self, text: str) -> list[int]:
        """Where a string is: its own or, in a module, the base's."""
        found = [self._offset(text)] if self._base is None else [self._base._offset(text), self._offset(text)]
        return [at for at in found if at >= 0]

    def _offset(self, text: str) -> int:
        if text not in self._offsets:
            at = self._strings.find(b"\0" + text.encode() + b"\0")
            self._offsets[text] = at if at < 0 else at + 1 + len(self._base_strings)
        return self._offsets[text]

    def strings_among(self, wanted: frozenset[str]) -> frozenset[str]:
        """Those that occur as strings of this object."""
        names = frozenset(name.encode() for name in wanted)
        return frozenset(name.decode() for name in names.intersection(self.strings()))

    def strings(self) -> frozenset[bytes]:
        """All of this object's own."""
        if not self._words:
            self._words = frozenset(self._strings.split(b"\0"))
        return self._words

    # --- what types say

    def parameters(self, proto: int) -> list[tuple[str, int]]:
        """The names and types of a FUNC_PROTO's parameters."""
        if self.kind(proto) != FUNC_PROTO:
            raise BtfError(f"type {proto} is not a prototype")
        return [(self.string(name), type_id) for name, type_id in self._behind(proto, TWO)]

    def element(self, array: int) -> tuple[int, int]:
        """Type and number of an array's elements."""
        ((element, _, count),) = self._behind(array, THREE, 1)
        return element, count

    def members(self, type_id: int) -> Iterator[tuple[str, int, int, int]]:
        """Of a structure or union: name, type, offset in bits, and the width of a bit field, 0 of anything else."""
        has_bit_fields = self._record(type_id)[1] >> 31
        for name, member, place in self._behind(type_id, THREE):
            width, offset = (place >> 24, place & 0xFFFFFF) if has_bit_fields else (0, place)
            yield self.string(name), member, offset, width

    def plain(self, type_id: int) -> int:
        """Without typedefs and qualifiers."""
        for _ in range(2 * _DEPTH):
            if self.kind(type_id) not in TRANSPARENT:
                break
            type_id = self.target(type_id)
        return type_id

    def size(self, type_id: int, depth: int = 0) -> int:
        """In bytes."""
        kind, _, size_or_type = self.record(type_id)
        if kind == PTR:
            return _POINTER
        if kind in (INT, FLOAT, STRUCT, UNION, ENUM, ENUM64):
            return size_or_type
        if kind == ARRAY and depth < _DEPTH:
            element, count = self.element(type_id)
            return count * self.size(element, depth + 1)
        if kind in TRANSPARENT and depth < _DEPTH:
            return self.size(size_or_type, depth + 1)
        raise BtfError(f"type {type_id} has no size")

    def raw(self, type_id: int) -> tuple[int, int, list[tuple[int, ...]]]:
        """The words of a record behind its name, and what follows: members, or of an integer its bits."""
        _, info, size_or_type = self._record(type_id)
        kind = info >> 24 & 0x1F
        form, count = {INT: (ONE, 1), STRUCT: (THREE, -1), UNION: (THREE, -1)}.get(kind, (ONE, 0))
        return info, size_or_type, self._behind(type_id, form, count)

    def int_offset(self, type_id: int) -> int:
        """Where an integer begins in its bytes, in bits: not 0 of old bit fields."""
        return self._encoding(type_id) >> 16 & 0xFF

    def is_signed(self, type_id: int) -> bool:
        """Is this integer or enum?"""
        is_enum = self.kind(type_id) != INT
        return bool(self._record(type_id)[1] >> 31 if is_enum else self._encoding(type_id) & _INT_SIGNED)

    def _encoding(self, type_id: int) -> int:
        ((encoding,),) = self._behind(type_id, ONE, 1)
        return encoding

    def variables(self, section: str) -> dict[str, tuple[int, int]]:
        """What is in a section such as `.data`: offset and type; of `.ksyms`, its functions."""
        found = self.find(section, DATASEC)
        rows = self._behind(found, THREE) if found else []
        return {self.name(type_id): (offset, self.target(type_id)) for type_id, offset, _ in rows}

    def fields(self, type_id: int) -> dict[str, tuple[int, int]]:
        """Each member of a structure: byte offset and type. Those of unnamed members count as the structure's own.

        Bit fields are left out.
        """
        type_id = self.plain(type_id)
        found: dict[str, tuple[int, int]] = {}
        for name, member, bits, width in self.members(type_id) if self.kind(type_id) in (STRUCT, UNION) else ():
            if width or bits % 8:
                continue
            inner = {name: (0, member)} if name else self.fields(member)
            found.update({key: (bits // 8 + at, inner_type) for key, (at, inner_type) in inner.items()})
        return found
