"""One guest boot, and what it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runner.model.deadline import END_S, Deadline
from runner.model.kernels import ImagePin, Pin
from runner.model.words import CellId, Plain, SafeName, Seconds


class GuestSize(Plain):
    """What a guest gets of its host."""

    cpus: Annotated[int, Field(ge=1, le=64, description="virtual CPUs of a guest")] = 1
    memory_mib: Annotated[int, Field(ge=256, le=65536, description="memory of a guest in MiB")] = 1024


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


class Cell(Plain):
    """Kernel x architecture: one guest boot. Holds all that a worker needs, on whatever machine."""

    id: CellId
    name: SafeName  # the kernel's name in the matrix
    kernel: Pin
    image: ImagePin
    probes: tuple[SafeName, ...]  # the claim files: conntrack is bpf/conntrack.yaml
    guest: GuestSize = GuestSize()
    limits: Limits = Limits()

    @property
    def arch(self) -> str:
        return self.kernel.arch
