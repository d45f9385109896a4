# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What boots guests on this machine, as far as an answer can depend on it; how fast, and how many concurrent ones.

A /dev/kvm that can be opened proves nothing: nested virtualisation may abort, hang, or interpret the kernel of a guest
one instruction at a time. So a tiny guest must have done some work under KVM before KVM is used.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runner.caches import cache_root
from runner.errors import InfraError
from runner.guest.interface import Accel
from runner.model import GuestSize
from runner.model.architecture import ARCHITECTURES, Architecture, by_uname
from runner.model.cells import Tools, files_digest
from runner.model.deadline import Deadline
from runner.process import require, run
from runner.store import write_atomically

PROBE_S = 5.0  # the tiny guest needs below one second under TCG, and KVM that is slower is of no use
DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

OVERHEAD_MIB = 400  # of a guest on its host: qemu and its translated code, vng, the worker
RESERVE_MIB = 1024  # for the controller and the page cache


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How guests of the host's own architecture run, and if not under KVM, why."""

    accel: Accel
    why: str = ""


def native_accel(*, deadline: Deadline, cache: Path | None = None, refresh: bool = False) -> Acceleration:
    """KVM if a tiny guest speaks under it within 5 s or until `deadline`, else TCG.

    The result is kept in the folder `cache` until the host reboots or another qemu is installed; `refresh` ignores it.
    Raises InfraError when /dev/kvm can be opened but qemu is not installed.
    """
    host = by_uname(platform.machine())
    if host is None:
        return Acceleration("tcg", f"no guests of this host's own kind: {platform.machine()}")
    if not DEVICE.exists():
        return Acceleration("tcg", f"there is no {DEVICE}")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Acceleration("tcg", f"{DEVICE} may not be opened: is this user in the group kvm?")
    entry = cache / f"accel-{_fingerprint(host)}" if cache else None
    if entry and not refresh and (known := _recall(entry)):
        return known
    found, why = can_run(host, "kvm", deadline=deadline.sooner(Deadline.after(PROBE_S, "the limit")))
    finding = Acceleration("kvm") if found else Acceleration("tcg", why)
    if entry:
        _keep(entry, finding)
    return finding


def accelerations(deadline: Deadline) -> dict[str, Accel]:
    """kvm or tcg for every known architecture; a foreign one is always emulated.

    The answer is kept in the cache folder. Raises InfraError as `native_accel` does.
    """
    return assign(native_accel(deadline=deadline, cache=cache_root()).accel, platform.machine())


def assign(native: Accel, machine: str) -> dict[str, Accel]:
    """Each architecture's acceleration on a host whose `uname -m` is `machine`."""
    return {name: native if row.uname == machine else "tcg" for name, row in ARCHITECTURES.items()}


def slots(cpus: int, memory_mib: int, guest: GuestSize, accel: Accel) -> int:
    """How many concurrent guests to run: at least one.

    Under TCG a guest keeps one core busy, however many CPUs it has: booting and loading programs is serial work. Under
    KVM it waits about as long as it works (an estimate), so two share a core. Each takes its memory and 400 MiB;
    1 GiB stays free. 2 cores and 24 GiB: two guests of 1 GiB under TCG.
    """
    by_cpus = cpus if accel == "tcg" else 2 * cpus
    by_memory = (memory_mib - RESERVE_MIB) // (guest.memory_mib + OVERHEAD_MIB)
    return max(1, min(by_cpus, by_memory))


# --- this host -----------------------------------------------------------------------------------------------------


def host_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The cores that this process may use: its affinity, cut to its cgroup's quota."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _first_line(cgroup / "cpu.max").partition(" ")
    return max(1, min(cores, int(quota) // int(period))) if quota.isdigit() and period.isdigit() else cores


def host_memory_mib(cgroup: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> int:
    """The memory that is free to use: of the machine, cut to what is left in the cgroup."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) // 1024
    limit, used = _first_line(cgroup / "memory.max"), _first_line(cgroup / "memory.current")
    if limit.isdigit() and used.isdigit():
        available = min(available, (int(limit) - int(used)) >> 20)
    return max(0, available)


def _first_line(file: Path) -> str:
    try:
        return file.read_text().partition("\n")[0]
    except OSError:  # no such cgroup controller
        return ""


# --- the kept result -----------------------------------------------------------------------------------------------


def _fingerprint(arch: Architecture) -> str:
    """Changes with each boot of the host and each installation of qemu."""
    qemu = Path(shutil.which(arch.qemu) or arch.qemu)
    installed = qemu.stat().st_mtime_ns if qemu.exists() else 0
    parts = (_first_line(BOOT_ID), arch.name, str(qemu), str(installed))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _recall(entry: Path) -> Acceleration | None:
    try:
        accel, _, why = entry.read_text().partition(" ")
    except (OSError, UnicodeDecodeError):  # not there, or not readable
        return None
    return Acceleration("kvm") if accel == "kvm" else Acceleration("tcg", why) if accel == "tcg" else None


def _keep(entry: Path, finding: Acceleration) -> None:
    with suppress(OSError):  # the next query costs 5 s at most
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, f"{finding.accel} {finding.why}".encode())


# --- the smallest guests --------------------------------------------------------------------------------------------

# Machine code that counts for a while, writes a line to the serial port and ends the machine. It needs no kernel, so
# whether it speaks says only whether this host can run guests of its own architecture, at a speed that is of use. The
# counting matters: there are hosts whose KVM starts a guest and then interprets its kernel mode, at a few million
# instructions per second. A BIOS gets through on those, a kernel does not.
# 2^27 turns of one or two instructions: 0.3 s under TCG, a minute or so where each is interpreted.

SAYS = "guest speaks"

_X86_64_CODE = bytes.fromhex(  # at 0x7c00, in real mode; goes to 64-bit mode with paging, where kernels live
    "fa fc"  # cli; cld
    "31c0 8ed8 8ec0"  # xor ax, ax; mov ds, ax; mov es, ax
    "bf0010 b90018 f3ab"  # mov di, 0x1000; mov cx, 0x1800; rep stosw: three empty page tables
    "c706 0010 0320"  # mov word [0x1000], 0x2003: the first points to the second,
    "c706 0020 0330"  # mov word [0x2000], 0x3003: which points to the third,
    "c706 0030 8300"  # mov word [0x3000], 0x0083: which maps the first 2 MiB to themselves
    "660f0116877c"  # lgdtd [gdtr]
    "66b800100000 0f22d8"  # mov eax, 0x1000; mov cr3, eax
    "66b820000000 0f22e0"  # mov eax, 0x20; mov cr4, eax: PAE
    "66b9800000c0 0f32 80cc01 0f30"  # mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr: long mode in EFER
    "66b801000080 0f22c0"  # mov eax, 0x80000001; mov cr0, eax: protection and paging
    "ea557c0800"  # jmp 8:long
    "b900000008"  # long: mov ecx, 1 << 27
    "ffc9 75fc"  # count: dec ecx; jnz count
    "be8d7c0000"  # mov esi, text
    "ac"  # next: lodsb
    "84c0 7407"  # test al, al; jz done
    "66baf803 ee"  # mov dx, 0x3f8; out dx, al: the first serial port
    "ebf4"  # jmp next
    "66ba0105 ee"  # done: mov dx, 0x501; out dx, al: isa-debug-exit ends qemu
    "f4 ebfd"  # halt: hlt; jmp halt
    "0000000000000000 00000000009a2000"  # gdt: nothing; a 64-bit code segment
    "0f00 777c0000"  # gdtr: 15, gdt
)
_ARM64_CODE = struct.pack(
    "<14I",
    0xD2A10003,  # mov x3, #1 << 27
    0xF1000463,  # count: subs x3, x3, #1
    0x54FFFFE1,  # b.ne count
    0x10000161,  # adr x1, the text behind this code
    0xD2A12002,  # mov x2, #0x09000000: the PL011 of qemu's virt machine
    0x38401420,  # next: ldrb w0, [x1], #1
    0x34000060,  # cbz w0, done
    0xB9000040,  # str w0, [x2]
    0x17FFFFFD,  # b next
    0x52800100,  # done: mov w0, #8
    0x72B08000,  # movk w0, #0x8400, lsl #16: 0x84000008 is PSCI's SYSTEM_OFF
    0xD4000002,  # hvc #0
    0xD503207F,  # halt: wfi
    0x17FFFFFF,  # b halt
)


def _boot_sector() -> bytes:
    """A disk whose first 512 bytes a PC's BIOS loads and starts."""
    sector = (_X86_64_CODE + SAYS.encode() + b"\n\0").ljust(510, b"\0") + b"\x55\xaa"
    return sector.ljust(1 << 20, b"\0")  # SeaBIOS starts nothing from a virtio disk of a single sector


def _arm64_image() -> bytes:
    """A kernel with the header of Documentation/arch/arm64/booting.rst: code0 jumps over its 64 bytes."""
    code = _ARM64_CODE + SAYS.encode() + b"\n\0"
    jump = 0x14000010  # b .+64
    header = struct.pack("<IIQQQQQQ4sI", jump, 0, 0, 64 + len(code), 0, 0, 0, 0, b"ARM\x64", 0)
    return header + code


# For each architecture that has one its program, and the qemu options that start it.
_TINY: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "x86_64": (
        _boot_sector,
        (
            *("-device", "isa-debug-exit,iobase=0x501,iosize=1"),
            *("-drive", "file={program},format=raw,if=virtio,readonly=on"),
        ),
    ),
    "arm64": (_arm64_image, ("-kernel", "{program}")),
}


def can_run(arch: Architecture, accel: Accel, *, deadline: Deadline) -> tuple[bool, str]:
    """Does a tiny guest speak before `deadline`? If not, the second value says why, in one line.

    Raises InfraError when qemu is not installed.
    """
    if arch.name not in _TINY:
        return False, f"there is no tiny guest for {arch.name}"
    image, options = _TINY[arch.name]
    with tempfile.TemporaryDirectory(prefix="tiny-guest-") as folder:
        program = Path(folder) / "program"
        program.write_bytes(image())
        argv = [arch.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-accel", accel]
        argv += ["-machine", arch.machine, "-cpu", "host" if accel == "kvm" else arch.cpu]  # vng takes `host` with KVM
        argv += [option.format(program=program) for option in options]
        try:
            done = run(argv, deadline=deadline, check=False)
        except InfraError:
            if not deadline.expired:
                raise
            return False, f"a tiny guest under {accel} did not speak within {deadline.what}"
    if SAYS in done.stdout:
        return True, ""
    words = (done.stderr.strip() or "no message").splitlines()
    return False, f"{arch.qemu} -accel {accel} ended with status {done.returncode}: {words[0]}"


CPUINFO = Path("/proc/cpuinfo")
# of this program what a guest is made by: what it starts from, its machine, and how its root is chosen
_BOOTING = ("guest/*", "images/*", "kernels/config.py", "kernels/needs.py", "model/architecture.py")
_VERSIONS: dict[tuple[str, int], str] = {}  # what a qemu says of itself, by its path and when it was installed
# arch/x86/kernel/cpu/proc.c, arch/arm64/kernel/cpuinfo.c
_CPU_FIELDS = frozenset(
    {
        *("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"),
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
    }
)


def tools_of(row: Architecture, accel: Accel, *, deadline: Deadline) -> Tools:
    """Of this architecture's guests. Raises InfraError when qemu is not installed."""
    return Tools(
        vng=importlib.metadata.version("virtme-ng"),
        qemu=_qemu_version(require(row.qemu), deadline),
        accel=accel,
        cpu=host_cpu() if accel == "kvm" else row.cpu,
        code=_own_code(),
    )


def _qemu_version(qemu: str, deadline: Deadline) -> str:
    """A process starts once for each file."""
    known = (qemu, Path(qemu).stat().st_mtime_ns)
    if known not in _VERSIONS:
        _VERSIONS[known] = run([qemu, "--version"], deadline=deadline).stdout.partition("\n")[0].strip()
    return _VERSIONS[known]


def host_cpu(cpuinfo: Path = CPUINFO) -> str:
    """The model of the first CPU, with its features; empty where the kernel does not tell."""
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]
    except OSError:
        return ""
    fields = (line.partition(":") for line in first.splitlines())
    return "; ".join(value.strip() for name, _, value in fields if name.strip() in _CPU_FIELDS)


@cache
def _own_code() -> str:
    package = Path(__file__).parents[1]
    files = [file for place in _BOOTING for file in package.glob(place) if file.is_file()]
    return files_digest({str(file.relative_to(package)): file.read_bytes() for file in files})
