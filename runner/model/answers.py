"""What a guest answered: raw, as it came. Verdicts and states are computed from it, never stored."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, StringConstraints

from runner.model.cells import Cell
from runner.model.kernels import Build
from runner.model.layouts import StructLayout
from runner.model.words import Outcome, Plain, ProgType


@lru_cache(maxsize=4096)
def _once(layouts: tuple[StructLayout, ...]) -> tuple[StructLayout, ...]:
    """Equal layouts are one object in memory: the kfuncs of a kernel share them, and so do kernels."""
    return layouts


class Observation(Plain):
    """What a kernel answered to a ClaimAsk, as it came. Not interpreted.

    `errno` is positive. `fields` are the members of the program's `result` global after the run; after a flow also what
    was seen of it and of its entry in the kernel's table, see FIELDS of runner/agent/traffic.py.
    `failed` says why the agent itself could not ask; then there is no answer.
    """

    probe: str
    load_errno: int | None = None  # 0: the verifier took it; None: never got that far
    log: str = ""  # libbpf's and the verifier's words
    run_errno: int | None = None
    retval: int | None = None
    fields: dict[str, int] = {}
    failed: str = ""


class CensusObservation(Plain):
    """What a kernel answered to "may a program of this type call this kfunc".

    Where the kernel refuses for a reason that can be removed, it was asked `again`: "bound to eth0", "with an arena".
    """

    kfunc: str
    prog_type: ProgType
    object: str = ""  # whose BTF holds it: `vmlinux` or a module; empty: in none that is loaded
    load_errno: int | None = None
    log: str = ""
    failed: str = ""
    again: str = ""
    again_errno: int | None = None
    again_log: str = ""
    prototype: str = ""  # from BTF; empty where it has none
    # of the structures that programs hand to it, as far as they are small
    layouts: Annotated[tuple[StructLayout, ...], AfterValidator(_once)] = ()
    tags: tuple[str, ...] = ()  # the function's declaration tags: bpf_kfunc, bpf_fastcall


class Look(Plain):
    """A closer look at the program of a ClaimAsk, when it was asked for: `runner cell repro`."""

    probe: str
    log: str = ""  # the verifier's, with every state, also of a program that it took
    translated: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16})*$")] = (
        ""  # instructions, in the kernel's form
    )
    byte_order: Literal["little", "big"] = "little"  # of `translated`
    calls: dict[int, str] = {}  # what the call instruction with that number calls
    jited_bytes: int = 0  # size of the machine code; 0: the program is interpreted
    kernel: tuple[str, ...] = ()  # the kernel's own messages while the probe was asked
    failed: str = ""


class Facts(Plain):
    """What the guest says about itself."""

    release: str = ""  # uname -r
    build: str = ""  # uname -v
    machine: str = ""  # uname -m
    cmdline: str = ""
    jit: str = ""  # net.core.bpf_jit_enable, empty where there is none
    btf: tuple[str, ...] = ()  # whose BTF is there
    modules: dict[str, str] = {}  # module that the probes need -> "" or why it did not load
    libbpf: str = ""
    python: str = ""


class Crash(Plain):
    """A probe that took the guest down, and what the console said then."""

    probe: str
    cause: str = ""  # one line
    oops: str = ""  # from the kernel's first complaint on; empty in results of an older store


SplatKind = Literal[
    "WARNING",
    "KASAN",
    "UBSAN",
    "KFENCE",
    "KCSAN",
    "KMSAN",
    "lockdep",
    "refcount",
    "list corruption",
    "sleeping function",
    "scheduling while atomic",
    "BUG",  # reported and survived: Bad page state, spinlock bad magic, ...
    "oops",
    "panic",
    "stuck",  # a lockup, an RCU stall, a hung task, a workqueue lockup
    "out of memory",
]


class Splat(Plain):
    """What a kernel reports by itself. `lines` go to the end of its trace, without the kernel's time stamps."""

    kind: SplatKind
    text: str  # the line that says what happened
    lines: tuple[str, ...] = ()
    probe: str = ""  # in flight when it was reported

    @property
    def blames_kernel(self) -> bool:
        """A host that starves its guests, or gives them little memory, makes any kernel report the others."""
        return self.kind not in {"stuck", "out of memory"}


class Timings(Plain):
    """Seconds; None: not reached."""

    prepare_s: float | None = None
    boot_s: float | None = None  # from vng's start to the first answer over ssh
    probe_s: float | None = None
    total_s: float | None = None


class CellResult(Plain):
    """All that is known about one cell after a run. Verdicts and states are computed from it, never stored."""

    cell: Cell
    outcome: Outcome
    cause: str = ""  # one line, empty when the cell ran
    image_sha256: str = ""
    host: str = ""
    accel: str = ""  # kvm or tcg
    attempts: int = 1
    began: AwareDatetime | None = None  # when a worker took it up, by its own clock
    timings: Timings = Timings()
    facts: Facts = Facts()
    observations: tuple[Observation, ...] = ()
    census: tuple[CensusObservation, ...] = ()
    census_ended: dict[ProgType, str] = {}  # whose census came to its end: empty, or why nothing could be asked
    missing: tuple[str, ...] = ()  # the names that the census looked for, and no BTF of the kernel has as a function
    config: dict[str, str] = {}  # of the kernel's own .config what explains a "no": y, m, n, or another value
    build: Build = Build()
    crashes: tuple[Crash, ...] = ()
    unasked: tuple[str, ...] = ()  # probes that were never asked, or never answered
    looks: tuple[Look, ...] = ()  # none, unless they were asked for
    console: str = ""  # the console log, control characters and all; stored beside the database

    @property
    def crashed(self) -> tuple[str, ...]:
        """The probes that took the guest down."""
        return tuple(crash.probe for crash in self.crashes)
