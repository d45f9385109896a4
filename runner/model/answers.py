# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a guest answered: raw, as it came. Verdicts and states are computed from it, never stored: see `Row`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import AwareDatetime, JsonValue

from runner.model.cells import Cell
from runner.model.kernels import Build, Root
from runner.model.words import NO_ANSWER, Outcome, Plain, Verdict


class Answer(Plain):
    """What a kernel answered to a probe, or to one item of it, as it came. `failed`: why the agent got no answer.

    The answer without an item ends its probe.
    """

    kind: str
    probe: str
    item: str = ""
    failed: str = ""
    body: dict[str, JsonValue] = {}


class Trace(Plain):
    """What the kernel says of one probe in detail, when that was asked for: `runner cell repro --probe`."""

    probe: str
    log: str = ""  # the verifier's, with every state, also of a program that it took
    kernel: tuple[str, ...] = ()  # the kernel's own messages, of any level, while the probe was asked
    failed: str = ""


class Facts(Plain):
    """What the guest says about itself."""

    release: str = ""  # uname -r
    build: str = ""  # uname -v
    machine: str = ""  # uname -m
    version_signature: str = ""  # Ubuntu's kernels have it: their build, and the upstream version that it began with
    cmdline: str = ""
    jit: str = ""  # net.core.bpf_jit_enable, empty where there is none
    btf: tuple[str, ...] = ()  # whose BTF is there
    modules: dict[str, str] = {}  # module that the probes need -> "" or why it did not load
    libbpf: str = ""
    python: str = ""


BEGINS = "runner: begin "  # and a probe: what the agent writes to the console before it asks one


class Crash(Plain):
    """A probe that took the guest down, twice: the second time alone. And what the console said then."""

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
    def title(self) -> str:
        """One line with the kind, which most kernels' words have in them."""
        return self.text if self.kind.lower() in self.text.lower() else f"{self.kind}: {self.text}"

    @property
    def blames_kernel(self) -> bool:
        """A host that starves its guests, or gives them little memory, makes any kernel report the others."""
        return self.kind not in {"stuck", "out of memory"}


class Deviation(Plain):
    """What a boot answered in another way than an earlier one. `what`: `alloc-tcp:tc, load errno`."""

    what: str
    before: str
    after: str


class Kept(Plain):
    """Where answers are from that the kernel gave in an earlier run, and was not asked again."""

    run: str
    started: AwareDatetime  # of that run
    probes: tuple[str, ...] = ()  # empty: all that the cell was asked


class Rechecked(Plain):
    """A boot of a cell whose answers would have been kept: from where, and what it answered in another way."""

    of: tuple[Kept, ...]
    changed: tuple[Deviation, ...] = ()


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
    root: Root | Literal[""] = ""
    start: Literal["boot", "snapshot"] = "boot"  # of its guests
    no_snapshot: str = ""  # why a boot took the place of one
    attempts: int = 1
    began: AwareDatetime | None = None  # when a worker took it up, by its own clock
    timings: Timings = Timings()
    facts: Facts = Facts()
    answers: tuple[Answer, ...] = ()
    config: dict[str, str] = {}  # of the kernel's own .config what explains a "no": y, m, n, or another value
    build: Build = Build()
    crashes: tuple[Crash, ...] = ()
    splats: tuple[Splat, ...] = ()  # of crashes the others: what ended a kernel is told by its crash
    unasked: tuple[str, ...] = ()  # probes that were never asked, or never answered
    traces: tuple[Trace, ...] = ()  # none, unless they were asked for
    console: str = ""  # the console log, control characters and all; stored beside the database
    guest: str = ""  # digest of its GuestKey; empty when it was never prepared
    boots: int = 0  # guests that were started for it
    kept: tuple[Kept, ...] = ()
    rechecked: Rechecked | None = None

    @property
    def ended(self) -> str:
        """`ran`; `boot failed: kernel panicked`."""
        return f"{self.outcome}: {self.cause}" if self.cause else str(self.outcome)

    @property
    def where(self) -> str:
        """`big (kvm)`; empty when it never started."""
        return " ".join(filter(None, (self.host, self.accel and f"({self.accel})")))

    @property
    def is_kept(self) -> bool:
        """Are all of its answers of an earlier run?"""
        return bool(self.kept) and not self.boots

    @property
    def undisturbed(self) -> bool:
        """Was one guest asked everything, and nothing went wrong? Then its answers may be kept."""
        ran = self.outcome is Outcome.RAN and not self.cause and self.attempts == 1 and self.boots <= 1
        return ran and not (self.crashes or self.splats or self.unasked)

    def of(self, kind: str) -> list[Answer]:
        """Its answers to the probes of a kind."""
        return [answer for answer in self.answers if answer.kind == kind]

    @property
    def crashed(self) -> tuple[str, ...]:
        """The probes that took the guest down."""
        return tuple(crash.probe for crash in self.crashes)


# --- how a kernel lays out a structure that programs share with it, from its BTF --------------------------------------


class StructMember(Plain):
    """`offset` and `size` in bytes; `bits` is the width of a bit field, 0 of anything else."""

    name: str  # empty: a structure or union without a name, whose members count as ours
    type: str  # near to C: `u8`, `struct bpf_map *`, `u8[3]`, `union {...}`
    offset: int
    size: int
    bits: int = 0


class StructConstant(Plain):
    """An enumerator, such as NF_BPF_CT_OPTS_SZ."""

    name: str
    value: int


class StructLayout(Plain):
    """`constants` are those that are named for its size: NF_BPF_CT_OPTS_SZ for bpf_ct_opts."""

    name: str
    size: int  # bytes
    members: tuple[StructMember, ...]
    constants: tuple[StructConstant, ...] = ()


def layout_lines(layout: StructLayout) -> Iterator[str]:
    """`struct bpf_ct_opts: 12 bytes`, then a line for each member: where, how many bytes, what. Names are a guest's."""
    constants = "".join(f"; {it.name} = {it.value}" for it in layout.constants)
    yield f"struct {layout.name}: {layout.size} bytes{constants}"
    for it in layout.members:
        width = f": {it.bits}" if it.bits else ""
        yield f"  {it.offset:>4} {it.size:>4}  {it.type} {it.name}{width}".rstrip()


# --- what every report, comparison and query works on: judged answers, whatever kind of probe gave them ---------------


@dataclass(frozen=True, slots=True)
class Mark:
    """How a word is shown; a mark needs no colour to be told apart."""

    sign: str
    ascii: str  # for terminals without UTF-8
    style: str  # of rich


@dataclass(frozen=True, slots=True)
class StateWord:
    """A state of a kind of probe. The lower rank is the worse; equal ranks are neither."""

    word: str
    rank: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Row:
    """What a kernel answered to one probe about one subject, judged.

    A row has a `state` (what is so on this kernel; the grid shows these), a `verdict` (what was expected, held against
    it), or both. Its build, architecture and run are those of the cell that holds it: equal answers of many runs
    share one tuple of rows.
    """

    kind: str  # a folder of runner/probes
    probe: str  # alloc-tcp:tc, census:tc
    subject: str  # a kfunc; a program of an object, a test of a command
    type: str = ""  # the program type, where there is one
    state: str = ""  # a word of the kind's STATES, or NO_ANSWER; empty: the row has a verdict alone
    verdict: Verdict | None = None  # None: nothing was expected
    cause: str = ""  # why it is not the best state, has no answer, or does not apply
    expected: str = ""
    observed: str = ""
    answer: str = ""  # in words that are equal where kernels behave alike; empty: none, or the state says it all
    true: bool | None = None  # what the probe claims, whatever was expected of this kernel; None: not known
    crashed: bool = False  # the probe took the kernel down
    known_issue: str = ""  # the id of the KnownIssue that explains why it is broken
    hidden: bool = False  # no answer, and repeating will not help: the kernel refuses before it looks
    errno: int | None = None
    log: str = ""
    details: Mapping[str, object] = field(default_factory=dict)  # JSON; what else the kind shows closely and exports

    @property
    def word(self) -> str:
        """The state, or else the verdict."""
        return self.state or str(self.verdict or NO_ANSWER)

    @property
    def answered(self) -> bool:
        return self.word != NO_ANSWER

    @property
    def numbers(self) -> Mapping[str, int]:
        """What the kernel counted, by name, where the kind has that in `details`."""
        found = self.details.get("numbers")
        return found if isinstance(found, dict) else {}


class JudgedSplat(Splat):
    """A splat, and the id of the KnownIssue that allows it."""

    known_issue: str = ""


class KnownIssue(Plain):
    """A deviation whose cause is understood. What it explains is shown apart, and does not fail a run."""

    id: str
    what: str
    reason: str
    link: str
    # its kernels were run, every probe that it is about was answered, and none of the answers is the deviation any more
    gone: bool = False
