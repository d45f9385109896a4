# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What boots guests on this machine, as far as an answer can depend on it."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

from runner.guest.interface import Accel
from runner.model.architecture import Architecture
from runner.model.cells import Tools, files_digest
from runner.model.deadline import Deadline
from runner.process import require, run

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
