# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Asks one object file of a user: does it load as a whole, and does each of its programs and maps load alone?

Together: the object as it is, all programs at once that libbpf loads by itself. When that fails, alone: a copy in which
every undefined symbol is weak, so that a program falls only over what it reaches itself. libbpf stops at the first
program or map that the kernel refuses; that one is then left out, and the rest is loaded again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from functools import cached_property, partial
from socket import if_nametoindex

from . import NoAnswer
from .guest import Namespace, ip
from .hooks import Hooks
from .kernelbtf import KernelBtf
from .mounts import prepare
from .objectfile import MAP, ON_REFUSAL, STATS, Attempt, File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .libbpf import Libbpf
    from .objectfile import Answer, Body

    Items = Generator[tuple[str, Callable[[], Answer]], None, Answer]

_ANY, _PEER = "attach0", "attach-peer"  # for programs that no device is named for; the other ends
_CGROUP = "/sys/fs/cgroup/attach"
_TO_ANOTHER = (  # sections of what is attached to a map or a program, or to a device of its own kind
    *("xdp/devmap", "xdp/cpumap", "xdp.frags/devmap", "xdp.frags/cpumap", "netkit/", "freplace"),
    *("iter/bpf_map_elem", "iter/bpf_sk_storage_map", "iter.s/bpf_map_elem", "iter.s/bpf_sk_storage_map"),
)
TOGETHER = "@together"
_STRUCT_OPS = re.compile(r"^libbpf: struct_ops init_kern\b", re.MULTILINE)
_TOO_LARGE = re.compile(r"program is too large|jumps is too complex")
_NOT_CREATED = re.compile(r"^BPF map '([^']+)' is referenced but wasn't created", re.MULTILINE)
_UNRESOLVED = re.compile(r"^kfunc '([^']+)' is referenced but wasn't resolved", re.MULTILINE)  # a weak one
_COUNTED, _MANY = re.compile(r"^processed (\d+) insns", re.MULTILINE), 100_000  # each is a line


def _is_long(log: str) -> bool:
    """Would the whole log be? This one ends as it does, and has the reason."""
    counted = _COUNTED.search(log)
    return bool(_TOO_LARGE.search(log) or (counted and int(counted[1]) > _MANY))


def _of_ops(answer: Answer) -> bool:
    """Is it the refusal of a map of struct_ops?"""
    return bool(answer["errno"] and _STRUCT_OPS.search(answer["words"]))


def _with_reason(first: Attempt, again: Attempt) -> Attempt:
    """The second attempt, whose log says more, with the first one's reason where its own did not fit into the log.

    A log that is full is the errno; before v6.4 it has kept its beginning.
    """
    if again.errno == errno.ENOSPC != first.errno:
        again.errno, again.log = first.errno, f"{again.log}\n{first.log}"
    return again


class Prober:
    """Asks one object after the other."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:
        self._libbpf, self._folder = libbpf, folder
        prepare()  # what it could not do, libbpf will miss
        self._attacher = Attacher(libbpf)

    @cached_property
    def _kernel(self) -> KernelBtf:
        return KernelBtf(self._libbpf)

    def ask(self, body: Body) -> Items:
        """The whole object together, then each program and map alone; where the whole loads, that answers its parts."""
        with self._open(body) as file:
            programs, maps, optional = file.programs, file.maps, file.optional
        found: dict[str, Answer] = {}

        def together() -> Answer:
            rivals = {name for group in body["one_of"] for name in group}
            made = self._together(body, [name for name in programs if name not in optional or name in rivals])
            found.update(made.taken)
            answer = {**made.answer(), "culprit": made.culprit}
            for name, taken in made.taken.items():
                if taken.get("attach", {}).get("errno") and not made.errno:
                    return {**answer, "culprit": name, "attach": taken["attach"]}
            return answer

        def alone(name: str) -> Answer:
            if name not in found:
                mine = [name] if name in programs else []  # of a map none
                self._alone(body, mine if body["careful"] else [it for it in programs if it not in found], found)
            if name not in found:
                raise NoAnswer("libbpf did not come to it")
            earlier = {"earlier": body["earlier"][name]} if name in body.get("earlier", {}) else {}
            return {"type": programs.get(name, ""), **found[name], **earlier}

        yield TOGETHER, together
        for name in [*programs, *(MAP + it for it in maps)]:
            yield name, partial(alone, name)
        return {"programs": programs, "maps": maps}

    def _together(self, wanted: Body, programs: list[str]) -> Attempt:
        """Of programs of which only one counts, the first that loads."""
        groups = [[name for name in group if name in programs] for group in wanted["one_of"]]
        while True:
            left_out = {name for group in groups for name in group[1:]}
            made = self._attempt(wanted, [name for name in programs if name not in left_out], set(), STATS, "")
            group = next((it for it in groups if made.errno and len(it) > 1 and it[0] == made.culprit), None)
            if group is None:
                return made
            del group[0]
            programs = [name for name in programs if name != made.culprit]

    def _alone(self, wanted: Body, programs: list[str], found: dict[str, Answer]) -> None:
        """Fill `found` with the answers of these programs, and of every map."""
        without = {it for it, answer in found.items() if it.startswith(MAP) and answer["errno"] and not _of_ops(answer)}
        while True:
            made = self._attempt(wanted, programs, without, STATS)
            found.update({name: answer for name, answer in made.taken.items() if name not in found})
            refused = [found[name] for name in without if _of_ops(found[name])]
            if made.taken or not made.errno or not (made.culprit or (programs and not refused)):
                for name in (name for name in programs if name not in found and refused):
                    found[name] = refused[0]  # its map is what the kernel refused
                return
            culprit = made.culprit or (programs[0] if len(programs) == 1 else "")
            if culprit:
                found[culprit] = self._refusal(wanted, made, culprit, without)
                if lacked := _NOT_CREATED.search(found[culprit]["log"]):
                    found[culprit]["map_errno"] = found.get(MAP + lacked[1], {}).get("errno")
            # it may be the fault of one that libbpf does not name, or of one member of struct_ops
            if not culprit or (_of_ops(found[culprit]) and len(programs) > 1):
                for name in programs:
                    self._alone(wanted, [name], found)
                return
            if culprit.startswith(MAP):
                without.add(culprit)
            else:  # without any program the maps are left
                programs = [name for name in programs if name != culprit]

    def _refusal(self, wanted: Body, made: Attempt, culprit: str, without: set[str]) -> Answer:
        """A program is asked again alone, for the words; then it may be taken."""
        if not culprit.startswith(MAP) and (wanted["whole_logs"] or not _is_long(made.log)):
            made = _with_reason(made, self._attempt(wanted, [culprit], without, ON_REFUSAL))
        if not made.errno:
            return made.taken[culprit]
        with self._open(wanted, ".weak") as file:
            answer = {**made.answer(whole=wanted["whole_logs"]), **file.supports(culprit)}
        if unresolved := _UNRESOLVED.search(made.log):
            there = self._kernel.functions(frozenset({unresolved[1]})).get(unresolved[1])
            answer["held_by"] = there.object if there else ""
        return answer

    def _attempt(
        self, wanted: Body, programs: list[str], without: set[str], level: int, which: str = ".weak"
    ) -> Attempt:
        with self._open(wanted, which) as file:
            made = file.load(programs, without, level, measured=not which)
            for name, answer in made.taken.items():
                if wanted["attach"]:  # what libbpf has loaded and closed again can be attached to nothing
                    answer["attach"] = {} if made.errno else file.attach(name)
            return made

    def _open(self, wanted: Body, which: str = "") -> File:
        machine = os.uname().machine
        if machine not in wanted["files"]:
            raise NoAnswer(f"the object is not built for {machine}")
        path = os.path.join(self._folder, f"{wanted['files'][machine]}{which}.bpf.o")
        return File(self._libbpf, self._attacher, path, wanted)


class Attacher:
    """Attaches a loaded program or map for a moment, and says what came of it."""

    def __init__(self, libbpf: Libbpf) -> None:
        self._libbpf, self._c = libbpf, libbpf.c
        self._devices: dict[str, Hooks] = {}  # by name

    @cached_property
    def namespace(self) -> Namespace:
        """A network namespace for devices of ours alone. Raises NoAnswer where the kernel has none."""
        ip("netns add attach")
        return Namespace("attach")

    def device(self, name: str) -> int:
        """The index of a veth in that namespace. Raises NoAnswer."""
        if name not in self._devices:
            with self.namespace:
                ip(f"link add {name} type veth peer name {_PEER}{len(self._devices)}\nlink set {name} up\n")
                self._devices[name] = Hooks(self._libbpf, if_nametoindex(name))
        return self._devices[name].index

    @cached_property
    def _netns(self) -> int:
        with self.namespace:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @cached_property
    def _cgroup(self) -> int:
        """Raises OSError where there is no cgroup2."""
        os.makedirs(_CGROUP, exist_ok=True)
        return os.open(_CGROUP, os.O_RDONLY | os.O_CLOEXEC)

    def program(self, program: ctypes.c_void_p, kind: str, device: str = "") -> dict[str, object]:
        """The errno, or 0, and libbpf's words; without an errno: it is attached to nothing by itself.

        `kind` is its type in libbpf's words; `device` is what it is bound to.
        """
        section = self._c.bpf_program__section_name(program).decode("utf-8", "replace").removeprefix("?")
        if section.startswith(_TO_ANOTHER):
            return {}
        self._libbpf.take_words()
        refused = self._refused(program, kind, section, device or _ANY)
        words = self._libbpf.take_words()
        if refused == errno.EOPNOTSUPP and not words:
            return {}
        return {"errno": refused, "words": words}

    def _refused(self, program: ctypes.c_void_p, kind: str, section: str, device: str) -> int:
        if kind in ("sched_cls", "xdp"):
            how = "native" if kind == "xdp" else "tcx" if section.startswith("tcx") else "clsact"
            self.device(device)
            hooks = self._devices[device]
            with self.namespace:
                refused = hooks.refused(how, self._c.bpf_program__fd(program))
                hooks.detach()
            return refused
        if kind.startswith("cgroup_") or kind == "sock_ops" or section.startswith("lsm_cgroup"):
            return self._linked(self._c.bpf_program__attach_cgroup(program, self._cgroup))
        if kind in ("sk_lookup", "flow_dissector"):
            return self._linked(self._c.bpf_program__attach_netns(program, self._netns))
        return self._linked(self._c.bpf_program__attach(program))

    def operations(self, handle: ctypes.c_void_p) -> dict[str, object]:
        """As `program`, for a map of struct_ops."""
        self._libbpf.take_words()
        refused = self._linked(self._c.bpf_map__attach_struct_ops(handle))
        return {"errno": refused, "words": self._libbpf.take_words()}

    def _linked(self, link: int | None) -> int:
        """The errno of a link that was not made, or 0. A link that was made is destroyed."""
        if not link:
            return ctypes.get_errno()
        self._c.bpf_link__destroy(ctypes.c_void_p(link))
        return 0
