# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An object file of a user, opened by libbpf for one attempt to load it."""

from __future__ import annotations

import ctypes
import os
import re
from fnmatch import fnmatchcase

from . import NoAnswer, bounded
from .cgroups import Memory
from .libbpf import errno_name
from .structs import DEV_BOUND_ONLY, PROG_TYPES, LoadOpts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NotRequired, TypedDict, TypeVar

    from .libbpf import Libbpf
    from .objects import Attacher

    class Body(TypedDict):
        """Body of runner/probes/objects."""

        files: dict[str, str]  # by `uname -m`: the name beside the agent, without .bpf.o and, of the copy, .weak.bpf.o
        programs: list[str]  # patterns
        skip: list[str]  # patterns
        types: dict[str, str]  # pattern: program type
        targets: dict[str, str]  # pattern: what it is attached to
        devices: dict[str, str]  # pattern: the name of the device that it is bound to
        maps: dict[str, Sizes]  # pattern: what is set before it is made
        one_of: list[list[str]]  # programs of which only one is loaded with the object
        attach: bool
        whole_logs: bool  # else cut in the middle
        careful: bool  # one by one
        earlier: NotRequired[dict[str, int]]  # by program, what its answer is held against: it is handed back with that

    class Inner(TypedDict):
        """A map as those are that are put into a map of maps; the sizes are in bytes."""

        type: str
        key: int
        value: int
        max_entries: int
        flags: int

    class Sizes(TypedDict):
        max_entries: NotRequired[int | str]  # or "cpus"
        inner: NotRequired[Inner]

    Answer = dict[str, Any]
    _T = TypeVar("_T")

MAP = "map:"
STATS, ON_REFUSAL = 4, 0  # log levels: numbers alone; the words of a refusal, for which libbpf asks again
_STATS_BYTES, _LOG_BYTES = 64 << 10, 16 << 20
_KEPT = 1 << 20  # of a log
_LARGEST_LINE = 3 << 20  # the host takes a little more: _MAX_LINE of runner/guest/ssh.py
_EXT, _STRUCT_OPS_MAP = 28, 26  # BPF_PROG_TYPE_EXT, BPF_MAP_TYPE_STRUCT_OPS
_PROGRAM = re.compile(r"^libbpf: prog '([^']+)': ", re.MULTILINE)
_MAP = re.compile(r"^libbpf: (?:map '([^']+)': failed to create|struct_ops init_kern ?([^:\n]*): )", re.MULTILINE)
_SLOT = re.compile(r"^libbpf: map '[^']+': failed to initialize slot", re.MULTILINE)  # all programs were loaded by then
_MADE = b"libbpf: map '%s': created successfully"
_DURATION = re.compile(r"^verification time (\d+) usec\n", re.MULTILINE)


class Attempt:
    """What one attempt to load came to."""

    def __init__(self) -> None:
        self.errno = 0
        self.words = ""  # libbpf's
        self.log = ""  # the verifier's, of the culprit
        self.culprit = ""  # the program, or map:NAME, that was not taken; empty: the object as a whole
        self.about: Answer = {}  # the culprit, where it is a program
        self.memory: Answer = {}  # that it took
        self.taken: dict[str, Answer] = {}  # programs and maps

    def answer(self, *, whole: bool = False) -> Answer:
        """`whole`: with all of a log that is cut in `log`, by zlib and in base64."""
        told = {**timed(bounded(self.log, _KEPT)), **self.about, **self.memory}
        answer = {"errno": self.errno, "words": self.words[-4000:], **told}
        if whole and len(self.log) > _KEPT:
            from base64 import b64encode  # noqa: PLC0415  under emulation an import is dear
            from zlib import compress  # noqa: PLC0415

            packed = b64encode(compress(timed(self.log)["log"].encode())).decode()
            answer |= {"whole_log": packed} if len(packed) < _LARGEST_LINE else {}
        return answer


class File:
    """An object file, opened for one attempt. As a context it releases what was loaded at its end."""

    def __init__(self, libbpf: Libbpf, attacher: Attacher, path: str, wanted: Body) -> None:
        """Raises LibbpfError; NoAnswer for what should be there before the load: a program of which another one is to
        replace a function, a device, an inner map."""
        self._c, self._libbpf, self._attacher, self._wanted = libbpf.c, libbpf, attacher, wanted
        self._replaced: list[File] = []
        self._inner: list[int] = []  # descriptors
        self._bound: dict[str, str] = {}  # by program, the device
        libbpf.take_words()
        self._handle = ctypes.c_void_p(self._c.bpf_object__open_file(path.encode(), None))
        if not self._handle:
            raise libbpf.error(f"opening {os.path.basename(path)}")
        self._programs, self._maps = dict(libbpf.programs(self._handle)), dict(libbpf.maps(self._handle))
        self._operations = {name: it for name, it in self._maps.items() if self._c.bpf_map__type(it) == _STRUCT_OPS_MAP}
        self._whole = True  # no struct_ops has lost a program
        self._log = ctypes.create_string_buffer(1)
        for name, program in self._programs.items():
            if chosen := _matching(wanted["types"], name):
                self._c.bpf_program__set_type(program, PROG_TYPES[chosen].number)
                self._c.bpf_program__set_expected_attach_type(program, PROG_TYPES[chosen].attach)
            if target := _matching(wanted["targets"], name):
                self._aim(program, target, path)
            if device := _matching(wanted["devices"], name):
                self._c.bpf_program__set_ifindex(program, ctypes.c_uint32(attacher.device(device)))
                self._c.bpf_program__set_flags(program, ctypes.c_uint32(DEV_BOUND_ONLY))
                self._bound[name] = device
        for name, handle in self._maps.items():
            self._c.bpf_map__set_pin_path(handle, None)
            self._resize(name, handle, _matching(wanted["maps"], name) or {})

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._replaced:
            file.__exit__()
        self._c.bpf_object__close(self._handle)
        for fd in self._inner:
            os.close(fd)

    def _aim(self, program: ctypes.c_void_p, target: str, path: str) -> None:
        """Set the target: a function of the kernel, or for freplace PROGRAM or PROGRAM:FUNCTION of this object."""
        fd = 0
        if self._c.bpf_program__type(program) == _EXT:
            name, _, target = target.partition(":")
            file = File(self._libbpf, self._attacher, path, {**self._wanted, "targets": {}})
            self._replaced.append(file)
            if name not in file._programs or file.load([name], set(), STATS).errno:
                raise NoAnswer(f"its target, program {name} of this object, does not load")
            fd, target = self._c.bpf_program__fd(file._programs[name]), target or name
        self._c.bpf_program__set_attach_target(program, fd, target.encode())

    def _resize(self, name: str, handle: ctypes.c_void_p, sizes: Sizes) -> None:
        """What its own loader sets of a map before it is made. Raises NoAnswer."""
        if entries := sizes.get("max_entries"):
            number = entries if isinstance(entries, int) else self._c.libbpf_num_possible_cpus()
            self._c.bpf_map__set_max_entries(handle, ctypes.c_uint32(number))
        if inner := sizes.get("inner"):
            fd = self._libbpf.map_create(
                next((it for it in range(64) if self._c.libbpf_bpf_map_type_str(it) == inner["type"].encode()), 0),
                inner["max_entries"], inner["flags"], key=inner["key"], value=inner["value"],
            )  # fmt: skip
            self._inner.append(fd)
            if refused := self._c.bpf_map__set_inner_map_fd(handle, fd):
                raise NoAnswer(f"map {name} takes no inner map: {errno_name(-refused)}")

    @property
    def programs(self) -> dict[str, str]:
        """Those that are asked about, each with its type."""
        patterns, skip = self._wanted["programs"] or ["*"], self._wanted["skip"]
        return {
            name: self._type(program)
            for name, program in self._programs.items()
            if any(fnmatchcase(name, it) for it in patterns) and not any(fnmatchcase(name, it) for it in skip)
        }

    @property
    def optional(self) -> set[str]:
        """Those of a section `?...`: libbpf does not load them by itself. To be asked before anything is loaded."""
        return {name for name, program in self._programs.items() if not self._c.bpf_program__autoload(program)}

    def _type(self, program: ctypes.c_void_p) -> str:
        word = self._c.libbpf_bpf_prog_type_str(self._c.bpf_program__type(program))
        return word.decode() if word else "?"

    @property
    def maps(self) -> list[str]:
        """Those that the object declares, with their type: not libbpf's own for global variables."""
        return [name for name, handle in self._maps.items() if not self._c.bpf_map__is_internal(handle)]

    def load(self, programs: list[str], without: set[str], level: int, *, measured: bool = False) -> Attempt:
        """Load these programs, and every map but those in `without`. `measured`: also how much memory that takes."""
        logs = self._set_up(programs, level)
        self._take_out({handle.value for name, handle in self._programs.items() if name not in programs})
        for name, handle in self._maps.items():
            if MAP + name in without:
                self._c.bpf_map__set_autocreate(handle, ctypes.c_bool(False))
        made = Attempt()
        self._libbpf.take_words()
        if self._bound:  # a device is looked for where this process is
            with self._attacher.namespace:
                made.errno = -min(0, self._load(made, measured=measured))
        else:
            made.errno = -min(0, self._load(made, measured=measured))
        made.words = self._libbpf.take_words()
        loaded = programs if not made.errno or _SLOT.search(made.words) else ()
        for name in loaded:
            if not made.errno and self._c.bpf_program__fd(self._programs[name]) < 0:
                continue  # of struct_ops whose map is left out: libbpf did not load it
            made.taken[name] = {"errno": 0, **timed(text_of(logs[name])), **self._sizes(self._programs[name])}
            if len(programs) == 1:
                made.taken[name] |= made.memory
        if made.errno and not made.taken:
            made.culprit = self._culprit(made.words, programs, without)
            if made.culprit in logs:
                made.log, made.about = text_of(logs[made.culprit]), self._about(self._programs[made.culprit])
            return made
        made.taken |= {MAP + name: {"errno": 0} for name in self.maps if MAP + name not in without}
        return made

    def _load(self, made: Attempt, *, measured: bool) -> int:
        """What bpf_object__load returns. Memory is counted from where all but the programs is there: libbpf prints a
        line for each map."""
        memory, maps = Memory(), sum(map(self._c.bpf_map__autocreate, self._maps.values()))

        def made_one(text: bytes) -> None:
            nonlocal maps
            maps -= text.startswith(_MADE)
            if maps == 0:
                memory.enter()

        self._libbpf.when_debugging = made_one if measured and maps else None
        try:
            refused = self._c.bpf_object__load(self._handle)
        finally:
            self._libbpf.when_debugging = None
            peak_mib = memory.leave()
        made.memory = {} if peak_mib is None else {"peak_mem_mib": peak_mib}
        return int(refused)

    def _take_out(self, programs: set[int | None]) -> None:
        """Leave out what struct_ops refer to: libbpf would load it with their map. A map has handles until then."""
        size = ctypes.c_size_t()
        for handle in self._operations.values():
            value = self._c.bpf_map__initial_value(handle, ctypes.byref(size))
            words = (ctypes.c_uint64 * (size.value // 8)).from_address(value or ctypes.addressof(size))
            for place, word in enumerate(words if value else ()):
                if word in programs:
                    words[place], self._whole = 0, False

    def _set_up(self, programs: list[str], level: int) -> dict[str, ctypes.Array[ctypes.c_char]]:
        """The log of each. One that only a refused program writes to is shared: no other one follows."""
        if level == ON_REFUSAL:
            self._log = ctypes.create_string_buffer(_LOG_BYTES)
        logs = {}
        for name, program in self._programs.items():
            self._c.bpf_program__set_autoload(program, ctypes.c_bool(name in programs))
            if name in programs:
                log = self._log if level == ON_REFUSAL else ctypes.create_string_buffer(_STATS_BYTES)
                self._c.bpf_program__set_log_level(program, level)
                self._c.bpf_program__set_log_buf(program, log, ctypes.c_size_t(len(log)))
                logs[name] = log
        return logs

    def _culprit(self, words: str, programs: list[str], without: set[str]) -> str:
        """The last program or map that libbpf names. Empty where it names none, or none that was asked for."""
        found = [(it.start(), it[1]) for it in _PROGRAM.finditer(words) if it[1] in programs]
        only = next(iter(self._operations)) if len(self._operations) == 1 else ""
        maps = [(it.start(), MAP + (it[1] or it[2] or only)) for it in _MAP.finditer(words)]
        found += [(at, name) for at, name in maps if name not in without and name.removeprefix(MAP) in self._maps]
        return max(found, default=(0, ""))[1]

    def _about(self, program: ctypes.c_void_p) -> Answer:
        """The instructions of a program as libbpf gave it to the kernel, and how it is attached."""
        word = self._c.libbpf_bpf_attach_type_str(self._c.bpf_program__expected_attach_type(program))
        return {"prog_insns": self._c.bpf_program__insn_cnt(program), "attach_type": word.decode() if word else ""}

    def _sizes(self, program: ctypes.c_void_p) -> Answer:
        """The sizes of a loaded program in bytes; struct bpf_prog_info begins with type, id, tag, and these."""
        info = (ctypes.c_uint32 * 64)()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        if self._c.bpf_obj_get_info_by_fd(self._c.bpf_program__fd(program), ctypes.byref(info), ctypes.byref(size)) < 0:
            return {}
        return {"jited_bytes": info[4], "prog_bytes": info[5], **self._about(program)}

    def attach(self, name: str) -> Answer:
        """What came of attaching what was loaded; empty for what is attached to nothing by itself."""
        if not name.startswith(MAP):
            program = self._programs[name]
            return self._attacher.program(program, self._type(program), self._bound.get(name, ""))
        handle = self._operations.get(name.removeprefix(MAP))
        return self._attacher.operations(handle) if handle and self._whole else {}

    def supports(self, name: str) -> Answer:
        """`supported`: does the kernel have the type of this program or map at all? Without it: it cannot be told."""
        if name.startswith(MAP):
            handle = self._maps[name.removeprefix(MAP)]
            answer = self._c.libbpf_probe_bpf_map_type(self._c.bpf_map__type(handle), None)
        elif device := self._bound.get(name):
            opts = LoadOpts().bound(self._attacher.device(device))
            with self._attacher.namespace:
                answer = not self._libbpf.unloadable(self._c.bpf_program__type(self._programs[name]), opts)
            return {"supported": answer, "bound": True}
        else:
            answer = self._c.libbpf_probe_bpf_prog_type(self._c.bpf_program__type(self._programs[name]), None)
        return {} if answer < 0 else {"supported": bool(answer)}


def text_of(log: ctypes.Array[ctypes.c_char]) -> str:
    return ctypes.string_at(log).decode("utf-8", "replace")


def timed(log: str) -> Answer:
    """(the log without its duration, the duration): that is another one at each boot."""
    duration = _DURATION.search(log)
    return {"log": _DURATION.sub("", log), "duration_us": int(duration[1])} if duration else {"log": log}


def _matching(table: Mapping[str, _T], name: str) -> _T | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)
