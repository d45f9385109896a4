# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The one table of everything that is particular to an architecture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from runner.errors import UserError
from runner.text import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One row. `name` is what matrix.yaml, cells and reports use; the others translate it."""

    name: str
    uname: str  # `uname -m`, platform.machine()
    debian: str  # dpkg --print-architecture
    kernel: str  # its folder in the kernel's arch/, and what follows __TARGET_ARCH_ for bpf_tracing.h
    flavour: str  # of Debian's generic kernel: the end of its release
    multiarch: str  # Debian's library folder
    vng: str  # vng --arch, which knows foreign architectures only
    image: str = "vmlinuz"  # what its kernel images are called: vng tells their release from the name
    qemu: str  # the emulator's binary
    qemu_package: str  # Debian's package with that binary; a virtual one where the suites differ
    machine: str  # qemu -machine, as vng has it
    cpu: str  # qemu -cpu, under TCG
    console: str  # the kernel's name of the serial console
    early_console: str = ""  # the kernel's words for it before its drivers start
    serial: str = "-serial chardev:console"  # how qemu connects `chardev:console` to it
    net_device: str = "virtio-net-pci,romfile="  # qemu's virtio network device, with its options
    loader: str  # the dynamic loader, relative to the root
    byte_order: Literal["little", "big"] = "little"
    pages_kib: tuple[int, ...] = (4,)  # that Debian builds kernels for; other than 4 also as a flavour: 16k
    cmdline_max: int = 2048  # bytes of kernel command line, COMMAND_LINE_SIZE in arch/*/include/*/setup.h
    kernel_args: tuple[str, ...] = ()  # that emulation needs
    tcg_cost: float = 1.0  # seconds of a cell under TCG, relative to cells of x86_64 in the same run; orders the work
    maps_ram: bool = True  # is the memory of a saved machine left alone when its qemu starts?
    host: bool = False  # may run this program: each image's lock pins a Python for it

    def filled(self, pattern: str) -> str:
        """`build/{arch}/lb.o` with its own names: {arch}, {goarch}, {debarch}."""
        names = {"arch": self.name, "goarch": self.goarch, "debarch": self.debian}
        return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), pattern)

    @property
    def goarch(self) -> str:
        """As Go calls it, and with it Docker."""
        return _GO.get(self.name, self.name)

    @property
    def disk_device(self) -> str:
        """qemu's virtio disk, on the bus of the network device."""
        return f"virtio-blk-{self._bus}"

    @property
    def share_device(self) -> str:
        """qemu's folder of the host, over 9p, on the same bus."""
        return f"virtio-9p-{self._bus}"

    @property
    def _bus(self) -> str:
        return "ccw" if self.net_device.endswith("ccw") else "pci"


_GO = {"x86_64": "amd64"}  # Go's names of the architectures, where they are not ours
_TABLE = (
    Architecture(
        name="x86_64",
        uname="x86_64",
        debian="amd64",
        kernel="x86",
        flavour="amd64",
        multiarch="x86_64-linux-gnu",
        vng="amd64",
        qemu="qemu-system-x86_64",
        qemu_package="qemu-system-x86",
        machine="q35",
        # TCG runs `rep movsb` byte by byte: without ERMS kernels copy eight at a time. No processor has FSRM alone, but
        # qemu 10 leaves it on, and with it Linux 6.1 hangs at boot
        cpu="max,erms=off,fsrm=off",
        console="ttyS0",
        early_console="earlyprintk=serial,ttyS0,115200",
        loader="usr/lib64/ld-linux-x86-64.so.2",
        # on a busy host the emulated timer is late, and the kernel panics: "IO-APIC + timer doesn't work!"
        kernel_args=("no_timer_check",),
        host=True,
    ),
    Architecture(
        name="arm64",
        uname="aarch64",
        debian="arm64",
        kernel="arm64",
        flavour="arm64",
        multiarch="aarch64-linux-gnu",
        vng="arm64",
        qemu="qemu-system-aarch64",
        qemu_package="qemu-system-arm",
        machine="virt",
        cpu="cortex-a76",  # the a57 cannot do pages of 16 KiB, which one of Debian's kernels has
        console="ttyAMA0",
        early_console="earlycon=pl011,0x9000000",
        loader="usr/lib/ld-linux-aarch64.so.1",
        pages_kib=(4, 16),
        host=True,
    ),
    Architecture(
        name="riscv64",
        uname="riscv64",
        debian="riscv64",
        kernel="riscv",
        flavour="riscv64",
        multiarch="riscv64-linux-gnu",
        vng="riscv64",
        qemu="qemu-system-riscv64",
        qemu_package="qemu-system-riscv64",
        machine="virt",
        cpu="rv64",
        console="ttyS0",
        early_console="earlycon=sbi",
        loader="usr/lib/ld-linux-riscv64-lp64d.so.1",
        cmdline_max=1024,
        tcg_cost=2.0,
    ),
    Architecture(
        name="s390x",
        uname="s390x",
        debian="s390x",
        kernel="s390",
        flavour="s390x",
        multiarch="s390x-linux-gnu",
        vng="s390x",
        qemu="qemu-system-s390x",
        qemu_package="qemu-system-s390x",
        machine="s390-ccw-virtio",
        cpu="qemu,vx=off",  # with vector instructions no TCP segment's checksum is right under qemu 7.2
        console="ttysclp0",
        early_console="earlyprintk=sclp",
        serial="-device sclpconsole,chardev=console",
        net_device="virtio-net-ccw",
        loader="usr/lib/ld64.so.1",
        byte_order="big",
        cmdline_max=4096,
        tcg_cost=1.1,
    ),
    Architecture(
        name="ppc64le",
        uname="ppc64le",
        debian="ppc64el",
        kernel="powerpc",
        flavour="powerpc64le",
        multiarch="powerpc64le-linux-gnu",
        vng="ppc64el",
        image="vmlinux",
        qemu="qemu-system-ppc64",
        qemu_package="qemu-system-ppc64",
        machine="pseries",
        cpu="power9",
        console="hvc0",
        loader="usr/lib64/ld64.so.2",
        pages_kib=(4, 64),
        tcg_cost=2.0,
        maps_ram=False,  # hw/ppc/spapr.c: spapr_machine_reset() writes a device tree
    ),
)

ARCHITECTURES = {row.name: row for row in _TABLE}
_OTHER_NAMES = {other: row.name for row in _TABLE for other in (row.uname, row.debian) if other != row.name}


def likely(name: str) -> str:
    """What to write instead of a name that is not in the table."""
    other = _OTHER_NAMES.get(name)
    return f"did you mean {other!r}?" if other else nearest(name, ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The row called `name`. Raises UserError, with what may be meant."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise UserError(f"unknown architecture {name!r}", hint=likely(name)) from None


def arch_order(name: str) -> tuple[int, str]:
    """What architectures are sorted by: their place in the table; unknown ones come last."""
    known = list(ARCHITECTURES)
    return (known.index(name) if name in known else len(known), name)


def by_uname(machine: str) -> Architecture | None:
    """The row of a host whose `uname -m` is `machine`; None when this table does not know it."""
    return next((row for row in _TABLE if row.uname == machine), None)
