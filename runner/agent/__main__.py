"""`python3 -m agent ASKS.json`: asks the running kernel what the file says, one JSON line per event.

ASKS.json is {"modules": [...], "asks": [...], "look": false}; BPF objects lie beside it. Events: `hello` with the
guest's facts; `ask` names a probe before it is asked, so that whoever brings the guest down is known; then its
`observation`; at last `end`. Whatever goes wrong in one probe is its `failed`; the next one is asked.
A census says `kfuncs`, what there is, once; then `census` with many answers each, and `done`. A careful census names
each kfunc (`asking`) before it is asked, and waits until that is likely to have left the guest.
With `look` each claim's `observation` is followed by another `ask`, and a `look` at the same program.
"""

from __future__ import annotations

import json
import os
import sys
import time

from .census import Census
from .facts import Sysctls, enable_jit, facts, load_modules, panic_on_oops
from .libbpf import Libbpf
from .objects import Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from .namespaces import Numbered
    from .traffic import Traffic, Wanted

    class Ask(TypedDict):
        """ClaimAsk or CensusAsk of the host."""

        kind: str
        probe: str
        prog_type: str
        object: str
        program: str
        constants: dict[str, int]
        inputs: dict[str, int]
        sysctl: dict[str, str]
        load_as: str | None
        license: str
        netns: int | None
        traffic: Wanted | None
        kfuncs: list[str]
        careful: bool
        skip: list[str]


LOG_CHARS = 16 << 10
KFUNC_FACTS = ("object", "prototype", "tags", "layouts")
CENSUS_BATCH = 48  # answers in one line
DELIVERY_S = 0.02  # for a line to leave a guest that may be dead a moment later


def say(event: str, content: Mapping[str, object]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps({"event": event, **content}) + "\n")
    sys.stdout.flush()


def bounded(log: str) -> str:
    """A log's beginning and end: the verdict is in its last lines, or, from v7.3 on, some way before them."""
    if len(log) <= LOG_CHARS:
        return log
    half = LOG_CHARS // 2
    return f"{log[:half]}\n[... {len(log) - LOG_CHARS} characters ...]\n{log[-half:]}"


class Agent:
    """Answers asks. Opens what it needs when it first needs it: what fails there is the failure of that probe."""

    _closely = False

    def __init__(self, libbpf: Libbpf, folder: str, *, closely: bool = False) -> None:
        self._libbpf = libbpf
        self._closely = closely
        self._loader = Loader(libbpf, folder)
        self._census: Census | None = None
        self._namespaces: Numbered | None = None
        self._traffic: Traffic | None = None

    def claim(self, ask: Ask) -> dict[str, object]:
        """The observation."""
        found = self._loader.object(ask["object"], ask["constants"])
        if ask["load_as"] or ask["license"] != "GPL":
            refused, log = found.load_other(ask["program"], ask["load_as"], ask["license"])
            return {"load_errno": refused, "log": bounded(log)}
        if ask["netns"] is not None:
            self._numbered().assign(ask["netns"])
        with Sysctls(ask["sysctl"]):
            fd, refused, log = found.load(ask["program"])
            observation: dict[str, object] = {"load_errno": refused, "log": bounded(log)}
            if not refused:
                if ask["traffic"]:
                    flow = self._flows().flow(ask["traffic"], ask["inputs"]["flow"], fd, found, ask["inputs"])
                    return {**observation, "run_errno": 0, "fields": flow}
                found.write(ask["inputs"])
                failed, observation["retval"] = self._libbpf.test_run(fd)
                observation["run_errno"] = failed
                observation["fields"] = found.read()
        return observation

    def look(self, ask: Ask) -> dict[str, object]:
        """The program that was asked about, loaded once more, with all that the kernel says of it."""
        from .look import look  # noqa: PLC0415  under emulation an import is dear

        found, as_type, license_ = self._loader.object(ask["object"], ask["constants"]), ask["load_as"], ask["license"]
        with Sysctls(ask["sysctl"]):
            return look(self._libbpf, lambda level: found.load_verbose(ask["program"], as_type, license_, level))

    def _numbered(self) -> Numbered:
        if self._namespaces is None:
            from .namespaces import Numbered  # noqa: PLC0415  under emulation an import is dear

            self._namespaces = Numbered()
        return self._namespaces

    def _flows(self) -> Traffic:
        if self._traffic is None:
            from .traffic import Traffic  # noqa: PLC0415  under emulation an import is dear

            self._traffic = Traffic(self._libbpf)
        return self._traffic

    def census(self, ask: Ask) -> str:
        """Ask of every kfunc. Returns why none could be asked, or empty."""
        prog_type = ask["prog_type"]
        census = self._ready_census(ask["kfuncs"])
        if reason := census.untestable(prog_type):
            return reason
        skip, batch = set(ask["skip"]), []
        for kfunc in census.kfuncs.values():
            if kfunc.name in skip:
                continue
            if ask["careful"]:
                say("asking", {"probe": ask["probe"], "kfunc": kfunc.name})
                time.sleep(DELIVERY_S)
            answer = census.ask(kfunc, prog_type)
            batch.append({**answer, "log": bounded(str(answer["log"]))})
            if ask["careful"] or len(batch) >= CENSUS_BATCH:
                say("census", {"probe": ask["probe"], "answers": batch})
                batch = []
        say("census", {"probe": ask["probe"], "answers": batch})
        return ""

    def _ready_census(self, names: list[str]) -> Census:
        if self._census is None:
            self._census = Census(self._libbpf, frozenset(names))
            found = self._census.kfuncs.values()
            told = [{"kfunc": it.name, **{word: getattr(it, word) for word in KFUNC_FACTS}} for it in found]
            say("kfuncs", {"kfuncs": told, "missing": self._census.missing})
        return self._census

    def ask(self, ask: Ask) -> None:
        """Answer one, whatever happens."""
        closely = self._closely and ask["kind"] == "claim"
        if closely:
            from .look import KernelLog  # noqa: PLC0415  under emulation an import is dear

            kernel_log = KernelLog()
        say("ask", {"probe": ask["probe"]})
        event = "done" if ask["kind"] == "census" else "observation"
        answer: dict[str, object] = {"probe": ask["probe"]}
        try:
            if ask["kind"] == "census":
                answer["failed"] = self.census(ask)
            else:
                answer.update(self.claim(ask))
        except Exception as error:
            answer["failed"] = f"{type(error).__name__}: {error}"[:4000]
        say(event, answer)
        if closely:
            self._look(ask, kernel_log.lines())

    def _look(self, ask: Ask, said: list[str]) -> None:
        """`said` is what the kernel said while it was asked. What brings the guest down here has a name, too."""
        say("ask", {"probe": ask["probe"]})
        try:
            seen = self.look(ask)
        except Exception as error:
            seen = {"failed": f"{type(error).__name__}: {error}"[:4000]}
        say("look", {"probe": ask["probe"], "kernel": said, **seen})


def main(path: str) -> None:
    """Ask everything that the file says."""
    with open(path, encoding="ascii") as file:
        document = json.load(file)
    panic_on_oops()
    enable_jit()
    modules = load_modules(document["modules"])
    libbpf = Libbpf()
    say("hello", {"facts": facts(modules, libbpf.version())})
    folder = os.path.dirname(os.path.abspath(path))
    agent = Agent(libbpf, folder, closely=document.get("look", False))
    for ask in document["asks"]:
        agent.ask(ask)
    say("end", {"asked": len(document["asks"])})


if __name__ == "__main__":
    main(sys.argv[1])
