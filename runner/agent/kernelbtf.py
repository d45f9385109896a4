# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which kfuncs the running kernel's BTF holds, in vmlinux and in each loaded module, and what it says of each.

That is its prototype, and the layout of the structures that programs hand to it: pointers to `struct bpf_*` or
`struct *_opts` in the prototype, unless they are so large that they are the kernel's own business. A constant that is
named for a structure's size, such as NF_BPF_CT_OPTS_SZ of bpf_ct_opts, is told as well.
"""

from __future__ import annotations

import ctypes
import os
import struct

from . import NoAnswer
from .btf import (
    ARRAY,
    CONST,
    DECL_TAG,
    ENUM,
    ENUM64,
    FUNC,
    FWD,
    ONE,
    PTR,
    RESTRICT,
    STRUCT,
    TWO,
    TYPE_TAG,
    UNION,
    VOLATILE,
    Btf,
    BtfError,
    sections,
)
from .libbpf import Libbpf
from .structs import DeclOpts, LoadOpts, ProgTypeRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Layout = dict[str, object]  # StructLayout of the host
    Functions = dict[str, int]  # names, and the ids of their FUNC_PROTO types

FOLDER = "/sys/kernel/btf"
VMLINUX = "vmlinux"
TAG = "bpf_kfunc"
OTHER_TAGS = ("bpf_fastcall",)  # what else a kfunc's tags may say
MAX_BYTES, MAX_MEMBERS = 256, 32
_DEPTH = 16  # of types within types; a damaged one may contain itself
_LIMIT_S = 10
_END = 1  # behind each prototype; never in one
_WORDS = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum"}


class Kfunc:
    """A kernel function: whose BTF holds it, that BTF, its id there, and a file descriptor of it (0 for vmlinux).

    `tags`: `bpf_kfunc` and what else its declaration tags say. `prototype` is empty where it cannot be had.
    `layouts` are of the structures that programs hand to it.
    """

    __slots__ = ("btf", "btf_id", "fd", "layouts", "name", "object", "prototype", "tags")

    def __init__(self, name: str, owner: str, btf: Btf, btf_id: int, fd: int) -> None:
        self.name, self.object, self.btf, self.btf_id, self.fd = name, owner, btf, btf_id, fd
        self.tags: tuple[str, ...] = ()
        self.prototype = ""
        self.layouts: list[Layout] = []


_PARSED: dict[str, Btf] = {}  # by path


def warm(libbpf: Libbpf) -> None:
    """Parse the kernel's own BTF now; it is not parsed again. Raises LibbpfError and BtfError."""
    _vmlinux(libbpf, FOLDER)


def _vmlinux(libbpf: Libbpf, folder: str) -> Btf:
    path = os.path.join(folder, VMLINUX)
    if path not in _PARSED:
        _PARSED[path] = Btf.of_file(libbpf, path)
    return _PARSED[path]


class KernelBtf:
    """All BTF of the running kernel. Raises LibbpfError and BtfError."""

    def __init__(self, libbpf: Libbpf, folder: str = FOLDER) -> None:
        self._libbpf = libbpf
        self._folder = folder
        self.vmlinux = _vmlinux(libbpf, folder)
        self._fds = libbpf.kernel_btf_fds()
        self._words: tuple[frozenset[bytes], ...] = ()

    def load_opts(self, prog_type: ProgTypeRow) -> LoadOpts:
        """What to load a program with. Raises NoAnswer when there is no such type, or not what it attaches to."""
        if not self.vmlinux.offsets(f"BPF_PROG_TYPE_{prog_type.constant}"):
            raise NoAnswer("the kernel does not know this program type")
        opts = LoadOpts(expected_attach_type=prog_type.attach, prog_flags=prog_type.flags)
        if name := prog_type.function or prog_type.struct:
            target = self.vmlinux.find(name, FUNC if prog_type.function else STRUCT)
            if target is None:
                raise NoAnswer(f"the kernel has no {name} to attach to")
            opts.attach_btf_id = target
        return opts

    def kfuncs(self, names: frozenset[str]) -> dict[str, Kfunc]:
        """Every function that its BTF calls a kfunc, and those of `names` that are functions of any kind.

        BTF has such tags from v6.10 on, when pahole was new enough; before, `names` are all that is known.
        """
        found, homes = self._functions(names)
        protos = [{name: btf.target(kfunc.btf_id) for name, kfunc in held.items()} for btf, held in homes]
        jobs = [(btf.handle, ids) for (btf, _), ids in zip(homes, protos, strict=True)]
        for name, prototype in prototypes(self._libbpf, jobs).items():
            found[name].prototype = prototype
        known: dict[tuple[int, int], Layout | None] = {}
        for (btf, held), ids in zip(homes, protos, strict=True):
            for name, kfunc in held.items():
                kfunc.layouts = layouts(btf, ids[name], kfunc.prototype, known)
        return found

    def functions(self, names: frozenset[str]) -> dict[str, Kfunc]:
        """As `kfuncs`, without prototypes and layouts."""
        return self._functions(names)[0]

    def has_word(self, name: str) -> bool:
        """Is it among all strings, of modules too? What is not is no function."""
        if not self._words:
            texts = (self._sections(module)[1] for module in self._fds.keys() - {VMLINUX})
            self._words = self.vmlinux.strings(), frozenset(word for text in texts for word in text.split(b"\0"))
        return any(name.encode() in words for words in self._words)

    def structure(self, name: str) -> tuple[Btf, int] | None:
        """A structure of this name, and whose: of vmlinux, else of the first module that has one."""
        word = name.encode()
        for module in (VMLINUX, *sorted(self._fds.keys() - {VMLINUX})):
            if module == VMLINUX:
                btf = self.vmlinux
            elif self._names(module, word):
                btf = Btf.of_file(self._libbpf, os.path.join(self._folder, module), self.vmlinux)
            else:
                continue
            if found := btf.find(name, STRUCT):
                return btf, found
        return None

    def _names(self, module: str, word: bytes) -> bool:
        """May it have a type of this name? Most have not, and are not parsed."""
        types, strings = self._sections(module)
        heads = [ONE.pack(at) for at in self.vmlinux.offsets(word.decode())]
        return b"\0" + word + b"\0" in strings or any(head in types for head in heads)

    def _sections(self, module: str) -> tuple[bytes, bytes]:
        """Its types and strings: none where they cannot be had."""
        try:
            with open(os.path.join(self._folder, module), "rb") as file:
                return sections(file.read())
        except (OSError, BtfError):
            return b"", b""

    def _functions(self, names: frozenset[str]) -> tuple[dict[str, Kfunc], list[tuple[Btf, dict[str, Kfunc]]]]:
        """By name, and by the BTF that has them."""
        shared = self.vmlinux.strings_among(names)  # a module's names are there too when vmlinux has the same string
        found = _kfuncs_of(self.vmlinux, VMLINUX, 0, shared)
        homes = [(self.vmlinux, found)]
        heads = [TWO.pack(at, DECL_TAG << 24) for at in self.vmlinux.offsets(TAG)]
        heads += [head for name in shared - found.keys() for head in self.vmlinux.function_heads(name)]
        words = frozenset(name.encode() for name in (TAG, *names))
        for module in sorted(name for name in self._fds if name != VMLINUX):
            if not self._concerns(module, heads, words):
                continue
            btf = Btf.of_file(self._libbpf, os.path.join(self._folder, module), self.vmlinux)
            candidates = (btf.strings_among(names) | shared) - found.keys()
            more = _kfuncs_of(btf, module, self._fds[module], candidates)
            homes += [(btf, more)] if more else []
            found = {**more, **found}
        return found, homes

    def _concerns(self, module: str, heads: list[bytes], words: frozenset[bytes]) -> bool:
        """May it have types whose records begin so, or strings among `words`? Most have not, and are not parsed."""
        types, strings = self._sections(module)  # without any libbpf has better words for it
        return not types or any(head in types for head in heads) or not words.isdisjoint(strings.split(b"\0"))


def _kfuncs_of(btf: Btf, owner: str, fd: int, names: frozenset[str]) -> dict[str, Kfunc]:
    found = {name: Kfunc(name, owner, btf, at, fd) for name, at in btf.tagged(TAG).items()}
    for kfunc in found.values():
        kfunc.tags = (TAG,)
    for tag in OTHER_TAGS if found else ():
        for name in btf.tagged(tag).keys() & found.keys():
            found[name].tags += (tag,)
    for name in sorted(names - found.keys()):
        type_id = btf.find(name, FUNC)
        if type_id is not None:
            found[name] = Kfunc(name, owner, btf, type_id, fd)
    return found


# --- prototypes -----------------------------------------------------------------------------------------------------


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


# --- layouts --------------------------------------------------------------------------------------------------------


def shared(prototype: str) -> set[str]:
    """The names of the structures in a prototype that programs know from the inside."""
    after = (part.partition(" ")[0].rstrip("*,)") for part in prototype.split("struct ")[1:])
    return {name for name in after if name.startswith("bpf_") or name.endswith("_opts")}


def layouts(btf: Btf, proto: int, prototype: str, known: dict[tuple[int, int], Layout | None]) -> list[Layout]:
    """Of one kfunc, in the order of its parameters. What BTF does not say properly is left out.

    Each structure is looked at once, however many kfuncs take it: `known` are those that were, by their BTF and id.
    """
    names = shared(prototype)
    found: dict[str, Layout] = {}
    try:
        for _, type_id in btf.parameters(proto) if names else ():
            target = _pointee(btf, type_id)
            name = btf.name(target) if target else ""
            if name not in names or name in found:
                continue
            holder = btf.holder(target)
            key = (id(holder), target)
            if key not in known:
                known[key] = _layout(holder, target)
            if layout := known[key]:
                found[name] = layout
    except (BtfError, struct.error):
        pass
    return list(found.values())


def _layout(btf: Btf, type_id: int) -> Layout | None:
    _, count, size = btf.record(type_id)
    if size > MAX_BYTES or not 0 < count <= MAX_MEMBERS:
        return None
    name = btf.name(type_id)
    members = [
        {"name": word, "type": _words(btf, member), "offset": place // 8, "size": btf.size(member), "bits": bits}
        for word, member, place, bits in btf.members(type_id)
    ]
    constants = [{"name": word, "value": value} for word, value in btf.constants(f"{name.upper()}_SZ").items()]
    return {"name": name, "size": size, "members": members, "constants": constants}


def _pointee(btf: Btf, type_id: int) -> int:
    """The structure that a parameter points to; 0 when it points to something else."""
    kind, _, target = btf.record(btf.plain(type_id))
    target = btf.plain(target) if kind == PTR else 0
    return target if btf.kind(target) == STRUCT else 0


def _words(btf: Btf, type_id: int, depth: int = 0) -> str:
    """A type as C has it, near enough to be read."""
    if type_id == 0:
        return "void"
    if depth > _DEPTH:
        raise BtfError(f"type {type_id} has no name")
    (kind, _, target), name = btf.record(type_id), btf.name(type_id)
    if kind in _WORDS:
        return f"{_WORDS[kind]} {name or '{...}'}"
    if kind == FWD:
        return f"struct {name}"
    if kind == PTR:
        words = _words(btf, target, depth + 1)
        return f"{words}*" if words.endswith("*") else f"{words} *"
    if kind == ARRAY:
        element, count = btf.element(type_id)
        return f"{_words(btf, element, depth + 1)}[{count}]"
    if kind == CONST:
        return f"const {_words(btf, target, depth + 1)}"
    if kind in (VOLATILE, RESTRICT, TYPE_TAG):
        return _words(btf, target, depth + 1)
    return name or "(function)"
