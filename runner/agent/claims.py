# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Asks one claim: loads a program, runs it on given inputs or past a flow, reads back what it wrote."""

from __future__ import annotations

import os
import resource

from . import NoAnswer, bounded
from .guest import Sysctls, allow_huge_pages, ip, no_modprobe, not_loaded
from .programs import Loader, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict, TypeVar

    from .claimobject import Object
    from .libbpf import Libbpf
    from .programs import Key
    from .setting import Network, Setting
    from .traffic import Testbed, Traffic

    _T = TypeVar("_T", Network, Testbed)

    class Body(TypedDict):
        """Body of runner/probes/claims."""

        object: str
        program: str
        constants: dict[str, int]
        inputs: dict[str, int]
        sysctl: dict[str, str]
        load_as: str | None
        license: str
        netns: int | None
        traffic: Traffic | None
        run: bool
        refused: bool
        setting: Setting | None
        module: str
        modules: list[str]


_MOST_FILES = 1 << 16  # programs stay loaded, and a login has 1024 files


class Prober:
    """Opens what it needs when it first needs it."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
        # khugepaged (nice 19) write-locks our memory until it gets the CPU: bpf_iter_task_vma_new is then -EBUSY
        allow_huge_pages(False)
        self._libbpf, self._folder = libbpf, folder
        self._loader = Loader(libbpf, folder)
        self._numbered: set[int] = set()  # network namespaces that have these ids
        self._made: dict[str, Network | Testbed | Exception] = {}  # where claims are asked

    def expect(self, bodies: list[Body]) -> None:
        """Of each object only the programs of these are made ready."""
        programs: dict[Key, set[str]] = {}
        for body in bodies:
            mine = programs.setdefault(key_of(body["object"], body["constants"]), set())
            mine.add(body["program"])
            if setting := body["setting"]:
                mine.update((setting["prepare"], *(setting["wire"] or {"also": ()})["also"]))
        self._loader.expect(programs)

    def ask(self, body: Body) -> dict[str, object]:
        """The body of an Observation."""
        if why := not_loaded.get(body["module"]):
            raise NoAnswer(f"module {body['module']} did not load: {why}")
        found = self._loader.object(body["object"], body["constants"])
        if body["load_as"] or body["license"] != "GPL":
            refused, log = found.load_other(body["program"], body["load_as"], body["license"])
            return _of_load(found, refused, log)
        self._number(body["netns"])
        with Sysctls(sysctls(body["sysctl"], body["modules"])):
            if body["setting"]:
                return self._in_setting(body, body["setting"], found)
            fd, refused, log = found.load(body["program"], likely_refused=body["refused"])
            observation = _of_load(found, refused, log)
            if not refused and body["run"]:
                if body["traffic"]:
                    flow = self._flows().flow(body["traffic"], body["inputs"]["flow"], fd, found, body["inputs"])
                    return {**observation, "run_errno": 0, "fields": flow}
                found.write(body["inputs"])
                no_packet = body["program"].startswith("syscall_")
                failed, observation["retval"] = self._libbpf.test_run(fd, b"" if no_packet else None)
                observation["run_errno"] = failed
                observation["fields"] = found.read()
        return observation

    def _in_setting(self, body: Body, wanted: Setting, found: Object) -> dict[str, object]:
        network = self._network(wanted["namespace"])
        with network:
            device = network.index(wanted["bound"])
            fd, refused, log = found.load(body["program"], device, likely_refused=body["refused"])
            observation = _of_load(found, refused, log)
            if not refused and body["run"]:
                observation.update(network.run(wanted, body["program"], fd, found, body["inputs"]))
        return observation

    def trace(self, body: Body) -> dict[str, object]:
        """The program loaded once more, with all that the verifier says of it."""
        found = self._loader.object(body["object"], body["constants"])
        with Sysctls(body["sysctl"]):
            fd, log = found.load_verbose(body["program"], body["load_as"], body["license"])
            if fd >= 0:
                os.close(fd)
        return {"log": bounded(log, 256 << 10)}

    def _number(self, netns: int | None) -> None:
        """From now on a network namespace has this id, as seen from here. Raises NoAnswer."""
        if netns is not None and netns not in self._numbered:
            ip(f"netns add numbered{netns}\nnetns set numbered{netns} {netns}\n")
            self._numbered.add(netns)

    def _network(self, name: str) -> Network:
        from .setting import Network  # noqa: PLC0415  under emulation an import is dear

        return self._once(f"network {name}", lambda: Network(self._libbpf, self._folder, name))

    def _flows(self) -> Testbed:
        from .traffic import Testbed  # noqa: PLC0415  as above

        return self._once("flows", lambda: Testbed(self._libbpf))

    def _once(self, name: str, make: Callable[[], _T]) -> _T:
        """Made once. Where that failed, half of it is there: to try again would fail for another reason."""
        if name not in self._made:
            try:
                self._made[name] = make()
            except Exception as error:
                self._made[name] = error
        made = self._made[name]
        if isinstance(made, Exception):
            raise made
        return made  # type: ignore[return-value]


def sysctls(wanted: dict[str, str], modules: list[str]) -> dict[str, str]:
    """Those that are `wanted`, and where all `modules` are loaded, that the kernel looks for no others."""
    return {**wanted, **no_modprobe()} if modules and not any(map(not_loaded.get, modules)) else wanted


def _of_load(found: Object, refused: int, log: str) -> dict[str, object]:
    observation: dict[str, object] = {"load_errno": refused, "log": bounded(log)}
    if kfunc := found.unresolved(log):
        observation["unresolved"] = kfunc
    return observation
