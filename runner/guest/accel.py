"""How fast this host runs guests, and how many at once.

A /dev/kvm that can be opened proves nothing: nested virtualisation may abort, hang, or interpret a guest's kernel one
instruction at a time. So a tiny guest must have done some work under KVM before KVM is used.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from runner.caches import cache_root
from runner.guest.interface import Accel
from runner.guest.tinyguest import can_run
from runner.model import GuestSize
from runner.model.architecture import ARCHITECTURES, Architecture, by_uname
from runner.model.deadline import Deadline

PROBE_S = 5.0  # the tiny guest needs below one second under TCG, and KVM that is slower is of no use
_DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

OVERHEAD_MIB = 400  # of a guest on its host: qemu and its translated code, vng, the worker
RESERVE_MIB = 1024  # for the controller and the page cache


@dataclass(frozen=True, slots=True)
class Finding:
    """How guests of the host's own architecture run, and if not under KVM, why."""

    accel: Accel
    why: str = ""


def native_accel(*, deadline: Deadline, cache: Path | None = None, refresh: bool = False) -> Finding:
    """KVM if a tiny guest speaks under it within 5 s or until `deadline`, else TCG.

    The answer is kept in the folder `cache` until the host boots again or another qemu is installed; `refresh` asks
    again.
    Raises InfraError when /dev/kvm can be opened but qemu is not installed.
    """
    host = by_uname(platform.machine())
    if host is None:
        return Finding("tcg", f"no guests of this host's own kind: {platform.machine()}")
    if not _DEVICE.exists():
        return Finding("tcg", f"there is no {_DEVICE}")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return Finding("tcg", f"{_DEVICE} may not be opened: is this user in the group kvm?")
    entry = cache / f"accel-{_fingerprint(host)}" if cache else None
    if entry and not refresh and (known := _recall(entry)):
        return known
    found, why = can_run(host, "kvm", deadline=deadline.sooner(Deadline.after(PROBE_S, "the limit")))
    finding = Finding("kvm") if found else Finding("tcg", why)
    if entry:
        _keep(entry, finding)
    return finding


def accelerations(deadline: Deadline, *, cache: Path | None = None) -> dict[str, Accel]:
    """kvm or tcg for every known architecture; a foreign one is always emulated.

    The answer is kept in `cache`, by default the cache folder. Raises InfraError as `native_accel` does.
    """
    return assign(native_accel(deadline=deadline, cache=cache or cache_root()).accel, platform.machine())


def assign(native: Accel, machine: str) -> dict[str, Accel]:
    """Each architecture's acceleration on a host whose `uname -m` is `machine`."""
    return {name: native if row.uname == machine else "tcg" for name, row in ARCHITECTURES.items()}


def slots(cpus: int, memory_mib: int, guest: GuestSize, accel: Accel) -> int:
    """How many guests to run at once: at least one.

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


# --- remembering ---------------------------------------------------------------------------------------------------


def _fingerprint(arch: Architecture) -> str:
    """Changes with each boot of the host and each installation of qemu."""
    qemu = Path(shutil.which(arch.qemu) or arch.qemu)
    installed = qemu.stat().st_mtime_ns if qemu.exists() else 0
    parts = (_first_line(_BOOT_ID), arch.name, str(qemu), str(installed))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _recall(entry: Path) -> Finding | None:
    try:
        accel, _, why = entry.read_text().partition(" ")
    except (OSError, UnicodeDecodeError):  # never asked, or not readable: ask
        return None
    return Finding("kvm") if accel == "kvm" else Finding("tcg", why) if accel == "tcg" else None


def _keep(entry: Path, finding: Finding) -> None:
    partial = entry.with_name(f"{entry.name}.{os.getpid()}")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(f"{finding.accel} {finding.why}")
        partial.replace(entry)
    except OSError:  # asking again next time costs 5 s at most
        partial.unlink(missing_ok=True)
