"""What BTF says of a kfunc: its prototype, and the layout of the structures that programs hand to it.

Which these are shows in the prototype: pointers to `struct bpf_*` or `struct *_opts`, unless they are so large that
they are the kernel's own business. A constant that is named for a structure's size, such as NF_BPF_CT_OPTS_SZ of
bpf_ct_opts, is told as well.
"""

from __future__ import annotations

import ctypes
import os
import struct
from itertools import pairwise

from .btf import (
    ARRAY,
    CONST,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PTR,
    RESTRICT,
    STRUCT,
    THREE,
    TRANSPARENT,
    TWO,
    TYPE_TAG,
    UNION,
    VOLATILE,
    BtfError,
)
from .libbpf import DeclOpts, Libbpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .kernelbtf import ObjectBtf

    Functions = dict[str, int]  # names, and the ids of their FUNC_PROTO types

MAX_BYTES, MAXTHREES = 256, 32
_DEPTH = 16  # of types within types; a damaged one may contain itself
_BITFIELDS = 1 << 31  # kind_flag: a member's offset holds its width as well
_POINTER = struct.calcsize("P")
_LIMIT_S = 10
_END = 1  # behind each prototype; never in one
_WORDS = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum"}


def shared(prototype: str) -> set[str]:
    """The names of the structures in a prototype that programs know from the inside."""
    words = "".join(char if char.isalnum() or char == "_" else " " for char in prototype).split()
    after = (name for word, name in pairwise(words) if word == "struct")
    return {name for name in after if name.startswith("bpf_") or name.endswith("_opts")}


class Layouts:
    """Each structure is looked at once, however many kfuncs take it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], dict[str, object] | None] = {}

    def of(self, btf: ObjectBtf, proto: int, prototype: str) -> list[dict[str, object]]:
        """Of one kfunc, in the order of its parameters. What BTF does not say properly is left out."""
        names = shared(prototype)
        if not names:
            return []
        found: dict[str, dict[str, object]] = {}
        try:
            for _, type_id in _pairs(btf, proto, FUNC_PROTO):
                holder, target = _pointee(btf, type_id)
                name = holder.name(target) if holder else ""
                if holder and name in names and name not in found and (layout := self._layout(holder, target, name)):
                    found[name] = layout
        except (BtfError, struct.error):
            pass
        return list(found.values())

    def _layout(self, btf: ObjectBtf, type_id: int, name: str) -> dict[str, object] | None:
        key = (id(btf), type_id)
        if key not in self._known:
            self._known[key] = _layout(btf, type_id, name)
        return self._known[key]


def _layout(btf: ObjectBtf, type_id: int, name: str) -> dict[str, object] | None:
    _, info, size = btf.record(type_id)
    count = info & 0xFFFF
    if size > MAX_BYTES or not 0 < count <= MAXTHREES:
        return None
    members = []
    for at in range(count):
        name_off, member, place = THREE.unpack(btf.behind(type_id, at * THREE.size, THREE.size))
        bits, place = (place >> 24, place & 0xFFFFFF) if info & _BITFIELDS else (0, place)
        members.append(
            {
                "name": btf.string(name_off),
                "type": _words(btf, member),
                "offset": place // 8,
                "size": _size(btf, member),
                "bits": bits,
            }
        )
    return {"name": name, "size": size, "members": members, "constants": _constants(btf, name)}


def _constants(btf: ObjectBtf, name: str) -> list[dict[str, object]]:
    """Enumerators that are named for the size of a structure."""
    found: dict[str, int] = {}
    for word, offset in btf.strings_ending(f"{name.upper()}_SZ"):
        for type_id, place in btf.mentions(offset):
            if btf.kind(type_id) == ENUM and place % TWO.size == 0:
                found[word] = TWO.unpack(btf.behind(type_id, place, TWO.size))[1]
    return [{"name": word, "value": value} for word, value in found.items()]


def _pairs(btf: ObjectBtf, type_id: int, kind: int) -> list[tuple[int, int]]:
    """The parameters of a prototype: names and types."""
    info = btf.record(type_id)[1]
    if info >> 24 & 0x1F != kind:
        raise BtfError(f"type {type_id} is no prototype")
    count = info & 0xFFFF
    raw = btf.behind(type_id, 0, count * TWO.size)
    return [(first, second) for first, second in TWO.iter_unpack(raw)]


def _pointee(btf: ObjectBtf, type_id: int) -> tuple[ObjectBtf | None, int]:
    """The structure that a parameter points to."""
    pointers = 0
    for _ in range(_DEPTH):
        holder = btf.holder(type_id)
        if holder is None:
            break
        kind = holder.kind(type_id)
        if kind == STRUCT:
            return (holder, type_id) if pointers == 1 else (None, 0)
        if kind != PTR and kind not in TRANSPARENT:
            break
        pointers += kind == PTR
        type_id = holder.record(type_id)[2]
    return None, 0


def _size(btf: ObjectBtf, type_id: int, depth: int = 0) -> int:
    """In bytes."""
    holder = btf.holder(type_id)
    if holder is None or depth > _DEPTH:
        raise BtfError(f"type {type_id} has no size")
    kind = holder.kind(type_id)
    if kind == PTR:
        return _POINTER
    if kind == ARRAY:
        element, _, count = THREE.unpack(holder.behind(type_id, 0, THREE.size))
        return int(count) * _size(holder, element, depth + 1)
    if kind in TRANSPARENT:
        return _size(holder, holder.record(type_id)[2], depth + 1)
    if kind in (INT, FLOAT, STRUCT, UNION, ENUM, ENUM64):
        return holder.record(type_id)[2]
    raise BtfError(f"type {type_id} has no size")


def _words(btf: ObjectBtf, type_id: int, depth: int = 0) -> str:
    """A type as C has it, near enough to be read."""
    holder = btf.holder(type_id)
    if type_id == 0:
        return "void"
    if holder is None or depth > _DEPTH:
        raise BtfError(f"type {type_id} has no name")
    kind, name = holder.kind(type_id), holder.name(type_id)
    target = holder.record(type_id)[2]
    if kind in _WORDS:
        return f"{_WORDS[kind]} {name or '{...}'}"
    if kind == FWD:
        return f"struct {name}"
    if kind == PTR:
        words = _words(holder, target, depth + 1)
        return f"{words}*" if words.endswith("*") else f"{words} *"
    if kind == ARRAY:
        element, _, count = THREE.unpack(holder.behind(type_id, 0, THREE.size))
        return f"{_words(holder, element, depth + 1)}[{count}]"
    if kind == CONST:
        return f"const {_words(holder, target, depth + 1)}"
    if kind in (VOLATILE, RESTRICT, TYPE_TAG):
        return _words(holder, target, depth + 1)
    return name or "(function)"


def prototypes(libbpf: Libbpf, jobs: Iterable[tuple[ctypes.c_void_p, Functions]]) -> dict[str, str]:
    """As C has them, written by libbpf. `jobs`: BTF, and what to write of it. Without what libbpf cannot write.

    libbpf hands what it writes to a function of the signature of vfprintf. That is what it gets: the C library's own,
    so that no text comes by way of Python until all of it is there. All of it happens in a child: libbpf trusts BTF to
    be sound, and what a broken one does to it must not end the agent.
    """
    jobs = list(jobs)
    output, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        libbpf.libc.alarm(_LIMIT_S)  # a type that contains itself has no end
        try:
            for btf, functions in jobs:
                _write(libbpf, btf, functions, write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    with open(output, encoding="utf-8", errors="replace") as file:
        texts = file.read().split(chr(_END))
    os.waitpid(child, 0)
    names = [name for _, functions in jobs for name in functions]
    return {name: text for name, text in zip(names, texts[:-1], strict=False) if text}


def _write(libbpf: Libbpf, btf: ctypes.c_void_p, functions: Functions, output: int) -> None:
    """One text for each function, empty where there is none."""
    c, libc = libbpf.c, libbpf.libc
    stream = ctypes.c_void_p(libc.fdopen(output, b"w"))
    writer = ctypes.c_void_p(c.btf_dump__new(btf, ctypes.cast(libc.vfprintf, ctypes.c_void_p), stream, None))
    for name, proto_id in functions.items() if writer else ():
        opts = DeclOpts(sz=ctypes.sizeof(DeclOpts), field_name=name.encode())
        c.btf_dump__emit_type_decl(writer, ctypes.c_uint32(proto_id), ctypes.byref(opts))
        libc.fputc(_END, stream)
    libc.fflush(stream)
