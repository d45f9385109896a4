"""One guest boot, and what it may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runner.model.kernels import LockedImage, LockedKernel
from runner.model.words import CellId, Plain, SafeName, Seconds


class GuestSize(Plain):
    """What a guest gets of its host."""

    cpus: Annotated[int, Field(ge=1, le=64, description="virtual CPUs of a guest")] = 1
    memory_mib: Annotated[int, Field(ge=256, le=65536, description="memory of a guest in MiB")] = 1024


class Limits(Plain):
    """No wait is longer than its limit, in seconds."""

    # a range of the past on five architectures is some 2 GB of lists
    lock_s: Annotated[Seconds, Field(description="look up the exact kernels in the archives' lists")] = 3600
    prepare_s: Annotated[Seconds, Field(description="fetch and unpack a kernel and an image, for one cell")] = 1800
    boot_s: Annotated[Seconds, Field(description="from the start of vng to the first answer over ssh")] = 120
    probe_s: Annotated[Seconds, Field(description="one probe; a guest silent for longer is given up")] = 30
    start_s: Annotated[Seconds, Field(description="from the start of a worker process until it is ready")] = 300
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
