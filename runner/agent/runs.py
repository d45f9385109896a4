# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs calls at the edge: with memory filled in several ways, between bytes that must not change, and then so often
that it shows which of the kernel's slabs and counts of references grow. What is called may end its caller: all of it
happens in a child.
"""

from __future__ import annotations

import ctypes
import os
import time
from itertools import combinations
from sys import byteorder

from . import NoAnswer, encode, scan
from .calls import AREA, CURRENT_TASK, RESULT, VALUE
from .guest import try_write
from .libbpf import PACKET, errno_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from .boundaries import Sweep
    from .calls import Program
    from .libbpf import Libbpf
    from .references import Object, References

    Answer = dict[str, object]

_KEY = bytes(4)
_CONTEXT = bytes(4096)  # of programs that are given what their caller likes
_FILL = 0xA5  # of what must not change
_OFTEN, _SURE = 64, 1024  # runs
_STEP_S, _REST_S = 0.2, 5.0  # for what the kernel frees later
_FILLINGS = (("zeros", 0), ("ones", 0xFF), ("found", None))
_CANDIDATES = (-1, 1, 2, 6, 17)  # of a number in a structure that a call takes; the last two are protocols
_TOLD = 64  # bytes that changed
_WORD, _UNSET = (1 << 64) - 1, int.from_bytes(bytes([_FILL]) * 8, byteorder)
_TASK: Program = {"areas": [], "slots": [8], "body": [["call", CURRENT_TASK, [], 0], ["note", 0]]}


class Runs:
    """Of calls that a sweep found."""

    def __init__(self, libbpf: Libbpf, sweep: Sweep, references: References | None = None) -> None:
        self._libbpf, self._map, self._sweep, self._references = libbpf, sweep.map, sweep, references
        self._buffer = ctypes.create_string_buffer(VALUE)
        self._packet, self._context = PACKET, b""
        self._contents: dict[str, bytes] = {}  # that let a call succeed, by what the memory is for
        self._free: set[str] = set()  # of those, where anything did: objects of two runs then differ
        self._made = 0  # values
        self._tried: set[str] = set()  # kfuncs
        self._child = 0
        self._always: list[Object] = []  # whose references are counted, whatever is called

    def impossible(self) -> str:
        """Why the kernel cannot run programs of this type for a test; empty when it can, as the map shows."""
        why = ""
        for self._packet, self._context in ((PACKET, b""), (b"", _CONTEXT), (b"", b"")):
            try:
                fd = self._sweep.load({"areas": [], "slots": [], "body": [["note", None]]})
                reached = self._once(fd, [], bytearray(VALUE))["reached"]
                os.close(fd)
                if reached:
                    return ""
                why = "a test run does not run it"
            except NoAnswer as error:
                why = str(error)
        return why

    # --- the child

    def run(self, calls: Sequence[tuple[str, Program]], number: int) -> Answer:
        """As `_run` answers about one of the calls, which are always the same; `killed`: by which signal it ended.

        Raises NoAnswer.
        """
        if not self._child:
            self._start(calls)
        os.write(self._to_child, b"%d\n" % number)
        said = self._from_child.readline()
        if not said:
            _, status = os.waitpid(self._child, 0)
            os.close(self._to_child)
            self._from_child.close()
            self._child = 0
            return {"runs": {}, "grew": {}, "calls": 0, "killed": -os.waitstatus_to_exitcode(status)}
        answer: Answer = scan(said, 0)[0]
        if "failed" in answer:
            raise NoAnswer(str(answer["failed"]))
        return answer

    def _start(self, calls: Sequence[tuple[str, Program]]) -> None:
        self._lines(self.held_by_task())  # where counters are is found once, not in each child
        reading, self._to_child = os.pipe()
        output, writing = os.pipe()
        self._child = os.fork()
        if not self._child:
            os.close(self._to_child)
            self._made = os.getpid() << 16  # values of another child differ, too
            self._always = self.held_by_task()
            with open(reading, encoding="ascii") as file:
                for line in file:
                    try:
                        answer = self._run(*calls[int(line)])
                    except Exception as error:
                        answer = {"failed": str(error)}
                    os.write(writing, ("".join(encode(answer, 0)) + "\n").encode())
            os._exit(0)
        os.close(reading)
        os.close(writing)
        self._from_child = open(output, encoding="ascii")  # noqa: SIM115  as long as the child lives

    def _run(self, kfunc: str, program: Program) -> Answer:
        """`runs`: of each filling what the call returned, null when it was not reached, and the bytes behind the memory
        that it was given which changed, as [what, offset behind its end]; `grew`: slabs and counts of references that
        keep growing, by so much in so many `calls`; `contents`: of its memory, that was found to let a call return an
        object."""
        for name in {what.partition(" ")[0] for _, what in program["areas"]}:
            self._let_succeed(name)
        fd = self._sweep.load(program)
        try:
            own = [what for _, what in program["areas"] if what.startswith(f"{kfunc} ")]
            many = 1 + bool(own) + any(map(self._contents.get, own))
            values = {words: self._value(program, kfunc, fill) for words, fill in _FILLINGS[:many]}
            runs = {words: self._once(fd, program["areas"], value) for words, value in values.items()}
            reached = any(once["reached"] for once in runs.values())
            objects: list[Object] = []
            value = bytes(self._value(program, kfunc))
            if reached:
                self._once(fd, (), bytearray(value))
                objects = self._always + self._given(program)
            names, after = self._growing(fd, value, objects) if reached else ({}, [])
        finally:
            os.close(fd)
        told = {
            words: {"ret": once["ret"] if once["reached"] else None, "wrote": once["wrote"]}
            for words, once in runs.items()
        }
        contents = {what: self._contents[what].hex() for _, what in program["areas"] if what in self._contents}
        grew = _kept(names, after, lambda: self._lines(objects))
        return {"runs": told, "grew": grew, "calls": _SURE, "contents": contents}

    def _value(self, program: Program, kfunc: str, fill: int | None = None) -> bytearray:
        """Of the map: what the call itself is given is filled; None, and for the calls that it needs: as was found."""
        value = bytearray(bytes(RESULT) + bytes([_FILL]) * (VALUE - RESULT))
        self._made += 1
        for number, (size, what) in enumerate(program["areas"], 1):
            content = self._contents.get(what, b"")
            if what.startswith(f"{kfunc} "):
                content = content if fill is None else bytes([fill]) * size
            elif what in self._free:
                content = (self._made & 0xFFFFFFFF).to_bytes(4, byteorder)
            value[AREA * number : AREA * number + size] = content[:size].ljust(size, b"\0")
        return value

    def _once(self, fd: int, areas: Sequence[tuple[int, str]], value: bytearray, repeat: int = 0) -> dict[str, Any]:
        """Raises NoAnswer."""
        self._libbpf.c.bpf_map_update_elem(self._map, _KEY, bytes(value), 0)
        failed, _ = self._libbpf.test_run(fd, self._packet, repeat, self._context)
        if failed:
            raise NoAnswer(f"the program was not run: {errno_name(failed)}")
        self._libbpf.c.bpf_map_lookup_elem(self._map, _KEY, self._buffer)
        after = self._buffer.raw
        wrote = []
        for number, (size, what) in enumerate(areas, 1):
            first, end = AREA * number + size, AREA * (number + 1)
            if after[first:end] != value[first:end]:
                wrote += [[what, at - first] for at in range(first, end) if after[at] != value[at]]
        ret = int.from_bytes(after[:8], byteorder, signed=True)
        return {"ret": ret, "reached": any(after[8:RESULT]), "wrote": wrote[:_TOLD]}

    def _let_succeed(self, name: str) -> None:
        """Look, once, for what must be in the memory that a kfunc is given so that it returns an object."""
        if name in self._tried:
            return
        self._tried.add(name)
        fields = self._sweep.fields(name)
        program = self._sweep.right(name) if fields else None
        if program is None:
            return
        fd = self._sweep.load(program)
        try:
            settings = [(field, value) for field in fields for value in _CANDIDATES]
            for some in [(), *((one,) for one in settings), *combinations(settings, 2)]:
                value = self._value(program, name)
                for number, (size, what) in enumerate(program["areas"], 1):
                    for (where, offset, room), setting in some:
                        if where == what and offset + room <= size:
                            packed = (setting & (1 << 8 * room) - 1).to_bytes(room, byteorder)
                            value[AREA * number + offset : AREA * number + offset + room] = packed
                if self._once(fd, (), value)["ret"]:
                    for number, (size, what) in enumerate(program["areas"], 1):
                        self._contents[what] = bytes(value[AREA * number : AREA * number + size])
                        self._free |= set() if any(self._contents[what]) else {what}
                    return
        finally:
            os.close(fd)

    # --- what grows

    def held_by_task(self) -> list[Object]:
        """The running task, and what it holds; none where references cannot be counted."""
        if self._references is None:
            return []
        try:
            fd = self._sweep.load(_TASK)
            try:
                task = self._once(fd, (), bytearray(VALUE))["ret"]
            finally:
                os.close(fd)
        except NoAnswer:
            return []
        return self._references.held_by(task & _WORD) if task else []

    def _given(self, program: Program) -> list[Object]:
        """The objects that the program was given when it ran last, as it left their addresses in the map."""
        found = []
        for slot, function, name in self._sweep.objects(program):
            at = RESULT + 8 * slot
            address = int.from_bytes(self._buffer.raw[at : at + 8], byteorder)
            if address not in (0, _UNSET, *(known for _, _, known in self._always)):
                found.append((f"{function}'s", name, address))
        return found

    def _lines(self, objects: Iterable[Object]) -> list[str]:
        """A line for each slab, and for each counter of these objects: its name, how many it has, and more."""
        return _slabs() + (self._references.lines(objects) if self._references else [])

    def _growing(self, fd: int, value: bytes, objects: Sequence[Object]) -> tuple[dict[str, int], list[str]]:
        """What has about one more for each run, and again; and all lines before that."""
        before = self._lines(objects)
        self._often(fd, value, _OFTEN)
        after = self._lines(objects)
        names = _growth(before, after, _OFTEN)
        if not names:
            return {}, after
        self._often(fd, value, _SURE)
        return {name: by for name, by in _growth(after, self._lines(objects), _SURE).items() if name in names}, after

    def _often(self, fd: int, value: bytes, runs: int) -> None:
        if self._packet:
            self._once(fd, (), bytearray(value), runs)
        for _ in range(0 if self._packet else runs):
            self._libbpf.test_run(fd, self._packet, 0, self._context)


def _kept(names: Mapping[str, int], before: list[str], lines: Callable[[], list[str]]) -> dict[str, int]:
    """Of what grew, that which does not shrink again: the program is gone, and what the kernel frees later is."""
    end = time.monotonic() + _REST_S
    while names:
        for name in names:  # let the kernel give up what is free in a slab: KASAN holds on to much of it
            try_write(f"/sys/kernel/slab/{name}/shrink", "1")
        grew = _growth(before, lines(), _SURE)
        names = {name: by for name, by in grew.items() if name in names}
        if time.monotonic() > end:
            break
        time.sleep(_STEP_S)
    return dict(names)


def _growth(before: list[str], after: list[str], runs: int) -> dict[str, int]:
    """What has nearly one more for each run, by name. Most lines have not changed, and are not parsed."""
    if len(before) == len(after):
        changed = [both for both in zip(before, after, strict=True) if both[0] != both[1]]
        before, after = [it for it, _ in changed], [it for _, it in changed]
    old, new = _held(before), _held(after)
    return {name: by for name, held in new.items() if (by := held - old.get(name, 0)) >= runs * 0.9}


def _held(lines: Iterable[str]) -> dict[str, int]:
    """Objects in use, or references, by name."""
    return {name: int(held) for name, held, *_ in (line.split(None, 2) for line in lines)}


def _slabs() -> list[str]:
    """A line for each. Empty where the kernel does not tell."""
    try:
        with open("/proc/slabinfo", encoding="ascii") as file:
            return file.readlines()[2:]
    except OSError:
        return []
