# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One guest boot: what it may take, what is asked in it, and what its answers depend on."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, StringConstraints

from runner.model.architecture import architecture
from runner.model.deadline import END_S, Deadline
from runner.model.kernels import ImagePin, Pin, Which
from runner.model.words import CellId, Plain, ProgType, SafeName, Seconds, Sha256, SourceText


class GuestSize(Plain):
    """What a guest gets of its host."""

    cpus: Annotated[int, Field(ge=1, le=64, description="virtual CPUs of a guest")] = 1
    memory_mib: Annotated[int, Field(ge=256, le=65536, description="memory of a guest in MiB")] = 1024
    network: Annotated[
        bool, Field(exclude_if=operator.not_, description="can it reach its host's network? By default it cannot")
    ] = False


Limit = Literal["lock_s", "prepare_s", "build_s", "start_s", "boot_s", "probe_s", "cell_s", "end_s", "store_s"]


class Limits(Plain):
    """No wait is longer than its limit, in seconds."""

    # a range of the past on five architectures is some 2 GB of lists
    lock_s: Annotated[Seconds, Field(description="look up the exact kernels in the archives' lists")] = 3600
    prepare_s: Annotated[
        Seconds, Field(description="fetch and unpack a kernel and an image; any other step before a guest")
    ] = 1800
    build_s: Annotated[Seconds, Field(description="build one kernel from its source")] = 14400
    boot_s: Annotated[Seconds, Field(description="from the start of vng to the first answer over ssh")] = 120
    probe_s: Annotated[Seconds, Field(description="one probe; a guest silent for longer is given up")] = 30
    start_s: Annotated[Seconds, Field(description="from the start of a worker process until it is ready")] = 300
    cell_s: Annotated[Seconds, Field(description="one cell without its preparation")] = 600
    end_s: Annotated[
        Seconds, Field(description="end a process, a guest or a worker; what is still there then is killed, and named")
    ] = END_S
    store_s: Annotated[Seconds, Field(description="until results.db, which others use too, is free")] = 30

    def deadline(self, limit: Limit) -> Deadline:
        """When a wait that begins now must be over."""
        seconds: float = getattr(self, limit)
        return Deadline.after(seconds, limit, end_s=self.end_s)


class Settings(Plain):
    """How a kernel is booted."""

    guest: GuestSize = GuestSize()
    limits: Limits = Limits()
    cmdline: str = ""  # words for the kernel's command line, after all others


class Wanted(Plain):
    """A kernel on an architecture, as the matrix names it; matrix.lock pins it to exact packages.

    With `which` it is a range: the source stands for any number of kernels, and `name` begins the name of each.
    """

    name: SafeName  # the kernel's name in the matrix
    source: SourceText
    arch: SafeName
    which: Which | None = None
    settings: Settings = Settings()


class Cell(Plain):
    """Kernel x architecture: one guest boot. Holds all that a worker needs, on whatever machine."""

    id: CellId
    name: SafeName  # the kernel's name in the matrix
    kernel: Pin
    image: ImagePin
    probes: tuple[SafeName, ...]  # the claim files: conntrack is bpf/conntrack.yaml
    guest: GuestSize = GuestSize()
    limits: Limits = Limits()
    cmdline: str = ""

    @property
    def arch(self) -> str:
        return self.kernel.arch


# --- what is asked in it ---------------------------------------------------------------------------------------------


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


class Ask(Plain):
    """One question of some kind of probe. runner/agent/<kind>.py asks it in the guest, runner/probes/<kind>/ reads it.

    A probe may have `items`, each with an answer of its own: a census has one for each kfunc. After a guest was lost
    in such a probe the rest is asked `careful`: each item is named before it is asked.
    """

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    probe: str
    body: dict[str, JsonValue] = {}  # what the agent's module is told
    programs: tuple[str, ...] = ()  # functions that it runs as BPF programs, by which the trace of an oops names it
    items: bool = False
    careful: bool = False
    skip: tuple[str, ...] = ()  # items that have an answer, or will get none
    only: str = ""  # this item alone
    alone: bool = False  # in a guest that is asked nothing else


class AskedCell(Plain):
    """What one cell was asked, all of it."""

    asks: tuple[Ask, ...]
    modules: tuple[SafeName, ...]  # loaded before the first ask
    programs: dict[SafeName, Sha256]  # the BPF objects, by file name


class Asked(Plain):
    """What cells were asked, and with which programs: enough to ask the very same again."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    cells: dict[CellId, AskedCell]
    objects: dict[Sha256, bytes]

    def of(self, kind: str) -> tuple[Ask, ...]:
        """The asks of a kind, each probe once."""
        asks = {ask.probe: ask for cell in self.cells.values() for ask in cell.asks if ask.kind == kind}
        return tuple(asks.values())


# --- what an answer depends on ----------------------------------------------------------------------------------------
# Two answers with equal keys are answers to the same question, asked in the same guest. Everything stands here by its
# digest or by its words, so a key is the same on every machine.


class Tools(Plain):
    """What boots the guests of one architecture on one machine."""

    vng: str  # its version
    qemu: str  # the first line of `--version`: it names the distribution's build too
    accel: Literal["kvm", "tcg"]
    cpu: str  # the model of the CPU: the host's under kvm, qemu's under tcg
    code: Sha256  # of the part of this program that boots guests


class GuestKey(Plain):
    """All that a guest is made from, until the first question is asked."""

    kernel: Sha256  # of the Kernel, over every file of it: its image, its .config and its modules
    image: Sha256  # of the Image's disk
    agent: Sha256  # see `files_digest`
    size: GuestSize
    cmdline: tuple[str, ...]  # words for the kernel's command line that vng does not add by itself
    modules: tuple[SafeName, ...]  # loaded before the first question, in this order
    tools: Tools

    @classmethod
    def of(
        cls, cell: Cell, modules: Iterable[str], tools: Tools, *, kernel: Sha256, image: Sha256, agent: Sha256
    ) -> GuestKey:
        """That of a cell, by what a worker knows when kernel and image are prepared."""
        words = (*architecture(cell.arch).kernel_args, *cell.cmdline.split())
        return cls(
            kernel=kernel,
            image=image,
            agent=agent,
            size=cell.guest,
            cmdline=words,
            modules=tuple(modules),
            tools=tools,
        )

    @property
    def digest(self) -> Sha256:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class AnswerKey(Plain):
    """A question, and the guest that is asked."""

    guest: Sha256  # digest of the GuestKey
    ask: Ask  # with all that the agent is told
    programs: dict[SafeName, Sha256]  # the files that it uses, by name


def files_digest(files: Mapping[str, bytes], folder: str = "") -> Sha256:
    """Over the names and contents of the files below `folder`: `agent/` for the agent in a payload."""
    mine = sorted((name, content) for name, content in files.items() if name.startswith(folder))
    lines = (f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in mine)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
