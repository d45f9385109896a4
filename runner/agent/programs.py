# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BPF objects: opened and relocated by libbpf once, their programs loaded one by one when they are asked about.

libbpf spends most of an object's load on the BTF of vmlinux. So one load relocates all programs of an object: each is
handed to us just before it would go to the kernel, is kept, and is replaced by an empty one. What it would have loaded
is loaded by us later, alone, so that each program has its own answer.
"""

from __future__ import annotations

import ctypes
import errno
import os
from sys import byteorder

from . import NoAnswer
from .btf import BtfError
from .claimobject import Object
from .externs import TYPES, CoreBtf, Externs, names_in
from .libbpf import PREPARE_LOAD, Libbpf, LibbpfError
from .structs import CALL, KFUNC_CALL, PROG_TYPES, RETURN, HandlerOpts, LoadOpts, MapOpts, OpenOpts, instruction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernelbtf import Kfunc

    Key = tuple[str, tuple[tuple[str, int], ...]]  # an object's name, and its constants

PREFIX = "tagged_"  # the map tagged_TAG of an object
_ARRAY = 2  # BPF_MAP_TYPE_ARRAY
_HAS_FRAGS = 1 << 5  # BPF_F_XDP_HAS_FRAGS
_SECTIONS = {"tc": 0, "xdp": 0, "xdp.frags": _HAS_FRAGS, "syscall": 0}  # with flags besides those of their types

_KFUNC_CALL = instruction(CALL, 0, KFUNC_CALL, 0, 0)[:2]


class Relocated:
    """A program as libbpf would have given it to the kernel."""

    __slots__ = ("fds", "insns", "keep", "opts")

    def __init__(self, insns: bytes, opts: LoadOpts, fds: ctypes.Array[ctypes.c_int] | None = None) -> None:
        """`fds` are those of modules that calls of kfuncs index, where libbpf has not put them into `opts`."""
        self.insns = insns
        self.keep: list[object] = []  # what opts points to
        self.opts = LoadOpts()
        self.opts.prog_btf_fd = opts.prog_btf_fd
        self.opts.expected_attach_type = opts.expected_attach_type
        self.opts.prog_flags = opts.prog_flags
        for kind in ("func_info", "line_info"):
            count, record = getattr(opts, kind + "_cnt"), getattr(opts, kind + "_rec_size")
            copy = ctypes.create_string_buffer(count * record)
            if count:
                ctypes.memmove(copy, getattr(opts, kind), count * record)
                setattr(self.opts, kind, ctypes.addressof(copy))
                setattr(self.opts, kind + "_cnt", count)
                setattr(self.opts, kind + "_rec_size", record)
                self.keep.append(copy)
        self.fds = fds or _module_fds(insns, opts)
        if self.fds:
            self.opts.fd_array = self.fds
            self.keep.append(self.fds)


def _module_fds(insns: bytes, opts: LoadOpts) -> ctypes.Array[ctypes.c_int] | None:
    """Our own copy of the BTF file descriptors that kfunc calls index: libbpf closes its own after the load."""
    used = set()
    if opts.fd_array:
        for at in range(0, len(insns), 8):
            if insns[at : at + 2] == _KFUNC_CALL:
                used.add(int.from_bytes(insns[at + 2 : at + 4], byteorder))
    used.discard(0)
    if not used:
        return None
    fds = (ctypes.c_int * (max(used) + 1))()
    for index in used:
        fds[index] = os.dup(opts.fd_array[index])
    return fds


def key_of(name: str, constants: dict[str, int]) -> Key:
    return name, tuple(sorted(constants.items()))


class Loader:
    """Opens objects from a folder; each (object, constants) once."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:
        self._libbpf = libbpf
        self._folder = folder
        self._objects: dict[Key, Object] = {}
        self._taken: dict[str, Relocated] = {}
        self._externs, self._core = Externs(libbpf), CoreBtf(folder)
        self._functions: list[Kfunc | None] = []  # of the object that is opened
        self._expected: dict[Key, set[str]] = {}  # programs
        self._unopened: dict[str, Object] = {}  # what was looked into, and is not loaded yet
        self._prepare = PREPARE_LOAD(self._on_prepare)  # must outlive every load
        for section, flags in _SECTIONS.items():
            row = PROG_TYPES[section.partition(".")[0]]
            opts = HandlerOpts(sz=ctypes.sizeof(HandlerOpts), cookie=row.flags | flags)
            opts.prog_prepare_load_fn = ctypes.cast(self._prepare, ctypes.c_void_p)
            if libbpf.c.libbpf_register_prog_handler(section.encode(), row.number, 0, ctypes.byref(opts)) < 0:
                raise libbpf.error("libbpf_register_prog_handler")

    def _on_prepare(self, program: int, opts: ctypes._Pointer[LoadOpts], cookie: int) -> int:
        c, handle = self._libbpf.c, ctypes.c_void_p(program)
        insns = ctypes.string_at(c.bpf_program__insns(handle), 8 * c.bpf_program__insn_cnt(handle))
        opts[0].prog_flags |= cookie
        insns, uses_fds = self._externs.settled(insns, self._functions)
        fds = self._externs.fds if uses_fds else None
        self._taken[c.bpf_program__name(handle).decode()] = Relocated(insns, opts[0], fds)
        opts[0].func_info_cnt = opts[0].line_info_cnt = 0  # they describe what is no longer there
        return int(c.bpf_program__set_insns(handle, RETURN, ctypes.c_size_t(len(RETURN) // 8)))

    def object(self, name: str, constants: dict[str, int]) -> Object:
        """The object `name`, relocated. Raises LibbpfError and BtfError."""
        key = key_of(name, constants)
        if key not in self._objects:
            self._objects[key] = self._open(key)
        return self._objects[key]

    def expect(self, programs: dict[Key, set[str]]) -> None:
        """What will be asked for: no other program of these objects is made ready.

        What their objects need of the kernel's BTF is looked for together.
        """
        self._expected = programs
        functions: set[str] = set()
        types: set[str] = set()
        try:
            for name in {name for name, _ in programs}:
                if os.path.exists(self._path(name)):
                    self._unopened[name] = it = self._opened(self._path(name), None)
                    functions.update(names_in(it.btf))
                    types.update(names_in(it.btf, TYPES))
            self._externs.find(frozenset(functions))
            if types:
                self._core.add(self._externs.kernel(), sorted(types))
        except (LibbpfError, BtfError, OSError):
            return  # the first that needs it says why

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.bpf.o")

    def _open(self, key: Key) -> Object:
        name, constants = key
        libbpf, path = self._libbpf, self._path(name)
        if not os.path.exists(path):
            raise NoAnswer(f"{name}.bpf.o was not compiled: bpf/{name}.bpf.c needs a newer clang than there was")
        libbpf.take_words()
        opened = self._unopened.pop(name, None) or self._opened(path, None)
        if types := names_in(opened.btf, TYPES):
            libbpf.c.bpf_object__close(opened.handle)
            self._core.add(self._externs.kernel(), types)
            opts = OpenOpts(sz=ctypes.sizeof(OpenOpts), btf_custom_path=self._core.path.encode())
            opened = self._opened(path, ctypes.pointer(opts))
        handle = opened.handle
        if key in self._expected:
            opened.leave_out_all_but(self._expected[key])
        opened.set_constants(constants)
        self._set_tagged_maps(opened)
        self._taken, self._functions = {}, self._externs.of(opened.btf)
        if libbpf.c.bpf_object__load(handle) < 0:
            raise libbpf.error(f"relocating {name}.bpf.o")
        opened.ready(self._taken)
        return opened

    def _opened(self, path: str, opts: ctypes._Pointer[OpenOpts] | None) -> Object:
        self._libbpf.take_words()
        handle = ctypes.c_void_p(self._libbpf.c.bpf_object__open_file(path.encode(), opts))
        if not handle:
            raise self._libbpf.error(f"opening {os.path.basename(path)}")
        return Object(self._libbpf, handle, path)

    def _set_tagged_maps(self, opened: Object) -> None:
        """Make the maps called tagged_TAG."""
        for name, handle in self._libbpf.maps(opened.handle):
            if name.startswith(PREFIX):
                fd, words = tagged_map(self._libbpf, name.removeprefix(PREFIX))
                opened.words += words
                if self._libbpf.c.bpf_map__reuse_fd(handle, fd) < 0:
                    raise self._libbpf.error(f"the map {name}")
                os.close(fd)  # libbpf has its own


def tagged_btf(libbpf: Libbpf, tag: str) -> ctypes.c_void_p:
    """A key (type 1), and a structure (type 5) with a tagged pointer, `kptr` or its like, to a struct nf_conn.

    clang writes BTF type tags from version 15 on only: an object of an older one could not ask for such a map.
    """
    c, four, eight = libbpf.c, ctypes.c_size_t(4), ctypes.c_uint32(8)
    btf = ctypes.c_void_p(c.btf__new_empty())
    c.btf__add_int(btf, b"u32", four, 0)
    c.btf__add_struct(btf, b"nf_conn", eight)
    c.btf__add_type_tag(btf, tag.encode(), 2)
    c.btf__add_ptr(btf, 3)
    c.btf__add_struct(btf, b"kept", eight)
    c.btf__add_field(btf, b"entry", 4, 0, 0)
    return btf


def tagged_map(libbpf: Libbpf, tag: str) -> tuple[int, str]:
    """A map of one such pointer: its file descriptor, and what the kernel did not take. Raises LibbpfError.

    A kernel may refuse the whole BTF for a pointer that no map may hold; then, as libbpf does, the map is made without.
    """
    btf, size, words = tagged_btf(libbpf, tag), ctypes.c_uint32(), ""
    raw = ctypes.c_void_p(libbpf.c.btf__raw_data(btf, ctypes.byref(size)))
    opts = MapOpts(sz=ctypes.sizeof(MapOpts), btf_key_type_id=1, btf_value_type_id=5)
    btf_fd = int(libbpf.c.bpf_btf_load(raw, ctypes.c_size_t(size.value), None))
    if btf_fd == -errno.ENOENT:
        words = f"no BTF with the type tag {tag}: ENOENT\n"
        opts = MapOpts(sz=ctypes.sizeof(MapOpts))
    elif btf_fd < 0:
        raise libbpf.error(f"BTF with the type tag {tag}")
    else:
        opts.btf_fd = btf_fd
    fd = int(libbpf.c.bpf_map_create(_ARRAY, (PREFIX + tag)[:15].encode(), 4, 8, 1, ctypes.byref(opts)))
    if fd < 0:
        raise libbpf.error(f"a map with the type tag {tag}")
    return fd, words
