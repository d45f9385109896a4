"""The one table of everything that is particular to an architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.errors import MatrixError


@dataclass(frozen=True, slots=True)
class Architecture:
    """One row. `name` is what matrix.yaml, cells and reports use; the others translate it."""

    name: str
    uname: str  # `uname -m`, platform.machine()
    debian: str  # dpkg --print-architecture; also the flavour of Debian's generic kernel
    multiarch: str  # Debian's library folder
    vng: str  # vng --arch, which knows foreign architectures only
    qemu: str  # the emulator's binary
    qemu_package: str  # Debian's package with that binary
    net_device: str  # qemu's virtio network device
    loader: str  # the dynamic loader, relative to the root
    byte_order: Literal["little", "big"]
    cmdline_max: int  # bytes of kernel command line, COMMAND_LINE_SIZE in arch/*/include/*/setup.h
    kernel_args: tuple[str, ...]  # that emulation needs
    tcg_cost: float  # seconds of a cell under TCG relative to x86_64, measured; only orders the work


_TABLE = (
    Architecture(
        name="x86_64",
        uname="x86_64",
        debian="amd64",
        multiarch="x86_64-linux-gnu",
        vng="amd64",
        qemu="qemu-system-x86_64",
        qemu_package="qemu-system-x86",
        net_device="virtio-net-pci",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        byte_order="little",
        cmdline_max=2048,
        # on a busy host the emulated timer is late, and the kernel panics: "IO-APIC + timer doesn't work!"
        kernel_args=("no_timer_check",),
        tcg_cost=1.0,
    ),
    Architecture(
        name="arm64",
        uname="aarch64",
        debian="arm64",
        multiarch="aarch64-linux-gnu",
        vng="arm64",
        qemu="qemu-system-aarch64",
        qemu_package="qemu-system-arm",
        net_device="virtio-net-pci",
        loader="usr/lib/ld-linux-aarch64.so.1",
        byte_order="little",
        cmdline_max=2048,
        kernel_args=(),
        tcg_cost=0.9,
    ),
)

ARCHITECTURES = {row.name: row for row in _TABLE}


def architecture(name: str) -> Architecture:
    """The row called `name`. Raises MatrixError, naming the known ones."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise MatrixError(f"unknown architecture {name!r}", hint=f"known: {', '.join(ARCHITECTURES)}") from None


def by_uname(machine: str) -> Architecture | None:
    """The row of a host whose `uname -m` is `machine`; None when this table does not know it."""
    return next((row for row in _TABLE if row.uname == machine), None)
