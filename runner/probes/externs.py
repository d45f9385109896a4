# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Takes the kernel's functions out of what libbpf has to find for an object: runner/agent/externs.py finds them.

For each object libbpf parses all BTF of the kernel, and then looks through all of it for each function. The agent has
parsed it already, and looks once for the functions of all objects.

A call of the Nth function becomes a call of the helper MARK + N, which no kernel has, and its address that number. The
object's BTF gets `struct kfuncs`, whose members are named like the functions. ELF64; Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

MARK = 0x6B660000  # as runner/agent/externs.py has it
STRUCT_NAME = b"kfuncs"
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_NOBITS, _SHT_REL, _SHF_EXECINSTR, _STB_WEAK = 1, 2, 8, 9, 4, 2
_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _DECL_TAG, _ENUM64 = (
    1, 3, 4, 5, 6, 12, 13, 14, 15, 17, 19,
)  # fmt: skip
_BEHIND = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}  # bytes that follow a type's record
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}  # for each of its members
_GLOBAL = 1  # BTF_FUNC_GLOBAL
_CALL, _TYPE_ID_LOCAL = 0x85, 6  # BPF_CORE_TYPE_ID_LOCAL


class Section(NamedTuple):
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
    sections: list[Section]
    contents: list[bytearray]
    names: list[bytes]

    @classmethod
    def of(cls, raw: bytes) -> Elf:
        order = "<" if raw[5] == 1 else ">"
        (at,) = struct.unpack_from(f"{order}Q", raw, 0x28)
        count, names_at = struct.unpack_from(f"{order}HH", raw, 0x3C)
        sections = [Section(*struct.unpack_from(f"{order}IIQQQQIIQQ", raw, at + 64 * i)) for i in range(count)]
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
                heads.append(Section(it.name, 0, *[0] * 8))
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
    btf, names = _without_functions(bytes(elf.content(b".BTF")), elf.order, {name for _, name, _ in elf.weak()})
    if names:
        elf.content(b".BTF")[:] = btf
        _mark(elf, {name: number for number, name in enumerate(names)})
    _drop_local_ids(elf)
    return elf.packed()


def _types(btf: bytes, order: str, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Place, end, name, info and type of each record."""
    while at < end:
        name, info, kind_type = struct.unpack_from(f"{order}III", btf, at)
        kind = info >> 24 & 31
        behind = at + 12 + _BEHIND.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        yield at, behind, name, info, kind_type
        at = behind


def _without_functions(btf: bytes, order: str, weak: Collection[bytes]) -> tuple[bytes, list[bytes]]:
    """BTF without those functions in .ksyms that are weak, and their names, sorted."""
    head_len, types_at, types_len, strings_at, strings_len = struct.unpack_from(f"{order}IIIII", btf, 4)
    strings = btf[head_len + strings_at : head_len + strings_at + strings_len]
    start = head_len + types_at
    records = [*_types(btf, order, start, start + types_len)]

    def string(at: int) -> bytes:
        return strings[at : strings.index(b"\0", at)]

    ksyms = next((it for it in records if it[3] >> 24 & 31 == _DATASEC and string(it[2]) == b".ksyms"), None)
    if ksyms is None:
        return btf, []
    rows = [struct.unpack_from(f"{order}III", btf, at) for at in range(ksyms[0] + 12, ksyms[1], 12)]
    named = {row[0]: string(records[row[0] - 1][2]) for row in rows if records[row[0] - 1][3] >> 24 & 31 == _FUNC}
    taken = sorted((name, type_id) for type_id, name in named.items() if name in weak)
    if not taken:
        return btf, []
    left = [row for row in rows if named.get(row[0]) not in weak]
    number = next(i for i, it in enumerate(records, 1) if it[3] >> 24 & 31 == _INT)
    (size,) = struct.unpack_from(f"{order}I", btf, records[number - 1][0] + 8)
    edited = [bytearray(btf[at:end]) for at, end, *_ in records]
    for _, type_id in taken:
        record = records[type_id - 1]
        struct.pack_into(f"{order}I", edited[type_id - 1], 4, record[3] & ~0xFFFF | _GLOBAL)
        proto = edited[record[4] - 1]
        for at in range(12, len(proto), 8):  # the kernel wants names of parameters, but for the end of `...`
            name, of_type = struct.unpack_from(f"{order}II", proto, at)
            if of_type and not name:
                struct.pack_into(f"{order}I", proto, at, strings_len)
    members = [(records[type_id - 1][2], number, 0) for _, type_id in taken]
    ours = struct.pack(f"{order}III", strings_len, _STRUCT << 24 | len(members), size)
    ours += b"".join(struct.pack(f"{order}III", *it) for it in members)
    at = next(i for i, it in enumerate(records) if it is ksyms)
    if left:
        edited[at] = bytearray(struct.pack(f"{order}III", ksyms[2], _DATASEC << 24 | len(left), ksyms[4]))
        edited[at] += b"".join(struct.pack(f"{order}III", *row) for row in left)
        edited.append(bytearray(ours))
    else:
        edited[at] = bytearray(ours)  # ids stay what they are
    types, strings = b"".join(edited), strings + STRUCT_NAME + b"\0"
    head = bytearray(btf[:head_len])
    struct.pack_into(f"{order}IIII", head, 8, 0, len(types), len(types), len(strings))
    return bytes(head) + types + strings, [name for name, _ in taken]


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


def _drop_local_ids(elf: Elf) -> None:
    """Relocations by the ids of the object's own types, where there are no others: clang has put these in already."""
    if b".BTF.ext" not in elf.names:
        return
    ext = elf.content(b".BTF.ext")
    (head_len,) = struct.unpack_from(f"{elf.order}I", ext, 4)
    if head_len < 32:
        return
    offset, size = struct.unpack_from(f"{elf.order}II", ext, 24)
    at, end = head_len + offset + 4, head_len + offset + size
    kinds = set()
    while size and at < end:
        _, count = struct.unpack_from(f"{elf.order}II", ext, at)
        kinds |= {struct.unpack_from(f"{elf.order}I", ext, at + 8 + 16 * i + 12)[0] for i in range(count)}
        at += 8 + 16 * count
    if kinds <= {_TYPE_ID_LOCAL}:
        struct.pack_into(f"{elf.order}I", ext, 28, 0)
