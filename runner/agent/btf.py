"""A small parser of BTF: types by id, and where a program's global variables lie.

Meant for BPF objects and modules, with some thousand types; vmlinux has a hundred thousand, see kernelbtf.py.
Format: Documentation/bpf/btf.rst. Byte order and word size are those of the running machine.
"""

from __future__ import annotations

import struct

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = range(1, 14)
VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(14, 20)

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
TWO, THREE = struct.Struct("=II"), struct.Struct("=III")  # a type's record, and a member of one, are three
_INT_SIGNED = 1 << 24
_FIXED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}  # bytes behind a type's header
_PER_MEMBER = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
TRANSPARENT = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)


class BtfError(Exception):
    """The BTF is malformed, or has no such name."""


def sections(raw: bytes) -> tuple[bytes, bytes]:
    """The types and the strings of a BTF blob. Raises BtfError."""
    if len(raw) < _HEADER.size:
        raise BtfError(f"BTF of {len(raw)} bytes is shorter than its header")
    magic, _, _, header_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise BtfError(f"BTF begins with {magic:#06x}, not {_MAGIC:#06x}: another byte order?")
    types = raw[header_len + type_off : header_len + type_off + type_len]
    strings = raw[header_len + str_off : header_len + str_off + str_len]
    if len(types) != type_len or len(strings) != str_len:
        raise BtfError("BTF is cut short")
    return types, strings


def string_at(offset: int, base: bytes, own: bytes) -> str:
    """A string, where those of split BTF go on behind its base's. Raises BtfError."""
    within = offset - len(base)
    strings, start = (own, within) if within >= 0 else (base, offset)
    end = strings.find(b"\0", start)
    if end < 0:
        raise BtfError(f"no string at {offset}")
    return strings[start:end].decode("utf-8", "replace")


class Slot:
    """Where a number lies in the value of a map: byte offset, size, signed or not."""

    __slots__ = ("offset", "signed", "size")

    def __init__(self, offset: int, size: int, signed: bool) -> None:
        self.offset = offset
        self.size = size
        self.signed = signed


class Btf:
    """Parsed BTF. For split BTF (modules) give the base's number of types, void included, and its strings."""

    def __init__(self, raw: bytes, first_id: int = 1, base_strings: bytes = b"") -> None:
        self._types, self._strings = sections(raw)
        self._first_id = first_id
        self._base_strings = base_strings
        self._offsets: list[int] = []
        self._index()

    def _index(self) -> None:
        types, end, at = self._types, len(self._types), 0
        try:
            while at < end:
                self._offsets.append(at)
                info = THREE.unpack_from(types, at)[1]
                kind = info >> 24 & 0x1F
                at += 12 + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * (info & 0xFFFF)
        except struct.error:
            at = -1
        if at != end:
            raise BtfError("BTF is cut short")

    def __len__(self) -> int:
        """The number of types that are here and not in the base."""
        return len(self._offsets)

    def ids(self) -> range:
        return range(self._first_id, self._first_id + len(self._offsets))

    def string(self, offset: int) -> str:
        return string_at(offset, self._base_strings, self._strings)

    def _header(self, type_id: int) -> tuple[int, int, int, int]:
        """Offset, name offset, info, size or type."""
        index = type_id - self._first_id
        if not 0 <= index < len(self._offsets):
            raise BtfError(f"no type {type_id} here")
        offset = self._offsets[index]
        return (offset, *THREE.unpack_from(self._types, offset))

    def kind(self, type_id: int) -> int:
        return self._header(type_id)[2] >> 24 & 0x1F

    def name(self, type_id: int) -> str:
        return self.string(self._header(type_id)[1])

    def of_kind(self, kind: int) -> list[int]:
        """The ids of all types of a kind."""
        return [type_id for type_id in self.ids() if self.kind(type_id) == kind]

    def target(self, type_id: int) -> int:
        """What a FUNC, DECL_TAG, VAR, PTR or modifier refers to."""
        return self._header(type_id)[3]

    def _triples(self, type_id: int) -> list[tuple[int, int, int]]:
        """Members of a STRUCT or UNION (name, type, bit offset), variables of a DATASEC (type, offset, size)."""
        offset, _, info, _ = self._header(type_id)
        return [THREE.unpack_from(self._types, offset + 12 + 12 * n) for n in range(info & 0xFFFF)]

    def _plain(self, type_id: int) -> int:
        """Without typedefs and qualifiers."""
        while self.kind(type_id) in TRANSPARENT:
            type_id = self.target(type_id)
        return type_id

    def variables(self) -> dict[str, tuple[str, int, int]]:
        """Each global variable: its section (`.data`), its offset there, its type."""
        found = {}
        for section_id in self.of_kind(DATASEC):
            for var_id, offset, _ in self._triples(section_id):
                if self.kind(var_id) == VAR:
                    found[self.name(var_id)] = (self.name(section_id), offset, self.target(var_id))
        return found

    def members(self, type_id: int) -> dict[str, tuple[int, int]]:
        """Each member of a struct: its byte offset and type. Those of unnamed members count as the struct's own."""
        type_id = self._plain(type_id)
        if self.kind(type_id) not in (STRUCT, UNION):
            return {}
        bitfields = self._header(type_id)[2] >> 31
        found = {}
        for name_off, member_type, bits in self._triples(type_id):
            if (bitfields and bits >> 24) or bits % 8:
                continue  # bit fields are not for us
            name, offset = self.string(name_off), (bits & 0xFFFFFF) // 8
            if name:
                found[name] = (offset, member_type)
            else:
                inner = self.members(member_type)
                found.update({key: (offset + at, inner_type) for key, (at, inner_type) in inner.items()})
        return found

    def _below(self, type_id: int, name: str) -> tuple[int, int]:
        """Offset and type of a member of a struct, or of an array's element."""
        type_id = self._plain(type_id)
        if self.kind(type_id) == ARRAY:
            element, _, count = THREE.unpack_from(self._types, self._header(type_id)[0] + 12)
            if not name.isdigit() or int(name) >= count:
                raise BtfError(f"{name!r} is not an index below {count}")
            return int(name) * self._size(element), element
        members = self.members(type_id)
        if name not in members:
            raise BtfError(f"no member {name!r}; there are: {', '.join(members) or 'none'}")
        return members[name]

    def _size(self, type_id: int) -> int:
        """Bytes of a type that has its size in its header."""
        return self.target(self._plain(type_id))

    def slot(self, offset: int, type_id: int, path: list[str]) -> Slot:
        """The number at `path` (members, array indices) below a variable of this type. BtfError if there is none."""
        for name in path:
            inner, type_id = self._below(type_id, name)
            offset += inner
        type_id = self._plain(type_id)
        at, _, _, size = self._header(type_id)
        kind = self.kind(type_id)
        if kind == INT:
            encoding = struct.unpack_from("=I", self._types, at + 12)[0]
            return Slot(offset, size, bool(encoding & _INT_SIGNED))
        if kind in (ENUM, ENUM64):
            return Slot(offset, size, bool(self._header(type_id)[2] >> 31))
        raise BtfError(f"{'.'.join(path) or 'the variable'} is not a number")
