"""Asks one object file of a user: does it load as a whole, and does each of its programs and maps load alone?

Together: the object as it is, all programs at once, as its own loader would. When that fails, alone: a copy in which
every undefined symbol is weak, so that a program falls only over what it reaches itself. libbpf stops at the first
program or map that the kernel refuses; that one is then left out, and the rest is loaded again.
"""

from __future__ import annotations

import ctypes
import os
import re
from fnmatch import fnmatchcase
from functools import partial

from . import NoAnswer, bounded
from .progtypes import PROG_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import NotRequired, TypedDict, TypeVar

    from .libbpf import Libbpf

    class Wanted(TypedDict):
        """Body of runner/probes/objects."""

        files: dict[str, str]  # by `uname -m`: the name beside the agent, without .bpf.o and, of the copy, .weak.bpf.o
        programs: list[str]  # patterns
        skip: list[str]  # patterns
        types: dict[str, str]  # pattern: program type
        targets: dict[str, str]  # pattern: what it is attached to
        max_entries: dict[str, int]  # of a map
        attach: bool
        careful: bool  # one by one
        earlier: NotRequired[dict[str, int]]  # by program, what its answer is held against: it is handed back with that

    Answer = dict[str, object]
    Items = Generator[tuple[str, Callable[[], Answer]], None, Answer]
    _T = TypeVar("_T")

CONFIG = "/run/key/config"  # the kernel's; KEYS_IN_GUEST of runner/guest/command.py
TOGETHER = "@together"
MAP = "map:"
_STATS, _ON_REFUSAL = 4, 0  # log levels: numbers alone; the words of a refusal, for which libbpf asks again
_STATS_BYTES, _LOG_BYTES = 64 << 10, 16 << 20
_KEPT = 1 << 20  # of a log
_PROGRAM = re.compile(r"^libbpf: prog '([^']+)': ", re.MULTILINE)
_MAP = re.compile(r"^libbpf: (?:map '([^']+)': failed to create|struct_ops init_kern ([^:\n]+): )", re.MULTILINE)
_STRUCT_OPS = re.compile(r"^libbpf: struct_ops init_kern ", re.MULTILINE)
_SLOT = re.compile(r"^libbpf: map '[^']+': failed to initialize slot", re.MULTILINE)  # all programs were loaded by then
_DURATION = re.compile(r"^verification time (\d+) usec\n", re.MULTILINE)
_TOO_LARGE = re.compile(r"program is too large|jumps is too complex")  # its log would have a million lines


class OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("attach_prog_fd", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", ctypes.c_size_t),
        ("kernel_log_level", ctypes.c_uint32),
        ("bpf_token_path", ctypes.c_char_p),
    )


class Attempt:
    """What one attempt to load came to."""

    def __init__(self) -> None:
        self.errno = 0
        self.words = ""  # libbpf's
        self.log = ""  # the verifier's, of the culprit
        self.culprit = ""  # the program, or map:NAME, that was not taken; empty: the object as a whole
        self.about: Answer = {}  # the culprit, where it is a program
        self.taken: dict[str, Answer] = {}  # programs and maps

    def answer(self) -> Answer:
        return {"errno": self.errno, "words": self.words[-4000:], **timed(bounded(self.log, _KEPT)), **self.about}


class File:
    """An object file, opened for one attempt. A context: what was loaded is given back at its end."""

    def __init__(self, libbpf: Libbpf, path: str, wanted: Wanted, config: str) -> None:
        self._c, self._libbpf, self._wanted = libbpf.c, libbpf, wanted
        self._config = config.encode()
        opts = OpenOpts(sz=ctypes.sizeof(OpenOpts), kconfig=self._config or None)
        libbpf.take_words()
        self._handle = ctypes.c_void_p(self._c.bpf_object__open_file(path.encode(), ctypes.byref(opts)))
        if not self._handle:
            raise libbpf.error(f"opening {os.path.basename(path)}")
        self._programs = dict(self._each("program"))
        self._maps = dict(self._each("map"))
        self._log = ctypes.create_string_buffer(1)
        for name, program in self._programs.items():
            if chosen := _matching(wanted["types"], name):
                self._c.bpf_program__set_type(program, PROG_TYPES[chosen].number)
                self._c.bpf_program__set_expected_attach_type(program, PROG_TYPES[chosen].attach)
            if target := _matching(wanted["targets"], name):
                self._c.bpf_program__set_attach_target(program, 0, target.encode())
        for name, handle in self._maps.items():
            self._c.bpf_map__set_pin_path(handle, None)
            if name in wanted["max_entries"]:
                self._c.bpf_map__set_max_entries(handle, ctypes.c_uint32(wanted["max_entries"][name]))

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self._c.bpf_object__close(self._handle)

    def _each(self, what: str) -> Iterator[tuple[str, ctypes.c_void_p]]:
        found = ctypes.c_void_p(None)
        following, name = getattr(self._c, f"bpf_object__next_{what}"), getattr(self._c, f"bpf_{what}__name")
        while (found := ctypes.c_void_p(following(self._handle, found))).value:
            yield name(found).decode("utf-8", "replace"), found

    @property
    def programs(self) -> dict[str, str]:
        """Those that are asked about, each with its type."""
        patterns, skip = self._wanted["programs"] or ["*"], self._wanted["skip"]
        return {
            name: self._type(program)
            for name, program in self._programs.items()
            if any(fnmatchcase(name, it) for it in patterns) and not any(fnmatchcase(name, it) for it in skip)
        }

    def _type(self, program: ctypes.c_void_p) -> str:
        word = self._c.libbpf_bpf_prog_type_str(self._c.bpf_program__type(program))
        return word.decode() if word else "?"

    @property
    def maps(self) -> list[str]:
        """Those that the object declares, with their type: not libbpf's own for global variables."""
        return [name for name, handle in self._maps.items() if not self._c.bpf_map__is_internal(handle)]

    def load(self, programs: list[str], without: set[str], level: int) -> Attempt:
        """These programs, and every map but those in `without`."""
        logs = self._set_up(programs, level)
        for name, handle in self._maps.items():
            if MAP + name in without:
                self._c.bpf_map__set_autocreate(handle, ctypes.c_bool(False))
        made = Attempt()
        self._libbpf.take_words()
        made.errno = -min(0, self._c.bpf_object__load(self._handle))
        made.words = self._libbpf.take_words()
        loaded = programs if not made.errno or _SLOT.search(made.words) else ()
        for name in loaded:
            if not made.errno and self._c.bpf_program__fd(self._programs[name]) < 0:
                continue  # of struct_ops whose map is left out: libbpf did not load it
            made.taken[name] = {"errno": 0, **timed(text_of(logs[name])), **self._sizes(self._programs[name])}
        if made.errno and not made.taken:
            made.culprit = self._culprit(made.words, programs, without)
            if made.culprit in logs:
                made.log, made.about = text_of(logs[made.culprit]), self._about(self._programs[made.culprit])
            return made
        made.taken |= {MAP + name: {"errno": 0} for name in self.maps if MAP + name not in without}
        return made

    def _set_up(self, programs: list[str], level: int) -> dict[str, ctypes.Array[ctypes.c_char]]:
        """The log of each. One that only a refused program writes to is shared: no other one follows."""
        if level == _ON_REFUSAL:
            self._log = ctypes.create_string_buffer(_LOG_BYTES)
        logs = {}
        for name, program in self._programs.items():
            self._c.bpf_program__set_autoload(program, ctypes.c_bool(name in programs))
            if name in programs:
                log = self._log if level == _ON_REFUSAL else ctypes.create_string_buffer(_STATS_BYTES)
                self._c.bpf_program__set_log_level(program, level)
                self._c.bpf_program__set_log_buf(program, log, ctypes.c_size_t(len(log)))
                logs[name] = log
        return logs

    def _culprit(self, words: str, programs: list[str], without: set[str]) -> str:
        """The last program or map that libbpf names. Empty where it names none, or none that was asked for."""
        found = [(it.start(), it[1]) for it in _PROGRAM.finditer(words) if it[1] in programs]
        maps = [(it.start(), MAP + (it[1] or it[2])) for it in _MAP.finditer(words)]
        found += [(at, name) for at, name in maps if name not in without and name.removeprefix(MAP) in self._maps]
        return max(found, default=(0, ""))[1]

    def _about(self, program: ctypes.c_void_p) -> Answer:
        """Of a program that libbpf has given to the kernel: its instructions by then, and how it is to be attached."""
        word = self._c.libbpf_bpf_attach_type_str(self._c.bpf_program__expected_attach_type(program))
        return {"prog_insns": self._c.bpf_program__insn_cnt(program), "attach_type": word.decode() if word else ""}

    def _sizes(self, program: ctypes.c_void_p) -> Answer:
        """Of a loaded program, in bytes; struct bpf_prog_info begins with type, id, tag, and these."""
        info = (ctypes.c_uint32 * 64)()
        size = ctypes.c_uint32(ctypes.sizeof(info))
        if self._c.bpf_obj_get_info_by_fd(self._c.bpf_program__fd(program), ctypes.byref(info), ctypes.byref(size)) < 0:
            return {}
        return {"jited_bytes": info[4], "prog_bytes": info[5], **self._about(program)}

    def supports(self, name: str) -> bool | None:
        """Does the kernel have the type of this program or map at all? None: it cannot be told."""
        if name.startswith(MAP):
            handle = self._maps[name.removeprefix(MAP)]
            answer = self._c.libbpf_probe_bpf_map_type(self._c.bpf_map__type(handle), None)
        else:
            answer = self._c.libbpf_probe_bpf_prog_type(self._c.bpf_program__type(self._programs[name]), None)
        return None if answer < 0 else bool(answer)


def text_of(log: ctypes.Array[ctypes.c_char]) -> str:
    return ctypes.string_at(log).decode("utf-8", "replace")


def timed(log: str) -> Answer:
    """The log without its duration, and that: it is another one at each boot."""
    duration = _DURATION.search(log)
    return {"log": _DURATION.sub("", log), "duration_us": int(duration[1])} if duration else {"log": log}


def _matching(table: Mapping[str, _T], name: str) -> _T | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)


class Prober:
    """Asks one object after the other."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:
        self._libbpf, self._folder = libbpf, folder
        libbpf.c.libbpf_bpf_prog_type_str.restype = libbpf.c.libbpf_bpf_attach_type_str.restype = ctypes.c_char_p
        try:
            with open(CONFIG, encoding="utf-8", errors="replace") as file:
                self._config = file.read()
        except OSError:
            self._config = ""

    def ask(self, body: Wanted) -> Items:
        """Together, then each program and map. What is asked of the whole answers for its parts, where it loads."""
        with self._open(body) as file:
            programs, maps = file.programs, file.maps
        found: dict[str, Answer] = {}

        def together() -> Answer:
            with self._open(body) as file:
                made = file.load(list(programs), set(), _STATS)
            found.update(made.taken)
            return {**made.answer(), "culprit": made.culprit}

        def alone(name: str) -> Answer:
            if name not in found:
                mine = [name] if name in programs else []  # of a map none
                self._alone(body, mine if body["careful"] else list(programs), found)
            if name not in found:
                raise NoAnswer("libbpf did not come to it")
            earlier = {"earlier": body["earlier"][name]} if name in body.get("earlier", {}) else {}
            return {"type": programs.get(name, ""), **found[name], **earlier}

        yield TOGETHER, together
        for name in [*programs, *(MAP + it for it in maps)]:
            yield name, partial(alone, name)
        return {"programs": programs, "maps": maps}

    def _alone(self, wanted: Wanted, programs: list[str], found: dict[str, Answer]) -> None:
        """Fill `found` with the answers of these programs, and of every map."""
        without = {name for name, answer in found.items() if name.startswith(MAP) and answer["errno"]}
        while True:
            made = self._attempt(wanted, programs, without, _STATS)
            found.update({name: answer for name, answer in made.taken.items() if name not in found})
            if made.taken or not made.errno or not programs:
                refused = [found[name] for name in without if _STRUCT_OPS.search(str(found[name].get("words")))]
                for name in (name for name in programs if name not in found and refused):
                    found[name] = refused[0]  # its map is what the kernel refused
                return
            if not made.culprit and len(programs) > 1:  # it may be the fault of one that libbpf does not name
                for name in programs:
                    self._alone(wanted, [name], found)
                return
            culprit = made.culprit or (programs[0] if programs else TOGETHER)
            if not culprit.startswith(MAP) and not _TOO_LARGE.search(made.log):
                made = self._attempt(wanted, [culprit], without, _ON_REFUSAL)
            found[culprit] = made.answer() if made.errno else made.taken[culprit]
            if made.errno:
                with self._open(wanted, ".weak") as file:
                    found[culprit]["supported"] = file.supports(culprit)
            if culprit.startswith(MAP):
                without.add(culprit)
            else:  # without any program the maps are left
                programs = [name for name in programs if name != culprit]

    def _attempt(self, wanted: Wanted, programs: list[str], without: set[str], level: int) -> Attempt:
        with self._open(wanted, ".weak") as file:
            return file.load(programs, without, level)

    def _open(self, wanted: Wanted, which: str = "") -> File:
        machine = os.uname().machine
        if machine not in wanted["files"]:
            raise NoAnswer(f"the object is not built for {machine}")
        path = os.path.join(self._folder, f"{wanted['files'][machine]}{which}.bpf.o")
        return File(self._libbpf, path, wanted, self._config)
