# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A BPF object of claims: its programs, loaded one by one, and its globals, written before a run and read after it."""

from __future__ import annotations

import ctypes
import os
from sys import byteorder

from .btf import ARRAY, ENUM, ENUM64, INT, Btf, BtfError
from .externs import POISON, names_in
from .libbpf import Libbpf, LibbpfError
from .structs import PROG_TYPES, LoadOpts, ProgTypeRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .programs import Relocated

_ANY = "any"  # any_NAME: a program that is loaded as each type
_POISONED = "invalid func unknown#"
_RESULT = "result"
_RODATA, _WRITABLE = ".rodata", (".data", ".bss")
_KEY = ctypes.byref(ctypes.c_uint32(0))  # of the one element of a section's map


class Slot:
    """Where a number lies in the value of a map: byte offset, size, signed or not."""

    __slots__ = ("offset", "signed", "size")

    def __init__(self, offset: int, size: int, signed: bool) -> None:
        self.offset, self.size, self.signed = offset, size, signed


class Section:
    """A writable section: its map, what it contains at first, and a buffer of its size."""

    __slots__ = ("buffer", "fd", "first", "view")

    def __init__(self, fd: int, first: bytes) -> None:
        self.fd = fd
        self.first = first
        self.buffer = ctypes.create_string_buffer(len(first))
        self.view = memoryview(self.buffer).cast("B")


def number(content: memoryview | bytearray, slot: Slot) -> int:
    return int.from_bytes(content[slot.offset : slot.offset + slot.size], byteorder, signed=slot.signed)


def store(content: bytearray | memoryview, path: str, slot: Slot, value: int) -> None:
    """Write a number. -1 may be stored in an unsigned slot. Raises BtfError when it does not fit."""
    bits = 8 * slot.size
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise BtfError(f"{path} has {bits} bits: {value} does not fit")
    content[slot.offset : slot.offset + slot.size] = (value % (1 << bits)).to_bytes(slot.size, byteorder)


class Object:
    """An object whose maps are in the kernel and whose programs are relocated."""

    def __init__(self, libbpf: Libbpf, handle: ctypes.c_void_p, path: str) -> None:
        self._libbpf = libbpf
        self.handle = handle
        self._path, self._name = path, os.path.basename(path)
        self.btf = Btf(libbpf, ctypes.c_void_p(libbpf.c.bpf_object__btf(handle)))
        self._variables = {
            name: (section, *place)
            for section in (_RODATA, *_WRITABLE)
            for name, place in self.btf.variables(section).items()
        }
        self._programs: dict[str, Relocated] = {}
        self._loaded: dict[tuple[str, int], int] = {}  # by program and the device that it is bound to
        self._refused: set[str] = set()  # without their types
        self._sections: dict[str, Section] = {}
        self._slots: dict[str, tuple[str, Slot]] = {}  # by the paths that were asked for
        self._result: tuple[Section, dict[str, Slot]] | None = None
        self.words = ""  # libbpf's, while it relocated

    def slot(self, path: str) -> tuple[str, Slot]:
        """`opts.netns_id` -> its section and place. Raises BtfError when there is no such global."""
        if path not in self._slots:
            name, *members = path.split(".")
            if name not in self._variables:
                raise BtfError(f"{self._name} has no global {name!r}")
            section, offset, type_id = self._variables[name]
            self._slots[path] = section, slot_of(self.btf, offset, type_id, members)
        return self._slots[path]

    def _map(self, section: str) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._libbpf.c.bpf_object__find_map_by_name(self.handle, section.encode()))

    def _initial(self, section: str) -> tuple[int, int]:
        """Address and size of a section's first contents."""
        size = ctypes.c_size_t()
        address = self._libbpf.c.bpf_map__initial_value(self._map(section), ctypes.byref(size))
        return address, size.value

    def set_constants(self, constants: Iterable[tuple[str, int]]) -> None:
        """Before the verifier sees them. Raises BtfError for what is not a constant."""
        for path, value in constants:
            section, slot = self.slot(path)
            if section != _RODATA:
                raise BtfError(f"{path!r} is not a constant")
            address, size = self._initial(_RODATA)
            store(memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B"), path, slot, value)

    def leave_out_all_but(self, programs: set[str]) -> None:
        """Neither relocate nor load the others."""
        compiled = {*programs, *map(_for_any, programs)}
        for name, found in self._libbpf.programs(self.handle):
            if name not in compiled:
                self._libbpf.c.bpf_program__set_autoload(found, ctypes.c_bool(False))

    def ready(self, programs: dict[str, Relocated]) -> None:
        """Take the relocated programs, and remember the writable sections as they are now."""
        self._programs = programs
        self.words += self._libbpf.take_words()
        for section in _WRITABLE:
            handle = self._map(section)
            if handle:
                address, size = self._initial(section)
                self._sections[section] = Section(self._libbpf.c.bpf_map__fd(handle), ctypes.string_at(address, size))

    def load(self, program: str, device: int = 0, *, likely_refused: bool = False) -> tuple[int, int, str]:
        """File descriptor or -1, errno, log. A program that was taken stays loaded. `device` is what it is bound to.

        Where the verifier's log is needed most likely, it is asked for at once.
        """
        relocated = self._relocated(program)
        if (program, device) in self._loaded:
            return self._loaded[program, device], 0, ""
        prog_type = PROG_TYPES[program.partition("_")[0]].number
        name = program.partition("_")[2]
        likely = likely_refused or name in self._refused  # under another type
        opts = relocated.opts.bound(device)
        fd, refused, log = self._libbpf.prog_load(prog_type, relocated.insns, opts, logged=likely)
        if refused:
            self._refused.add(name)
        else:
            self._loaded[program, device] = fd
        # what libbpf could not do, such as a map that the kernel refused, is why the verifier refuses the rest
        return fd, refused, self.words + log if refused else ""

    def load_other(self, program: str, load_as: str | None, license_: str) -> tuple[int, str]:
        """Errno and log of a load as another type, or under another license. What was taken is given back.

        Raises LibbpfError when the kernel does not load anything of that type: it then says nothing of the program.
        """
        insns, opts, as_type = self._as(program, load_as)
        fd, refused, log = self._libbpf.prog_load(as_type.number, insns, opts, license_, logged=True)
        if not refused:
            os.close(fd)
        elif not log and (
            reason := self._libbpf.unloadable(as_type.number, LoadOpts(expected_attach_type=as_type.attach))
        ):
            raise LibbpfError(f"as {as_type.constant}: {reason}")
        return refused, self.words + log if refused else ""

    def load_verbose(self, program: str, load_as: str | None, license_: str) -> tuple[int, str]:
        """A load of its own, with the whole log: file descriptor or -1, which the caller owns, and the log."""
        insns, opts, as_type = self._as(program, load_as)
        fd, log = self._libbpf.load(as_type.number, insns, opts, license_, level=2)
        return fd, self.words + log if fd < 0 else log

    def unresolved(self, log: str) -> str:
        """The kfunc of whose call the verifier says that it was not found, or has another prototype.

        Its number is in the call; in libbpf's it is that among what the object takes from outside, sorted by name.
        """
        number = log.rpartition(_POISONED)[2].partition("\n")[0]
        at = int(number) - POISON if number.isdecimal() else -1
        if at < 0:
            return ""
        if names := names_in(self.btf):
            return names[at] if at < len(names) else ""
        whole = Btf.of_file(self._libbpf, self._path)  # libbpf has taken their names out of its own
        names = [*whole.variables(".kconfig"), *sorted(whole.variables(".ksyms"))]
        return names[at] if at < len(names) else ""

    def _as(self, program: str, load_as: str | None) -> tuple[bytes, LoadOpts, ProgTypeRow]:
        """To load as a type."""
        relocated, as_type = self._relocated(program), PROG_TYPES[load_as or program.partition("_")[0]]
        opts = LoadOpts.from_buffer_copy(relocated.opts)
        opts.expected_attach_type = as_type.attach
        return relocated.insns, opts, as_type

    def _relocated(self, program: str) -> Relocated:
        found = self._programs.get(program) or self._programs.get(_for_any(program))
        if not found:
            raise BtfError(f"{self._name} has no program {program!r}")
        return found

    def write(self, inputs: dict[str, int]) -> None:
        """Reset every writable global, then set these."""
        for it in self._sections.values():
            it.buffer.raw = it.first
        for path, value in inputs.items():
            section, slot = self.slot(path)
            if section not in self._sections:
                raise BtfError(f"{path!r} is not an input")
            store(self._sections[section].view, path, slot, value)
        for section, it in self._sections.items():
            if self._libbpf.c.bpf_map_update_elem(it.fd, _KEY, it.buffer, 0) < 0:
                raise self._libbpf.error(f"writing {section}")

    def read(self) -> dict[str, int]:
        """Every member of the global `result`."""
        if self._result is None:
            self._result = self._find_result()
        section, slots = self._result
        if self._libbpf.c.bpf_map_lookup_elem(section.fd, _KEY, section.buffer) < 0:
            raise self._libbpf.error("reading the result")
        return {name: number(section.view, slot) for name, slot in slots.items()}

    def _find_result(self) -> tuple[Section, dict[str, Slot]]:
        if _RESULT not in self._variables:
            raise BtfError(f"{self._name} has no global {_RESULT!r}")
        section, _, type_id = self._variables[_RESULT]
        names = self.btf.fields(type_id)
        return self._sections[section], {name: self.slot(f"{_RESULT}.{name}")[1] for name in names}


def _for_any(program: str) -> str:
    return f"{_ANY}_{program.partition('_')[2]}"


def slot_of(btf: Btf, offset: int, type_id: int, path: list[str]) -> Slot:
    """The number at `path` (members, array indices) below a variable of this type. Raises BtfError."""
    for name in path:
        inner, type_id = _below(btf, btf.plain(type_id), name)
        offset += inner
    type_id = btf.plain(type_id)
    if btf.kind(type_id) not in (INT, ENUM, ENUM64):
        raise BtfError(f"{'.'.join(path) or 'the variable'} is not a number")
    return Slot(offset, btf.target(type_id), btf.is_signed(type_id))


def _below(btf: Btf, type_id: int, name: str) -> tuple[int, int]:
    """Offset and type of a member of a structure, or of an array's element."""
    if btf.kind(type_id) == ARRAY:
        element, count = btf.element(type_id)
        if not name.isdigit() or int(name) >= count:
            raise BtfError(f"{name!r} is not an index below {count}")
        return int(name) * btf.size(element), element
    fields = btf.fields(type_id)
    if name not in fields:
        raise BtfError(f"no member {name!r}; there are: {', '.join(fields) or 'none'}")
    return fields[name]
