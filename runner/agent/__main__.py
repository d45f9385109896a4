# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`main("ASKS.json")`: asks the running kernel what the file says, one JSON line per event.

ASKS.json is {"modules": [...], "asks": [...], "trace": false}; BPF objects lie beside it. Each ask has the form of the
host's `Ask`. Its kind names the module here that asks it: that module's class `Prober`, made once, has `ask(body)`,
which returns the answer. For a probe with items it is a generator: it yields each item and a function that asks it,
and returns the answer of the probe as a whole. What it raises is the `failed` of that probe, or of that item; the next
one is asked. `expect(bodies)`, where a prober has it, is told all asks of its kind before the first.

Events: `hello` with the guest's facts; `begin` names a probe before it is asked; then its `answer`, after those of its
items; at last `end`. `alive` says nothing: what is asked takes its time. What is
too long for a line comes in `part`s, before the answer that has them.
A careful ask also begins each item. What is begun is also written to the kernel's console: there
it stands before whatever the kernel reports of it, and has left the guest before it is asked.
With `trace` the answer to a probe whose module has `trace(body)` is followed by another `begin`, and what that says.
"""

from __future__ import annotations

import gc
import os
import sys
from time import monotonic

from . import encode, failure, scan
from .guest import KernelLog, enable_jit, facts, load_modules, panic_on_oops, read, sysctl_path, write_sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType
    from typing import Any, NoReturn, Protocol, TypedDict

    from .libbpf import Libbpf

    Body = dict[str, Any]
    Items = Iterator[tuple[str, Callable[[], Body]]]

    class Ask(TypedDict):
        """As the host's."""

        kind: str
        probe: str
        body: Body
        careful: bool
        skip: list[str]
        only: str

    class Document(TypedDict):
        """ASKS.json."""

        modules: list[str]
        asks: list[Ask]
        trace: bool

    class Prober(Protocol):
        """What each kind's module has."""

        def ask(self, body: Body) -> Body | Items:
            """The answer; or its items, and then the answer."""


BATCH, BATCH_S = 48, 0.1  # answers leave together: at most so many, and those of so long a time
KMSG = "/dev/kmsg"
LEVEL = 1  # KERN_ALERT: reaches any console
_BEGINS = "<9>runner: begin %s\n"  # facility user, and LEVEL; BEGINS of runner/model


class Agent:
    """Answers asks. Makes what it needs when it first needs it: what fails there is the failure of that probe."""

    def __init__(self, probers: Callable[[str], Prober], *, trace: bool = False, kmsg: int = -1) -> None:
        self._make = probers
        self._trace = trace
        self._kmsg = kmsg
        self._probers: dict[str, Prober] = {}
        self._lines: list[str] = []
        self._since = 0.0  # the time of the first of them

    def say(self, event: str, content: Mapping[str, object], *, at_once: bool = True) -> None:
        """One line; several lines leave together when they need not leave at once."""
        now = monotonic()
        if not self._lines:
            self._since = now
        self._lines += (*encode({"event": event, **content}, 0), "\n")
        if at_once or len(self._lines) >= 2 * BATCH or now - self._since >= BATCH_S:
            self._leave()

    def _leave(self) -> None:
        sys.stdout.write("".join(self._lines))
        sys.stdout.flush()
        self._lines.clear()

    def begin(self, probe: str, item: str = "") -> None:
        """Name what is about to be asked: on the console, else by a line that leaves at once."""
        try:
            os.write(self._kmsg, (_BEGINS % (f"{probe}:{item}" if item else probe)).encode("ascii", "replace"))
        except OSError:
            self._kmsg = -1
            self.say("begin", {"probe": probe, "item": item})

    def ask(self, ask: Ask) -> None:
        """Answer one, whatever happens."""
        about = {"probe": ask["probe"]}
        self.begin(ask["probe"])
        if self._trace:
            kernel_log = KernelLog()
        answer: dict[str, object] = {}
        try:
            prober = self._prober(ask["kind"])
            if getattr(prober, "says_parts", False):  # which would come before an earlier answer, and be taken for its
                self._leave()
            found = prober.ask({**ask["body"], "careful": ask["careful"], "only": ask["only"]})
            answer["body"] = found if isinstance(found, dict) else self._items(ask, found)
        except Exception as error:
            answer["failed"] = failure(error)
        self.say("answer", {**about, **answer}, at_once=self._kmsg < 0)
        if self._trace:
            self._trace_of(ask, kernel_log.lines())

    def _prober(self, kind: str) -> Prober:
        if kind not in self._probers:
            self._probers[kind] = self._make(kind)
        return self._probers[kind]

    def _items(self, ask: Ask, items: Items) -> Body:
        """Say the answer of each item. Returns that of the probe."""
        careful, skip, only = ask["careful"], set(ask["skip"]), ask["only"]
        while True:
            try:
                item, answer = next(items)
            except StopIteration as end:
                return end.value or {}
            if item in skip or item != (only or item):
                continue
            about: dict[str, object] = {"probe": ask["probe"], "item": item}
            if careful:
                self.begin(ask["probe"], item)
            try:
                about["body"] = answer()
            except Exception as error:
                about["failed"] = failure(error)
            self.say("answer", about, at_once=careful and self._kmsg < 0)

    def _trace_of(self, ask: Ask, said: list[str]) -> None:
        """`said` is what the kernel said while it was asked. What brings the guest down here has a name, too."""
        about = {"probe": ask["probe"]}
        try:
            trace = getattr(self._prober(ask["kind"]), "trace", None)
            if trace is None:
                return
            self.begin(ask["probe"])
            seen = trace(ask["body"])
        except Exception as error:
            seen = {"failed": failure(error)}
        self.say("trace", {**about, "kernel": said, **seen})


def open_kmsg() -> int:
    """To be written to as fast as one likes. -1 when there is none, or the console does not show what is written."""
    try:
        write_sysctl("kernel.printk_devkmsg", "on\n")  # kernel/printk/printk.c takes it with its line end only
        shown = int(read(sysctl_path("kernel.printk")).split()[0]) > LEVEL
        return os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC) if shown else -1
    except (OSError, ValueError, IndexError):
        return -1


class Ready:
    """What does not depend on the questions. A process that is forked from here on shares it.

    `modules` are loaded and `kinds` imported; what they read of the kernel alone is read. Raises OSError, LibbpfError.
    """

    def __init__(self, modules: list[str], kinds: Iterable[str] = ()) -> None:
        panic_on_oops()
        enable_jit()
        self._modules = load_modules(modules)
        self._libbpf: Libbpf | None = None
        for kind in kinds:
            getattr(_imported(kind), "warm", bool)(self._library())

    def _library(self) -> Libbpf:
        """Loaded when it is first needed: to run commands alone it is not."""
        if self._libbpf is None:
            from .libbpf import Libbpf  # noqa: PLC0415

            self._libbpf = Libbpf()
        return self._libbpf

    def ask(self, document: Document, folder: str) -> None:
        """Ask everything that the document says. BPF objects lie in `folder`."""

        def prober(kind: str) -> Prober:
            made: Prober = _imported(kind).Prober(self._library() if _needs_libbpf(kind) else None, folder)
            if expect := getattr(made, "expect", None):
                expect([ask["body"] for ask in document["asks"] if ask["kind"] == kind])
            return made

        new = [name for name in document["modules"] if name not in self._modules]
        self._modules |= load_modules(new)
        agent = Agent(prober, trace=document["trace"], kmsg=open_kmsg())
        modules = {name: self._modules[name] for name in document["modules"]}
        needed = any(_needs_libbpf(ask["kind"]) for ask in document["asks"])
        version = self._library().version() if needed else ""
        agent.say("hello", {"facts": facts(modules, version), "clock_s": monotonic()})
        for ask in document["asks"]:
            agent.ask(ask)
        agent.say("end", {"asked": len(document["asks"]), "clock_s": monotonic()})


def _imported(kind: str) -> ModuleType:
    module: ModuleType = __import__(f"{__package__}.{kind}", None, None, ["Prober"])  # importlib is dear
    return module


def _needs_libbpf(kind: str) -> bool:
    """It is dear to load."""
    return getattr(_imported(kind).Prober, "needs_libbpf", True)


def main(path: str) -> NoReturn:
    """Ask everything that the file says."""
    gc.disable()  # it would look at all asks again and again, and little is garbage
    with open(path, encoding="ascii") as file:
        document: Document = scan(file.read(), 0)[0]
    Ready(document["modules"]).ask(document, os.path.dirname(os.path.abspath(path)))
    os._exit(0)  # Python's own end takes as long as many an answer
