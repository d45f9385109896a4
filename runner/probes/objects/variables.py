# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Global variables of an object: the copy in which some have another value, as a loader sets `const volatile` ones.

What is read are the object's symbols and its BTF (Documentation/bpf/btf.rst); both are hostile until they are parsed.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from runner.errors import UserError
from runner.probes.objects.objectfile import COMPILE
from runner.text import plain

_INT, _ENUM, _VAR, _ENUM64 = 1, 6, 14, 19
_NAMES = {2: "a pointer", 3: "an array", 4: "a structure", 5: "a union", 16: "a floating-point number"}
_ALIASES = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type tag
# of each kind, the bytes behind its record, and those of each of its members
_FIXED = {_INT: 4, 3: 12, _VAR: 4, 17: 4}
_EACH = {4: 12, 5: 12, _ENUM: 8, 13: 8, 15: 12, _ENUM64: 12}
_SIGNED, _BOOL = 1, 4  # of an integer's encoding
_HEADER = 24


@dataclass(frozen=True)
class _Number:
    """How a variable is stored."""

    size: int  # bytes
    signed: bool
    is_bool: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        if self.is_bool:
            return 0, 1
        bits = 8 * self.size
        return (-1 << bits - 1, (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)


def with_values(path: str, content: bytes, values: Mapping[str, int]) -> bytes:
    """A copy of an object with these values of variables. Raises UserError for what cannot be set, with the reason."""
    try:
        return _with_values(path, content, values)
    except UserError:
        raise
    except Exception as error:  # as of any damaged file
        raise UserError(f"{path} has BTF that cannot be read: {error}", hint=COMPILE) from None


def _with_values(path: str, content: bytes, values: Mapping[str, int]) -> bytes:
    elf, copy = ELFFile(io.BytesIO(content)), bytearray(content)
    order: Literal["little", "big"] = "little" if elf.little_endian else "big"
    btf = elf.get_section_by_name(".BTF")
    types = _variables(btf.data() if btf else b"", order)
    places = _places(elf)
    for name, value in values.items():
        if name not in places or name not in types:
            there = ", ".join(sorted(places.keys() & types.keys())) or "none"
            raise UserError(f"{path} has no variable {name!r} that can be set", hint=f"it has: {plain(there)[:400]}")
        number = types[name]
        if isinstance(number, str):
            raise UserError(f"{path}: {name} is {number}, and only a number can be set")
        place, (least, most) = places[name], number.limits
        if place is None:
            raise UserError(f"{path}: {name} has no bytes in the object", hint="declare it `const volatile`")
        if not least <= value <= most or place + number.size > len(content):
            raise UserError(f"{path}: {name} takes {least} to {most}, not {value}")
        copy[place : place + number.size] = int(value).to_bytes(number.size, order, signed=number.signed)
    return bytes(copy)


def _places(elf: ELFFile) -> dict[str, int | None]:
    """Where the bytes of each global variable are in the file; None: it is zero and has none."""
    table = elf.get_section_by_name(".symtab")
    found: dict[str, int | None] = {}
    for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
        if symbol["st_info"]["type"] != "STT_OBJECT" or not isinstance(symbol["st_shndx"], int):
            continue
        section = elf.get_section(symbol["st_shndx"])
        if section.name.startswith((".rodata", ".data", ".bss")):
            has_bytes = section["sh_type"] != "SHT_NOBITS"
            found[symbol.name] = section["sh_offset"] + symbol["st_value"] if has_bytes else None
    return found


def _variables(btf: bytes, order: str) -> dict[str, _Number | str]:
    """Of each variable that the BTF names: how it is stored, or what it is that is no number."""
    sign = "<" if order == "little" else ">"
    header, types_at, types_len, strings_at, _ = struct.unpack_from(sign + "4xIIIII", btf)
    record, strings = struct.Struct(sign + "III"), header + strings_at
    at, end = header + types_at, header + types_at + types_len
    records: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]  # name, info, size or type, and where what follows is
    while at + record.size <= end:
        name, info, size = record.unpack_from(btf, at)
        at += record.size
        records.append((name, info, size, at))
        kind, count = info >> 24 & 31, info & 0xFFFF
        at += _FIXED.get(kind, 0) + _EACH.get(kind, 0) * count

    def stored(number: int) -> _Number | str:
        for _ in range(32):  # a damaged one may contain itself
            _, info, size, behind = records[number]
            kind = info >> 24 & 31
            if kind == _INT:
                encoding = struct.unpack_from(sign + "I", btf, behind)[0] >> 24
                return _Number(size, bool(encoding & _SIGNED), bool(encoding & _BOOL))
            if kind in (_ENUM, _ENUM64):
                return _Number(size, bool(info >> 31))
            if kind not in _ALIASES:
                return _NAMES.get(kind, "of another type")
            number = size
        raise ValueError("a type of its BTF contains itself")

    return {
        btf[strings + name : btf.index(b"\0", strings + name)].decode("utf-8", "replace"): stored(size)
        for name, info, size, _ in records
        if info >> 24 & 31 == _VAR
    }
