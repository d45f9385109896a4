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
    """The program types, by the words that people use for them: the kernel's own but for `tc`.

    `ext` is missing: such a program may call what the program may call that it extends.
    """

    TC = "tc"  # BPF_PROG_TYPE_SCHED_CLS
    XDP = "xdp"  # BPF_PROG_TYPE_XDP
    # the census asks about the others when it is told to
    SOCKET_FILTER = "socket_filter"
    KPROBE = "kprobe"
    SCHED_ACT = "sched_act"
    TRACEPOINT = "tracepoint"
    PERF_EVENT = "perf_event"
    CGROUP_SKB = "cgroup_skb"
    CGROUP_SOCK = "cgroup_sock"
    LWT_IN = "lwt_in"
    LWT_OUT = "lwt_out"
    LWT_XMIT = "lwt_xmit"
    SOCK_OPS = "sock_ops"
    SK_SKB = "sk_skb"
    CGROUP_DEVICE = "cgroup_device"
    SK_MSG = "sk_msg"
    RAW_TRACEPOINT = "raw_tracepoint"
    CGROUP_SOCK_ADDR = "cgroup_sock_addr"
    LWT_SEG6LOCAL = "lwt_seg6local"
    LIRC_MODE2 = "lirc_mode2"
    SK_REUSEPORT = "sk_reuseport"
    FLOW_DISSECTOR = "flow_dissector"
    CGROUP_SYSCTL = "cgroup_sysctl"
    RAW_TRACEPOINT_WRITABLE = "raw_tracepoint_writable"
    CGROUP_SOCKOPT = "cgroup_sockopt"
    TRACING = "tracing"
    STRUCT_OPS = "struct_ops"
    LSM = "lsm"
    SK_LOOKUP = "sk_lookup"
    SYSCALL = "syscall"
    NETFILTER = "netfilter"


NETWORK_TYPES = (ProgType.TC, ProgType.XDP)  # those that the claims are about


class OtherType(StrEnum):
    """Further types that a program may be given to the kernel as, to see that it is refused."""

    CGROUP_SKB = "cgroup_skb"
    KPROBE = "kprobe"
    LWT_IN = "lwt_in"
    NETFILTER = "netfilter"
    SCHED_ACT = "sched_act"
    SK_SKB = "sk_skb"
    SOCK_OPS = "sock_ops"
    SOCKET_FILTER = "socket_filter"
    TRACEPOINT = "tracepoint"


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


class Level(StrEnum):
    """How far programs of a type were seen to get with a kfunc, the least first. Only what was seen counts."""

    NONE = "none"  # not in BTF, or nothing is known
    IN_BTF = "in BTF"
    MAY_BE_CALLED = "may be called"
    LOADS = "loads"  # with real arguments
    RUNS = "runs"
    EFFECT = "effect seen"  # what a claim marked `usable` says was observed


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
    known_issue: str = ""  # the id of the KnownIssue that explains why it is broken


class KnownIssue(Plain):
    """A deviation whose cause is understood. What it explains is shown apart, and does not fail a run."""

    id: str
    what: str
    reason: str
    link: str
    # its kernels were run, every probe that it is about was answered, and none of the answers is the deviation any more
    gone: bool = False


class KfuncState(Plain):
    """Whether programs of a type can call a kfunc in one cell, judged."""

    kfunc: str
    object: str  # vmlinux or a module; empty when in none
    prog_type: ProgType
    state: State
    cause: str = ""  # short, from evidence
    errno: int | None = None
    log: str = ""  # the verifier's own words, without the explanation that v7.3 appends
    hidden: bool = False  # no answer, and asking again will not help: the kernel refuses before it looks
    prototype: str = ""  # from BTF, as C has it
    flags: tuple[str, ...] = ()  # as far as the kernel shows them: KF_SLEEPABLE
    level: Level = Level.NONE


# --- what is asked and answered ------------------------------------------------------------------------------------


class Attach(StrEnum):
    """How a program is attached to a device."""

    CLSACT = "clsact"  # TC, by a filter of the clsact queueing discipline
    TCX = "tcx"  # TC, by a link; since v6.6
    NATIVE = "native"  # XDP, in the driver
    GENERIC = "generic"  # XDP, behind it

    @property
    def prog_type(self) -> ProgType:
        return ProgType.TC if self in {Attach.CLSACT, Attach.TCX} else ProgType.XDP


class Traffic(Plain):
    """A real flow past an attached program, between network namespaces."""

    attach: Attach
    protocol: Literal["tcp", "udp"]
    tracked: bool = False  # by the kernel too, where the program is attached; it then also translates addresses
    virtual: bool = False  # to an address that nobody has


class ClaimAsk(Plain):
    """One question about one program: load it with these constants, run it on these inputs, read everything back.

    `probe` is `<claim>:<prog type>`. Names in `constants` are `const volatile` globals of the BPF object (the verifier
    sees their values), names in `inputs` are its writable globals. `sysctl` is set before and restored after.
    With `load_as` or another `license` the program is loaded only: the question is whether the kernel takes it.
    With `netns` a network namespace has that id, as seen from the one in which the program runs.
    With `traffic` the program is attached and sees a flow, instead of being run once on a packet of ours.
    """

    kind: Literal["claim"] = "claim"
    probe: str
    object: SafeName  # bpf/<object>.bpf.c
    program: SafeName  # the function in it
    prog_type: ProgType
    constants: dict[str, int] = {}
    inputs: dict[str, int] = {}
    sysctl: dict[str, str] = {}
    load_as: OtherType | None = None
    license: str = "GPL"
    netns: int | None = None
    traffic: Traffic | None = None


class CensusAsk(Plain):
    """May programs of this type call the kfuncs? One observation of each that the kernel's BTF holds.

    The agent asks of all that BTF calls a kfunc, and of `kfuncs` where they are functions of any kind: old kernels'
    BTF does not tell. After a guest was lost, the rest is asked `careful`: each is named before it is asked.
    """

    kind: Literal["census"] = "census"
    probe: str
    prog_type: ProgType
    kfuncs: tuple[str, ...]
    careful: bool = False
    skip: tuple[str, ...] = ()  # have an answer, or will get none


Ask = Annotated[ClaimAsk | CensusAsk, Field(discriminator="kind")]


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
    tags: tuple[str, ...] = ()  # the function's declaration tags: bpf_kfunc, bpf_fastcall


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
    census_ended: dict[ProgType, str] = {}  # whose census came to its end: empty, or why nothing could be asked
    missing: tuple[str, ...] = ()  # the names that the census looked for, and no BTF of the kernel has as a function
    config: dict[str, str] = {}  # of the kernel's own .config what explains a "no": y, m, n, or another value
    crashes: tuple[Crash, ...] = ()
    unasked: tuple[str, ...] = ()  # probes that were never asked, or never answered
    console: str = ""  # the console log, control characters and all; stored beside the database

    @property
    def crashed(self) -> tuple[str, ...]:
        """The probes that took the guest down."""
        return tuple(crash.probe for crash in self.crashes)
