# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What does the kernel do with calls at the edge? First the verifier's answer to each; what it accepts is run.

A call is run with its memory filled in several ways, between bytes that must not change, and then often enough to see
which of the kernel's slabs grow.
"""

from __future__ import annotations

import ctypes
import os
import time
from fnmatch import fnmatchcase
from itertools import combinations
from sys import byteorder

from . import NoAnswer
from .calls import AREA, RESULT, VALUE, Frame
from .derive import Call, Calls
from .fastjson import encode, scan
from .kernelbtf import KernelBtf
from .libbpf import Libbpf, LoadOpts
from .progtypes import PROG_TYPES, load_opts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypedDict

    from .kernelbtf import Kfunc

    class Wanted(TypedDict):
        """Body of runner/probes/boundaries. `kfuncs` are names to look for, `among` patterns of those to ask about.

        `only`: the one item that is asked about; empty: all.
        """

        prog_type: str
        kfuncs: list[str]
        among: list[str]
        only: str

    Answer = dict[str, object]
    Items = Generator[tuple[str, Callable[[], Answer]], None, Answer]

_ARRAY, _READ_ONLY = 2, 1 << 7  # BPF_MAP_TYPE_ARRAY, BPF_F_RDONLY_PROG
_KEY = bytes(4)
_TEXT = b"probe".ljust(64, b"\0")
_FILL = 0xA5  # of what must not change
_LINE = 300  # characters of a log that are kept
_OFTEN, _SURE = 64, 256  # runs
_REST_S = 0.3  # for what the kernel frees later
_FILLINGS = (("zeros", 0), ("ones", 0xFF), ("found", None))
_CANDIDATES = (-1, 1, 2, 6, 17)  # of a number in a structure that a call takes; the last two are protocols


class Prober:
    """One item for each kfunc: what the verifier says of its calls. Then one for each call that it accepts."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._libbpf = libbpf
        self._btf = KernelBtf(libbpf)
        self._kfuncs: dict[str, Kfunc] | None = None

    def ask(self, body: Wanted) -> Items:
        if self._kfuncs is None:
            self._kfuncs = self._btf.kfuncs(frozenset(body["kfuncs"]))
        prog_type = PROG_TYPES[body["prog_type"]]
        try:
            opts = load_opts(prog_type, self._btf.vmlinux)
        except LookupError as error:
            raise NoAnswer(str(error)) from None
        if why := self._libbpf.unloadable(prog_type.number, opts):
            raise NoAnswer(why)
        sweep = Sweep(self._libbpf, self._kfuncs, prog_type.number, opts)
        among = [body["only"].partition(" ")[0]] if body["only"] else body["among"]
        names = [name for name in sorted(self._kfuncs) if any(fnmatchcase(name, it) for it in among)]
        for name in names:
            yield name, lambda name=name: sweep.of(name)  # type: ignore[misc]
        accepted = [call for name in names for call in sweep.accepted(name)]
        for call in sorted(accepted, key=lambda it: it.rank):
            yield f"{call.kfunc.name} {call.label}", lambda call=call: sweep.run(call)  # type: ignore[misc]
        return {}


class Sweep:
    """Of the kfuncs of a kernel, for one program type."""

    def __init__(self, libbpf: Libbpf, kfuncs: dict[str, Kfunc], prog_type: int, opts: LoadOpts) -> None:
        self._libbpf, self._prog_type, self._opts = libbpf, prog_type, opts
        fds = sorted({kfunc.fd for kfunc in kfuncs.values() if kfunc.fd})
        self._fds = (ctypes.c_int * (len(fds) + 1))(0, *fds)
        opts.fd_array = self._fds
        self.calls = Calls(kfuncs, self._load, lambda fd: fds.index(fd) + 1)
        self._map = libbpf.map_create(_ARRAY, 1, 0, key=4, value=VALUE)
        text = libbpf.map_create(_ARRAY, 1, _READ_ONLY, key=4, value=len(_TEXT))
        libbpf.c.bpf_map_update_elem(text, _KEY, _TEXT, 0)
        libbpf.c.bpf_map_freeze(text)
        self.calls.fds = (self._map, text)
        self._buffer = ctypes.create_string_buffer(VALUE)
        self._said: dict[str, tuple[Answer, list[Call]]] = {}
        self._tried: set[str] = set()  # kfuncs
        self._contents: dict[str, bytes] = {}  # that let a call succeed, by what the memory is for

    def _load(self, insns: bytes) -> tuple[int, int, str]:
        return self._libbpf.prog_load_logged(self._prog_type, insns, self._opts)

    def of(self, name: str) -> Answer:
        """`right`: whether some call is accepted, or `why` not. `calls`: of each its errno, and the end of its log or
        what was accepted; of those with two arguments at the edge only what is accepted."""
        return self._asked(name)[0]

    def accepted(self, name: str) -> list[Call]:
        return self._asked(name)[1]

    def _asked(self, name: str) -> tuple[Answer, list[Call]]:
        if name not in self._said:
            self._said[name] = self._ask(name)
        return self._said[name]

    def _ask(self, name: str) -> tuple[Answer, list[Call]]:
        right = self.calls.right(name)
        if isinstance(right, str):
            return {"right": False, "why": right[-_LINE:], "calls": {}}, []
        said: dict[str, tuple[int, str]] = {}
        accepted: list[Call] = []

        for call in self.calls.edges(right):
            refused, log = self.calls.load(call)
            said[call.label] = refused, log[-_LINE:] if refused else self.calls.words(call)
            if not refused:
                accepted.append(call)
        for call in self.calls.pairs(right, [label for label, (refused, _) in said.items() if refused]):
            if not self.calls.load(call)[0]:
                said[call.label] = 0, self.calls.words(call)
                accepted.append(call)
        return {"right": True, "calls": said}, accepted

    # --- runs

    def run(self, call: Call) -> Answer:
        """As `_run` answers; `killed` with the signal that ended the process whose program made the call."""
        for name in {what.partition(" ")[0] for _, _, what in self.calls.program(call)[1].areas}:
            self._let_succeed(name)
        output, write_end = os.pipe()
        child = os.fork()
        if not child:
            try:
                said = "".join(encode(self._run(call), 0))
            except Exception as error:
                said = "".join(encode({"failed": str(error)}, 0))
            os.write(write_end, said.encode())
            os._exit(0)
        os.close(write_end)
        with open(output, encoding="ascii") as file:
            said = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not said:
            return {"runs": {}, "grew": {}, "killed": -status}
        answer: Answer = scan(said, 0)[0]
        if "failed" in answer:
            raise NoAnswer(str(answer["failed"]))
        return answer

    def _run(self, call: Call) -> Answer:
        """`runs`: of each filling what the call returned, null when it was not reached, and the bytes behind the memory
        that it was given which changed, as [what, offset behind its end]; `grew`: slabs that keep growing."""
        insns, frame = self.calls.program(call)
        fd, refused, log = self._load(insns)
        if refused:
            raise NoAnswer(f"it was accepted, and now is not: {log[-_LINE:]}")
        try:
            name = call.kfunc.name
            runs = {words: self._once(fd, frame, self._value(frame, name, fill)) for words, fill in _FILLINGS}
            return {"runs": runs, "grew": self._growing(fd, bytes(self._value(frame, name)))}
        finally:
            os.close(fd)

    def _value(self, frame: Frame, name: str, fill: int | None = None) -> bytearray:
        """Of the map: what the call itself is given is filled; None, and for the calls that it needs: as was found."""
        value = bytearray(bytes(RESULT) + bytes([_FILL]) * (VALUE - RESULT))
        for at, size, what in frame.areas:
            content = self._contents.get(what, b"")
            if fill is not None and what.startswith(f"{name} "):
                content = bytes([fill]) * size
            value[at : at + size] = content[:size].ljust(size, b"\0")
        return value

    def _once(self, fd: int, frame: Frame, value: bytearray) -> Answer:
        self._libbpf.c.bpf_map_update_elem(self._map, _KEY, bytes(value), 0)
        failed, _ = self._libbpf.test_run(fd)
        if failed:
            raise NoAnswer(f"the program was not run: errno {failed}")
        self._libbpf.c.bpf_map_lookup_elem(self._map, _KEY, self._buffer)
        after = self._buffer.raw
        reached, ret = after[8:16].strip(b"\0"), int.from_bytes(after[:8], byteorder, signed=True)
        wrote = [
            [what, offset - size]
            for at, size, what in frame.areas
            for offset in range(size, AREA)
            if after[at + offset] != value[at + offset]
        ]
        return {"ret": ret if reached else None, "wrote": wrote[:64]}

    def _let_succeed(self, name: str) -> None:
        """Look, once, for what must be in the memory that a kfunc is given so that it returns an object."""
        right = "" if name in self._tried else self.calls.right(name)
        self._tried.add(name)
        if isinstance(right, str):
            return
        fields = [
            (f"{name} {it.name}", at, size)
            for it in self.calls.parameters(name)
            for at, size in it.fields
            if size in (1, 2, 4, 8)
        ]
        if self.calls.returns(name) != "object" or not fields:
            return
        insns, frame = self.calls.program(right)
        fd, refused, _ = self._load(insns)
        if refused:
            return
        try:
            settings = [(field, value) for field in fields for value in _CANDIDATES]
            tries = [(), *((one,) for one in settings), *combinations(settings, 2)]
            for some in tries:
                value = self._value(frame, name)
                for (what, offset, size), number in some:
                    for at, room, purpose in frame.areas:
                        if purpose == what and offset + size <= room:
                            packed = (number & (1 << 8 * size) - 1).to_bytes(size, byteorder)
                            value[at + offset : at + offset + size] = packed
                if self._once(fd, frame, value)["ret"]:
                    self._contents.update({what: bytes(value[at : at + size]) for at, size, what in frame.areas})
                    return
        finally:
            os.close(fd)

    def _growing(self, fd: int, value: bytes) -> dict[str, int]:
        """The slabs that hold about one object more for each run, twice in a row."""
        grew = self._growth(fd, value, _OFTEN, 0)
        if not grew:
            return {}
        more = self._growth(fd, value, _SURE, _REST_S)
        return {name: by for name, by in more.items() if name in grew}

    def _growth(self, fd: int, value: bytes, runs: int, rest_s: float) -> dict[str, int]:
        before = _slabs()
        self._libbpf.c.bpf_map_update_elem(self._map, _KEY, value, 0)
        for _ in range(runs):
            self._libbpf.test_run(fd)
        time.sleep(rest_s)
        return {name: by for name, held in _slabs().items() if (by := held - before.get(name, 0)) >= runs * 0.9}


def _slabs() -> dict[str, int]:
    """Objects in use, by the slab's name. Empty where the kernel does not tell."""
    try:
        with open("/proc/slabinfo", encoding="ascii") as file:
            rows = [line.split(None, 2)[:2] for line in file.readlines()[2:]]
    except OSError:
        return {}
    return {name: int(count) for name, count in rows}
