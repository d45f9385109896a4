"""Asks one claim: loads a program, runs it on given inputs or past a flow, reads back what it wrote."""

from __future__ import annotations

import os

from . import bounded
from .facts import Sysctls
from .objects import Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from .libbpf import Libbpf
    from .netlink import Numbered
    from .traffic import Traffic, Wanted

    class Claim(TypedDict):
        """Body of runner/probes/claims."""

        object: str
        program: str
        constants: dict[str, int]
        inputs: dict[str, int]
        sysctl: dict[str, str]
        load_as: str | None
        license: str
        netns: int | None
        traffic: Wanted | None


class Prober:
    """Opens what it needs when it first needs it."""

    def __init__(self, libbpf: Libbpf, folder: str) -> None:
        self._libbpf = libbpf
        self._loader = Loader(libbpf, folder)
        self._namespaces: Numbered | None = None
        self._traffic: Traffic | None = None

    def ask(self, body: Claim) -> dict[str, object]:
        """The body of an Observation."""
        found = self._loader.object(body["object"], body["constants"])
        if body["load_as"] or body["license"] != "GPL":
            refused, log = found.load_other(body["program"], body["load_as"], body["license"])
            return {"load_errno": refused, "log": bounded(log)}
        if body["netns"] is not None:
            if self._namespaces is None:
                from .netlink import Numbered  # noqa: PLC0415  under emulation an import is dear

                self._namespaces = Numbered()
            self._namespaces.assign(body["netns"])
        with Sysctls(body["sysctl"]):
            fd, refused, log = found.load(body["program"])
            observation: dict[str, object] = {"load_errno": refused, "log": bounded(log)}
            if not refused:
                if body["traffic"]:
                    flow = self._flows().flow(body["traffic"], body["inputs"]["flow"], fd, found, body["inputs"])
                    return {**observation, "run_errno": 0, "fields": flow}
                found.write(body["inputs"])
                failed, observation["retval"] = self._libbpf.test_run(fd)
                observation["run_errno"] = failed
                observation["fields"] = found.read()
        return observation

    def trace(self, body: Claim) -> dict[str, object]:
        """The program loaded once more, with all that the verifier says of it."""
        found = self._loader.object(body["object"], body["constants"])
        with Sysctls(body["sysctl"]):
            fd, log = found.load_verbose(body["program"], body["load_as"], body["license"])
            if fd >= 0:
                os.close(fd)
        return {"log": bounded(log, 256 << 10)}

    def _flows(self) -> Traffic:
        if self._traffic is None:
            from .traffic import Traffic  # noqa: PLC0415  under emulation an import is dear

            self._traffic = Traffic(self._libbpf)
        return self._traffic
