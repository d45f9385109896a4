"""The shared data types: frozen, plain, no I/O. Controller, workers, guests and the store exchange nothing else.

Each validates what it is built from, so reading one from text is also the check of that text (`model_validate_json`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from runner.version import KernelVersion

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# What may become part of a command line, a path or a cell id. vng joins most of its values into a shell line unquoted.
SafeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}$")]
# <kind>:<what that kind understands>: debian:trixie-backports/6.18 is the newest 6.18.y of that suite
KernelSource = Annotated[str, StringConstraints(pattern=r"^[a-z]+:[A-Za-z0-9][A-Za-z0-9._/+~-]*$")]
CellId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]


class Plain(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProgType(StrEnum):
    """The program types that are asked about, by the words that people use for them."""

    TC = "tc"  # BPF_PROG_TYPE_SCHED_CLS
    XDP = "xdp"  # BPF_PROG_TYPE_XDP


class Outcome(StrEnum):
    """How a cell ended. Only `RAN` holds answers; none of the others says anything about a kfunc."""

    RAN = "ran"
    BOOT_FAILED = "boot failed"
    LOST = "lost"
    INFRA_FAILED = "infrastructure failed"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """An observation held against an expectation."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"
    NO_ANSWER = "no answer"


class State(StrEnum):
    """Of a (kfunc, program type) in a cell."""

    ABSENT = "absent"
    NOT_ALLOWED = "not allowed"
    REGISTERED = "registered"
    USABLE = "usable"
    NO_ANSWER = "no answer"


# --- what the user wants: from matrix.yaml --------------------------------------------------------------------------


class Wanted(Plain):
    """A kernel on an architecture, as the matrix names it; matrix.lock pins it to exact packages."""

    name: SafeName  # the kernel's name in the matrix
    source: KernelSource
    arch: SafeName


# --- what is fixed before a run: matrix.lock ---------------------------------------------------------------------


class Package(Plain):
    """One binary package of a Debian archive."""

    name: SafeName
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:-]*$")]
    architecture: SafeName  # Debian's name, or `all`
    suite: SafeName
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]


class LockedKernel(Plain):
    """A kernel that the matrix names, pinned to exact packages."""

    source: KernelSource
    arch: SafeName
    version: str  # upstream: 6.12.107
    release: SafeName  # uname -r: 6.12.107+deb13-amd64
    packages: tuple[Package, ...]

    @property
    def upstream(self) -> KernelVersion:
        return KernelVersion.parse(self.version)


class LockedImage(Plain):
    """The packages of a guest's root disk."""

    suite: SafeName
    arch: SafeName
    packages: tuple[Package, ...]


class Lock(Plain):
    """The document matrix.lock."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    kernels: tuple[LockedKernel, ...] = ()
    images: tuple[LockedImage, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


# --- what a worker gets --------------------------------------------------------------------------------------------


class GuestSize(Plain):
    """What a guest gets of its host."""

    cpus: Annotated[int, Field(ge=1, le=64, description="virtual CPUs of a guest")] = 1
    memory_mib: Annotated[int, Field(ge=256, le=65536, description="memory of a guest in MiB")] = 1024


Seconds = Annotated[float, Field(gt=0, le=86400)]


class Limits(Plain):
    """No wait is longer than its limit, in seconds."""

    prepare_s: Annotated[Seconds, Field(description="fetch and unpack a kernel and an image, for one cell")] = 1800
    boot_s: Annotated[Seconds, Field(description="from the start of vng to the first answer over ssh")] = 120
    probe_s: Annotated[Seconds, Field(description="one probe; a guest silent for longer is given up")] = 30
    cell_s: Annotated[Seconds, Field(description="one cell without its preparation")] = 600


class Cell(Plain):
    """Kernel x architecture: one guest boot. Holds all that a worker needs, on whatever machine."""

    id: CellId
    name: SafeName  # the kernel's name in the matrix
    kernel: LockedKernel
    image: LockedImage
    probes: tuple[SafeName, ...]  # the claim files: conntrack is bpf/conntrack.yaml
    guest: GuestSize = GuestSize()
    limits: Limits = Limits()

    @property
    def arch(self) -> str:
        return self.kernel.arch


# --- what lies in the cache ----------------------------------------------------------------------------------------


class Kernel(Plain):
    """A kernel in the store: verified, unpacked, ready to boot."""

    locked: LockedKernel
    sha256: Sha256  # over the manifest: every file's path, size and digest
    root: PurePosixPath  # holds boot/ and lib/modules/RELEASE, depmod has run
    image: PurePosixPath  # what qemu boots
    config: PurePosixPath  # the kernel's .config


class Image(Plain):
    """A guest's root disk in the store: verified, read-only."""

    arch: SafeName
    sha256: Sha256  # of the disk
    disk: PurePosixPath
    busybox: PurePosixPath  # statically linked, alone in its folder: vng shares that folder with the guest


# --- what is said: bpf/*.yaml, judged -------------------------------------------------------------------------------


class ClaimVerdict(Plain):
    """One claim for one program type in one cell, judged."""

    id: str  # the claim
    probe: str  # <claim>:<prog type>
    kfunc: str
    prog_type: ProgType
    verdict: Verdict
    expected: str  # in words: "error -EINVAL"
    observed: str  # in words: "error -EINVAL", "load -EACCES: calling kernel function ... is not allowed"
    cause: str = ""  # why there is no answer, or why it does not apply
    crashed: bool = False


class KfuncState(Plain):
    """Whether programs of a type can call a kfunc in one cell, judged."""

    kfunc: str
    object: str  # vmlinux or a module; empty when in none
    prog_type: ProgType
    state: State
    cause: str = ""  # short, from evidence
    errno: int | None = None
    log: str = ""


# --- what is asked and answered ------------------------------------------------------------------------------------


class ClaimAsk(Plain):
    """One question about one program: load it with these constants, run it on these inputs, read everything back.

    `probe` is `<claim>:<prog type>`. Names in `constants` are `const volatile` globals of the BPF object (the verifier
    sees their values), names in `inputs` are its writable globals. `sysctl` is set before and restored after.
    """

    kind: Literal["claim"] = "claim"
    probe: str
    object: SafeName  # bpf/<object>.bpf.c
    program: SafeName  # the function in it
    prog_type: ProgType
    constants: dict[str, int] = {}
    inputs: dict[str, int] = {}
    sysctl: dict[str, str] = {}


class CensusAsk(Plain):
    """May programs of this type call these kfuncs? One observation each."""

    kind: Literal["census"] = "census"
    probe: str
    prog_type: ProgType
    kfuncs: tuple[str, ...]


Ask = Annotated[ClaimAsk | CensusAsk, Field(discriminator="kind")]


class Observation(Plain):
    """What a kernel answered to a ClaimAsk, as it came. Not interpreted.

    `errno` is positive. `fields` are the members of the program's `result` global after the run.
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
    """What a kernel answered to "may a program of this type call this kfunc"."""

    kfunc: str
    prog_type: ProgType
    object: str = ""  # whose BTF holds it: `vmlinux` or a module; empty: in none that is loaded
    load_errno: int | None = None
    log: str = ""
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
    kernel_sha256: str = ""
    image_sha256: str = ""
    host: str = ""
    accel: str = ""  # kvm or tcg
    attempts: int = 1
    began: AwareDatetime | None = None  # when a worker took it up, by its own clock
    timings: Timings = Timings()
    facts: Facts = Facts()
    observations: tuple[Observation, ...] = ()
    census: tuple[CensusObservation, ...] = ()
    crashed: tuple[str, ...] = ()  # probes that took the guest down
    unasked: tuple[str, ...] = ()  # probes that were never asked, or never answered
    console: str = ""  # the console log, control characters and all; stored beside the database
