# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads and checks a user's object file, and makes altered copies. Its bytes are hostile until they are parsed."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from runner import userfile
from runner.errors import UserError
from runner.probes.externs import ENUM, ENUM64, INT, VAR, ObjectBtf
from runner.probes.files import parsing
from runner.probes.objects.written import ObjectFile
from runner.text import plain

COMPILE = "build it with clang -target bpf -g -O2 -c"
LARGEST = 64 << 20  # bytes
_WEAK = 2 << 4  # STB_WEAK, in st_info
_CALL = 10  # R_BPF_64_32: a relocation of a call instruction
# include/linux/license.h
_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
_INFO = 4  # offset of st_info in an Elf64_Sym
_OWN_LOADER = "give your own loader to the guest instead"


def read_object(path: Path) -> ObjectFile:
    """Read and check it. Raises UserError for what no libbpf can open, with what to do."""
    if not path.name.isprintable():
        raise UserError(f"{plain(str(path))}: the file's name has characters that do not print", hint="rename it")
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint=f"name the files in it: {path / '*.o'}")
    content = userfile.read(path, most=LARGEST, too_large="`llvm-strip -g` takes debug sections out")
    return checked(str(path), content)


def checked(path: str, content: bytes) -> ObjectFile:
    """The object with this content; `path` is for messages. Raises UserError when libbpf could not open it."""
    with parsing(f"{path} is not an ELF file that can be read", hint=COMPILE):
        return _parsed(path, content)


def _parsed(path: str, content: bytes) -> ObjectFile:
    elf = ELFFile(io.BytesIO(content))
    if elf["e_machine"] != "EM_BPF" or elf.elfclass != 64 or elf["e_type"] != "ET_REL":
        raise UserError(f"{path} is not a BPF object: machine {elf['e_machine']}", hint=COMPILE)
    sections = {section.name: section for section in elf.iter_sections() if _inside(section, len(content))}
    if "maps" in sections and sections["maps"]["sh_size"]:
        raise UserError(f"{path} declares maps as libbpf before 1.0 did (section `maps`)", hint=_OWN_LOADER)
    if ".BTF" not in sections:
        raise UserError(f"{path} has no BTF", hint="compile it with clang -g; of Aya's objects, " + _OWN_LOADER)
    table = _symbols(elf)
    if table is None:
        raise UserError(f"{path} has no symbols", hint="do not strip them: llvm-strip -g keeps them")
    symbols = [(_printable(path, symbol.name), symbol) for symbol in table.iter_symbols()]
    functions = [
        (name, symbol["st_info"]["bind"])
        for name, symbol in symbols
        if symbol["st_info"]["type"] == "STT_FUNC"
        and isinstance(symbol["st_shndx"], int)
        and elf.get_section(symbol["st_shndx"]).name != ".text"
    ]
    if static := next((name for name, bind in functions if bind == "STB_LOCAL"), ""):
        what = f"{path}: the program {static!r} is static, and libbpf opens no object that has one"
        raise UserError(what, hint=f"declare it without `static`: int {static}(...)")
    programs = tuple(name for name, _ in functions)
    maps = tuple(
        name
        for name, symbol in symbols
        if symbol["st_info"]["type"] == "STT_OBJECT"
        and isinstance(symbol["st_shndx"], int)
        and elf.get_section(symbol["st_shndx"]).name == ".maps"
    )
    if not programs:
        raise UserError(f"{path} has no programs", hint='a program is a function in a section of its own: SEC("xdp")')
    license_, kfuncs = _license(sections.get("license")), _kfuncs(elf, table)
    if kfuncs and license_ not in _GPL:
        raise UserError(
            f"{path} calls kernel functions ({', '.join(sorted(kfuncs)[:4])}), which its license {plain(license_)!r} "
            "forbids on every kernel",
            hint=f'char _license[] SEC("license") = "GPL"; allowed are: {", ".join(_GPL)}',
        )
    return ObjectFile(
        path=path,
        content=content,
        byte_order="little" if elf.little_endian else "big",
        programs=programs,
        maps=maps,
        externs=tuple(sorted({name for name, it in symbols if name and it["st_shndx"] == "SHN_UNDEF"})),
    )


def weakened(content: bytes) -> bytes:
    """A copy in which every undefined symbol is weak: what the kernel lacks then fails the programs that reach it.

    libbpf takes an extern for weak by its symbol's binding alone (libbpf.c, bpf_object__collect_externs).
    """
    copy = bytearray(content)
    table = _symbols(ELFFile(io.BytesIO(content)))
    if table is None:
        return content
    for number, symbol in enumerate(table.iter_symbols()):
        if symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL":
            at = table["sh_offset"] + number * table["sh_entsize"] + _INFO
            copy[at] = _WEAK | copy[at] & 0xF
    return bytes(copy)


def _inside(section: Section, size: int) -> bool:
    """Raises ValueError for one that has more bytes than the file: its parts are not to be counted one by one."""
    if section["sh_type"] != "SHT_NOBITS" and section["sh_offset"] + section["sh_size"] > size:
        raise ValueError(f"section {section.name} is longer than the file")
    return True


def _symbols(elf: ELFFile) -> SymbolTableSection | None:
    table = elf.get_section_by_name(".symtab")
    return table if isinstance(table, SymbolTableSection) else None


def _kfuncs(elf: ELFFile, table: SymbolTableSection) -> set[str]:
    """What programs call and the object does not have, unless its symbol is weak: such a call may never be reached."""
    relocations = [section for section in elf.iter_sections() if isinstance(section, RelocationSection)]
    called = {it["r_info_sym"] for each in relocations for it in each.iter_relocations() if it["r_info_type"] == _CALL}
    symbols = (table.get_symbol(number) for number in called)
    return {it.name for it in symbols if it["st_shndx"] == "SHN_UNDEF" and it["st_info"]["bind"] == "STB_GLOBAL"}


def _printable(path: str, name: str) -> str:
    if name and not (name.isascii() and name.isprintable() and len(name) <= 512):
        raise UserError(f"{path}: the name of a symbol has characters that are no letters: {plain(name)[:80]!r}")
    return name


def _license(section: Section | None) -> str:
    return section.data().split(b"\0")[0].decode("ascii", "replace")[:128] if section else ""


# --- values of global variables, as a loader sets `const volatile` ones; Documentation/bpf/btf.rst --------------------

_NAMES = {2: "a pointer", 3: "an array", 4: "a structure", 5: "a union", 16: "a floating-point number"}
_ALIASES = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type tag
_SIGNED, _BOOL = 1, 4  # of an integer's encoding


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
    with parsing(f"{path} has BTF that cannot be read", hint=COMPILE):
        elf, copy = ELFFile(io.BytesIO(content)), bytearray(content)
        order: Literal["little", "big"] = "little" if elf.little_endian else "big"
        btf = elf.get_section_by_name(".BTF")
        types = _variables(ObjectBtf.of(btf.data() if btf else b"", "<" if elf.little_endian else ">"))
        places = _places(elf)
        for name, value in values.items():
            if name not in places or name not in types:
                there = ", ".join(sorted(places.keys() & types.keys())) or "none"
                raise UserError(
                    f"{path} has no variable {name!r} that can be set", hint=f"it has: {plain(there)[:400]}"
                )
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


def _variables(btf: ObjectBtf) -> dict[str, _Number | str]:
    """Of each variable that the BTF names: how it is stored, or what it is that is no number."""
    records = [btf.record(number) for number in range(1, len(btf.types) + 1)]
    return {name.decode("utf-8", "replace"): _stored(btf, number) for name, kind, number in records if kind == VAR}


def _stored(btf: ObjectBtf, number: int) -> _Number | str:
    for _ in range(32):  # a damaged one may contain itself
        _, kind, size = btf.record(number) if number else (b"", 0, 0)  # void
        if kind == INT:
            (encoding,) = struct.unpack_from(f"{btf.order}I", btf.types[number - 1], 12)
            return _Number(size, bool(encoding >> 24 & _SIGNED), bool(encoding >> 24 & _BOOL))
        if kind in (ENUM, ENUM64):
            (info,) = struct.unpack_from(f"{btf.order}I", btf.types[number - 1], 4)
            return _Number(size, bool(info >> 31))
        if kind not in _ALIASES:
            return _NAMES.get(kind, "of another type")
        number = size
    raise ValueError("a type of its BTF contains itself")
