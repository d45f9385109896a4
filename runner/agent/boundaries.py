# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What does the kernel do with calls at the edge? First the verifier's answer to each; what it accepts is run."""

from __future__ import annotations

import ctypes
from fnmatch import fnmatchcase

from . import NoAnswer
from .calls import VALUE, Assembler, calls_in
from .derive import Call, Calls
from .kernelbtf import KernelBtf
from .libbpf import Libbpf
from .references import references
from .runs import Runs
from .structs import PROG_TYPES, LoadOpts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any, TypedDict

    from .calls import Program
    from .kernelbtf import Kfunc

    Accepted = Mapping[str, tuple[int, Program]]  # rank and program, by the call's label

    class Body(TypedDict):
        """Body of runner/probes/boundaries. `kfuncs` are names to look for, `among` patterns of those to ask about.

        `known`: of kfuncs that were asked about in an earlier guest, what was accepted and is still to be run.
        `died`: how many calls of a kfunc took a guest down.
        `only`: the one item that is asked about; empty: all.
        """

        prog_type: str
        kfuncs: list[str]
        among: list[str]
        known: dict[str, Accepted]
        died: dict[str, int]
        only: str

    Answer = dict[str, Any]
    Items = Generator[tuple[str, Callable[[], Answer]], None, Answer]

_ARRAY, _READ_ONLY = 2, 1 << 7  # BPF_MAP_TYPE_ARRAY, BPF_F_RDONLY_PROG
_KEY = bytes(4)
_TEXT = b"probe".ljust(64, b"\0")
_DEATHS = 2  # of guests, by calls of one kfunc
_LINE = 300  # characters of a log that are kept


class Prober:
    """One item for each kfunc: what the verifier says of its calls. Then one for each call that it accepts."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._libbpf = libbpf
        self._btf = KernelBtf(libbpf)
        self._kfuncs: dict[str, Kfunc] | None = None
        self._references = references(self._btf)

    def ask(self, body: Body) -> Items:
        """`not_run`: why no call was run. `left_out`: the kfuncs of which the rest was not run, so many guests died.
        `uncounted`: why references were not counted."""
        if self._kfuncs is None:
            self._kfuncs = self._btf.kfuncs(frozenset(body["kfuncs"]))
        prog_type = PROG_TYPES[body["prog_type"]]
        opts = self._btf.load_opts(prog_type)
        if why := self._libbpf.unloadable(prog_type.number, opts):
            raise NoAnswer(why)
        sweep = Sweep(self._libbpf, self._kfuncs, prog_type.number, opts, body.get("known", {}))
        only, _, alone = body["only"].partition(" ")
        among = [only] if only else body["among"]
        names = [name for name in sorted(self._kfuncs) if any(fnmatchcase(name, it) for it in among)]
        for name in names:
            yield name, lambda name=name: sweep.of(name)  # type: ignore[misc]
        if alone and only in self._kfuncs and (refused := sweep.refused(only, alone)):
            yield body["only"], lambda: {"refused": refused}
            return {}
        runs = Runs(self._libbpf, sweep, self._references)
        if why := runs.impossible():
            return {"not_run": why}
        left_out = [name for name, count in body.get("died", {}).items() if count >= _DEATHS]
        calls = [
            (name, label, *it)
            for name in names
            if name not in left_out
            for label, it in sweep.accepted.get(name, {}).items()
        ]
        calls.sort(key=lambda it: it[2])
        programs = [(name, program) for name, _, _, program in calls]
        for number, (name, label, _, _) in enumerate(calls):
            yield f"{name} {label}", lambda number=number: runs.run(programs, number)  # type: ignore[misc]
        return {"left_out": left_out, "uncounted": "" if self._references else "/proc/kcore cannot be read"}


class Sweep:
    """What the verifier says of the calls of the kfuncs of a kernel, for one program type.

    `accepted`: the calls that may be run, of each kfunc that was asked about. `map` is what programs write to.
    """

    def __init__(
        self,
        libbpf: Libbpf,
        kfuncs: dict[str, Kfunc],
        prog_type: int,
        opts: LoadOpts,
        accepted: Mapping[str, Accepted],
    ) -> None:
        self._libbpf, self._kfuncs, self._prog_type, self._opts = libbpf, kfuncs, prog_type, opts
        fds = sorted({kfunc.fd for kfunc in kfuncs.values() if kfunc.fd})
        self._fds = (ctypes.c_int * (len(fds) + 1))(0, *fds)
        opts.fd_array = self._fds
        places = {name: (fds.index(it.fd) + 1 if it.fd else 0, it.btf_id) for name, it in kfuncs.items()}
        self.map = libbpf.map_create(_ARRAY, 1, 0, key=4, value=VALUE)
        text = libbpf.map_create(_ARRAY, 1, _READ_ONLY, key=4, value=len(_TEXT))
        libbpf.c.bpf_map_update_elem(text, _KEY, _TEXT, 0)
        libbpf.c.bpf_map_freeze(text)
        self._assembler = Assembler(places.__getitem__, (self.map, text))
        self._calls = Calls(kfuncs, self._verified)
        self.accepted = dict(accepted)

    def _verified(self, program: Program) -> tuple[int, str]:
        return self._libbpf.verified(self._prog_type, self._assembler.program(program), self._opts)

    def _accepts(self, program: Program) -> bool:
        return self._libbpf.accepts(self._prog_type, self._assembler.program(program), self._opts)

    def of(self, name: str) -> Answer:
        """`right`: whether some call is accepted, or `why` not. `calls`: of each its errno (0: accepted, -1: it cannot
        be made) and the end of its log; of those with two arguments at the edge only what is accepted, and in `pairs`
        how many were asked about, and how many there are. `accepted` has rank and program of what is accepted,
        `prototypes` the functions that it calls."""
        right = self._calls.right(name)
        self.accepted[name] = {}
        if isinstance(right, str):
            return {"right": False, "why": _end(right), "calls": {}}
        said: dict[str, tuple[int, str]] = {}
        accepted: dict[str, tuple[int, Program]] = {}

        def asked(call: Call) -> tuple[int, str]:
            refused, log = self._verified(call.program) if call.program else (-1, call.why)
            if call.program and not refused:
                accepted[call.label] = (call.rank, call.program)
            return refused, _end(log) if refused else ""

        said["right"] = asked(right)
        refused = set()
        for edge, call in self._calls.edges(right):
            said[call.label] = asked(call)
            if said[call.label][0]:
                refused.add(edge)
        pairs, count = self._calls.pairs(right, refused)
        for call in pairs:
            if call.program and self._accepts(call.program):
                said[call.label] = 0, ""
                accepted[call.label] = (call.rank, call.program)
        self.accepted[name] = accepted
        names = {it for _, program in accepted.values() for it, _ in calls_in(program["body"])}
        prototypes = {it: self._kfuncs[it].prototype for it in sorted(names) if it in self._kfuncs}
        found: Answer = {"right": True, "calls": said, "pairs": [len(pairs), count]}
        return found | {"accepted": accepted, "prototypes": prototypes}

    def refused(self, name: str, label: str) -> tuple[int, str] | None:
        """Errno and log, or why there is no such call; None where it is accepted."""
        said: Answer = {} if name in self.accepted else self.of(name)
        if label in self.accepted[name]:
            return None
        found: tuple[int, str] = said.get("calls", {}).get(label, (-1, said.get("why", "there is no such call")))
        return found

    # --- for runs

    def load(self, program: Program) -> int:
        """It also leaves what calls return in the map, unless the verifier does not have that. Raises NoAnswer."""
        for told in (True, False):
            insns = self._assembler.program(program, told=told)
            fd, refused, log = self._libbpf.prog_load(self._prog_type, insns, self._opts)
            if not refused:
                return fd
        raise NoAnswer(f"it was accepted, and now is not: {_end(log)}")

    def objects(self, program: Program) -> list[tuple[int, str, str]]:
        """Slot, function and structure of the objects that a program is given."""
        called = calls_in(program["body"])
        return [(slot, it, name) for it, slot in called if slot is not None and (name := self._calls.object(it))]

    def right(self, name: str) -> Program | None:
        """A program that calls it rightly."""
        known = self.accepted.get(name, {})
        if "right" not in known and isinstance(found := self._calls.right(name), Call):
            return found.program
        return known["right"][1] if "right" in known else None

    def fields(self, name: str) -> list[tuple[str, int, int]]:
        """Of a kfunc that returns an object: the numbers in the structures that it takes."""
        return [
            (f"{name} {it.name}", at, size)
            for it in self._calls.parameters(name)
            for at, size in it.fields
            if size in (1, 2, 4, 8) and self._calls.returns(name) == "object"
        ]


def _end(log: str) -> str:
    """Of the verifier's log, or of a reason. v7.3 appends an explanation, which is longer than what is kept."""
    return log.partition("Verification failed:")[0].rstrip()[-_LINE:]
