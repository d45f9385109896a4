# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Takes the kernel's functions out of what libbpf has to find for an object: runner/agent/externs.py finds them.

For each object libbpf parses all BTF of the kernel, and then looks through all of it for each function. The agent has
parsed it already, and looks once for the functions of all objects.

The same is done for the layout of structures (CO-RE): libbpf gets BTF of those alone that an object has relocations
for. Their names are those of the members of `struct kernel_types`.

A call of the Nth function becomes a call of the helper MARK + N, which no kernel has, and its address that number. The
object's BTF gets `struct kfuncs`, whose members are named like the functions. ELF64; Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

MARK = 0x6B660000  # as runner/agent/externs.py has it
FUNCTIONS, TYPES = b"kfuncs", b"kernel_types"  # structures whose members' names are meant
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_NOBITS, _SHT_REL, _SHF_EXECINSTR, _STB_WEAK = 1, 2, 8, 9, 4, 2
INT, _ARRAY, _STRUCT, _UNION, ENUM, _FUNC, _FUNC_PROTO, VAR, _DATASEC, _DECL_TAG, ENUM64 = (
    1, 3, 4, 5, 6, 12, 13, 14, 15, 17, 19,
)  # fmt: skip
_BEHIND = {INT: 4, _ARRAY: 12, VAR: 4, _DECL_TAG: 4}  # bytes that follow a type's record
_EACH = {_STRUCT: 12, _UNION: 12, ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, ENUM64: 12}  # for each of its members
_GLOBAL = 1  # BTF_FUNC_GLOBAL
_CALL, _CORE_SIZE_AT = 0x85, 28  # struct btf_ext_header: core_relo_len
_FIELDS, _TYPE_ID_LOCAL, _TYPE_EXISTS, _TYPE_SIZE = range(6), 6, 8, 9  # of enum bpf_core_relo_kind


class ElfSection(NamedTuple):
    """Elf64_Shdr"""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


@dataclass
class Elf:
    """An object file, taken apart."""

    head: bytearray
    order: str
    sections: list[ElfSection]
    contents: list[bytearray]
    names: list[bytes]

    @classmethod
    def of(cls, raw: bytes) -> Elf:
        order = "<" if raw[5] == 1 else ">"
        (at,) = struct.unpack_from(f"{order}Q", raw, 0x28)
        count, names_at = struct.unpack_from(f"{order}HH", raw, 0x3C)
        sections = [ElfSection(*struct.unpack_from(f"{order}IIQQQQIIQQ", raw, at + 64 * i)) for i in range(count)]
        contents = [
            bytearray(b"" if it.type == _SHT_NOBITS else raw[it.offset : it.offset + it.size]) for it in sections
        ]
        names = [bytes(contents[names_at][it.name :].partition(b"\0")[0]) for it in sections]
        return cls(bytearray(raw[:64]), order, sections, contents, names)

    def content(self, name: bytes) -> bytearray:
        return self.contents[self.names.index(name)]

    def weak(self) -> Iterator[tuple[int, bytes, int]]:
        """Number and name of each weak symbol that is not defined here, and its place in the table."""
        at = next(i for i, it in enumerate(self.sections) if it.type == _SHT_SYMTAB)
        symbols, texts = self.contents[at], self.contents[self.sections[at].link]
        for number, place in enumerate(range(0, len(symbols), 24)):
            name, info, _, section = struct.unpack_from(f"{self.order}IBBH", symbols, place)
            if info >> 4 == _STB_WEAK and not section:
                yield number, bytes(texts[name : texts.index(b"\0", name)]), place

    def packed(self) -> bytes:
        """Without what is for a debugger."""
        body, heads = bytearray(self.head), []
        for it, content, name in zip(self.sections, self.contents, self.names, strict=True):
            body += bytes(-len(body) % 8)
            if name.startswith((b".debug_", b".rel.debug_", b".rel.BTF")):
                heads.append(ElfSection(it.name, 0, *[0] * 8))
                continue
            size = it.size if it.type == _SHT_NOBITS else len(content)
            heads.append(it._replace(offset=len(body), size=size))
            body += content
        body += bytes(-len(body) % 8)
        struct.pack_into(f"{self.order}Q", body, 0x28, len(body))
        return bytes(body) + b"".join(struct.pack(f"{self.order}IIQQQQIIQQ", *it) for it in heads)


def taken_out(raw: bytes) -> bytes:
    """The object without its weak functions of the kernel, and without what is for a debugger."""
    elf = Elf.of(raw)
    if b".BTF" not in elf.names:
        return raw
    btf = ObjectBtf.of(bytes(elf.content(b".BTF")), elf.order)
    names = btf.without_functions({name for _, name, _ in elf.weak()})
    _mark(elf, {name: number for number, name in enumerate(names)})
    wanted = {kind: {btf.root(it) for it in roots} for kind, roots in _core_relocations(elf).items()}
    if wanted.keys() == {_TYPE_ID_LOCAL}:  # clang has put the ids of the object's own types in already
        struct.pack_into(f"{elf.order}I", elf.content(b".BTF.ext"), _CORE_SIZE_AT, 0)
    elif wanted and all(kind in (*_FIELDS, _TYPE_ID_LOCAL, _TYPE_EXISTS, _TYPE_SIZE) for kind in wanted):
        roots = sorted(set[bytes]().union(*(roots for kind, roots in wanted.items() if kind != _TYPE_ID_LOCAL)))
        if all(roots) and btf.named(TYPES) is None:
            btf.append_structure(TYPES, roots)
    elf.content(b".BTF")[:] = btf.packed()
    return elf.packed()


@dataclass
class ObjectBtf:
    """BTF, taken apart. The ids of types stay what they are."""

    order: str
    head: bytes
    types: list[bytearray]
    strings: bytes

    @classmethod
    def of(cls, raw: bytes, order: str) -> ObjectBtf:
        head_len, types_at, types_len, strings_at, strings_len = struct.unpack_from(f"{order}IIIII", raw, 4)
        start, types = head_len + types_at, []
        end = start + types_len
        while start < end:
            _, info, _ = struct.unpack_from(f"{order}III", raw, start)
            kind = info >> 24 & 31
            behind = start + 12 + _BEHIND.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
            types.append(bytearray(raw[start:behind]))
            start = behind
        at = head_len + strings_at
        return cls(order, raw[:head_len], types, raw[at : at + strings_len])

    def packed(self) -> bytes:
        head, types = bytearray(self.head), b"".join(self.types)
        struct.pack_into(f"{self.order}IIII", head, 8, 0, len(types), len(types), len(self.strings))
        return bytes(head) + types + self.strings

    def record(self, type_id: int) -> tuple[bytes, int, int]:
        """Name, kind, size or type."""
        name, info, size_or_type = struct.unpack_from(f"{self.order}III", self.types[type_id - 1])
        return self.string(name), info >> 24 & 31, size_or_type

    def string(self, at: int) -> bytes:
        return self.strings[at : self.strings.index(b"\0", at)]

    def add_string(self, text: bytes) -> int:
        self.strings += text + b"\0"
        return len(self.strings) - len(text) - 1

    def named(self, name: bytes) -> int | None:
        return next((i for i in range(1, len(self.types) + 1) if self.record(i)[0] == name), None)

    def root(self, type_id: int) -> bytes:
        """The name that a structure has in the kernel; empty when it is none, or has no name."""
        name, kind, _ = self.record(type_id)
        return name.partition(b"___")[0] if kind == _STRUCT else b""

    def rows(self, type_id: int, form: str) -> list[tuple[int, ...]]:
        return [*struct.iter_unpack(f"{self.order}{form}", self.types[type_id - 1][12:])]

    def write(self, type_id: int, head: tuple[int, int, int], rows: Iterable[tuple[int, ...]]) -> None:
        packed = [struct.pack(f"{self.order}{len(row)}I", *row) for row in (head, *rows)]
        self.types[type_id - 1 : type_id] = [bytearray(b"".join(packed))]

    def append_structure(self, name: bytes, members: Iterable[bytes]) -> None:
        """All of its members are the same integer: only their names count."""
        number = next(i for i in range(1, len(self.types) + 1) if self.record(i)[1] == INT)
        rows = [(self.add_string(member), number, 0) for member in members]
        head = self.add_string(name), _STRUCT << 24 | len(rows), self.record(number)[2]
        self.write(len(self.types) + 1, head, rows)

    def without_functions(self, weak: Collection[bytes]) -> list[bytes]:
        """Take those that are `weak` out of .ksyms. Their names, sorted."""
        ksyms = self.named(b".ksyms")
        if ksyms is None:
            return []
        rows = self.rows(ksyms, "III")
        functions = {row[0]: self.record(row[0])[0] for row in rows if self.record(row[0])[1] == _FUNC}
        taken = {type_id: name for type_id, name in functions.items() if name in weak}
        if not taken:
            return []
        for type_id in taken:
            name, _, proto = struct.unpack_from(f"{self.order}III", self.types[type_id - 1])
            self.write(type_id, (name, _FUNC << 24 | _GLOBAL, proto), ())
            # the kernel wants names of parameters, but not of the end of `...`
            head = struct.unpack_from(f"{self.order}III", self.types[proto - 1])
            named = [(name or (self.add_string(b"p") if to else 0), to) for name, to in self.rows(proto, "II")]
            self.write(proto, head, named)
        name, _, size = struct.unpack_from(f"{self.order}III", self.types[ksyms - 1])
        left = [row for row in rows if row[0] not in taken]
        head = (name, _DATASEC << 24 | len(left), size) if left else (0, _STRUCT << 24, 0)
        self.write(ksyms, head, left)
        names = sorted(taken.values())
        self.append_structure(FUNCTIONS, names)
        return names


def _mark(elf: Elf, numbers: dict[bytes, int]) -> None:
    """Put the numbers into the instructions; what is so marked is no relocation and no extern any more."""
    symbols = next(content for it, content in zip(elf.sections, elf.contents, strict=True) if it.type == _SHT_SYMTAB)
    found = {number: (numbers[name], place) for number, name, place in elf.weak() if name in numbers}
    for _, place in found.values():
        symbols[place + 4] &= 15  # STB_LOCAL
    for it, content in zip(elf.sections, elf.contents, strict=True):
        target = elf.sections[it.info] if it.type == _SHT_REL else None
        if target and target.type == _SHT_PROGBITS and target.flags & _SHF_EXECINSTR:
            content[:] = _marked(elf, content, elf.contents[it.info], found)


def _marked(elf: Elf, relocations: bytearray, code: bytearray, found: dict[int, tuple[int, int]]) -> bytes:
    left = b""
    for at in range(0, len(relocations), 16):
        place, info = struct.unpack_from(f"{elf.order}QQ", relocations, at)
        number, _ = found.get(info >> 32, (-1, 0))
        if number < 0:
            left += relocations[at : at + 16]
        elif code[place] == _CALL:
            code[place + 1] = 0  # no BPF_PSEUDO_CALL
            struct.pack_into(f"{elf.order}I", code, place + 4, MARK + number)
        else:  # two instructions that load 64 bits
            struct.pack_into(f"{elf.order}I", code, place + 4, MARK + number)
            struct.pack_into(f"{elf.order}I", code, place + 12, MARK)
    return left


def _core_relocations(elf: Elf) -> dict[int, set[int]]:
    """The types of an object's relocations by the kernel's BTF, by the kind of relocation."""
    found: dict[int, set[int]] = {}
    ext = bytes(elf.content(b".BTF.ext")) if b".BTF.ext" in elf.names else b""
    (head_len,) = struct.unpack_from(f"{elf.order}I", ext, 4) if ext else (0,)
    if head_len < _CORE_SIZE_AT + 4:
        return found
    offset, size = struct.unpack_from(f"{elf.order}II", ext, _CORE_SIZE_AT - 4)
    at, end = head_len + offset + 4, head_len + offset + size
    while size and at < end:
        _, count = struct.unpack_from(f"{elf.order}II", ext, at)
        for _, type_id, _, kind in struct.iter_unpack(f"{elf.order}IIII", ext[at + 8 : at + 8 + 16 * count]):
            found.setdefault(kind, set()).add(type_id)
        at += 8 + 16 * count
    return found
