# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What this machine lacks: the checks of `runner doctor`, and the Debian packages that are missing.

Where something can be tried, it is tried: a file that exists proves little.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from runner.errors import InfraError
from runner.guest.accel import host_cpus, host_memory_mib, native_accel, slots
from runner.guest.command import virtme_tool
from runner.model import GuestSize
from runner.model.architecture import ARCHITECTURES, by_uname
from runner.model.deadline import Deadline
from runner.process import require, run, run_in_sight
from runner.text import counted

NEED_MIB = 3072  # two images, eight kernels, the packages they are made of
_PACKAGES = "`runner doctor --fix` installs it"
# the only list of packages is packages.txt beside it; a shell script, as it must work before Python is there
PACKAGES_SCRIPT = Path(__file__).with_name("packages.sh")
_EM_BPF = 247  # elf.h
_TARGETS: tuple[tuple[str, Literal["little", "big"]], ...] = (("bpfel", "little"), ("bpfeb", "big"))
_BPF_SOURCE = b"""#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int program(struct __sk_buff *context) { return context->len > 0; }
"""


class Severity(StrEnum):
    OK = "ok"
    WARN = "warning"  # works, but worse than it could
    BAD = "bad"  # a run will fail


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was looked at. `todo` is empty when there is nothing to do."""

    name: str
    level: Severity
    found: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What the checks depend on."""

    cache: Path
    guest: GuestSize
    deadline: Deadline


Check = Callable[[Context], Iterator[Checked]]


def _checked(name: str, good: object, found: str, todo: str, otherwise: Severity = Severity.BAD) -> Checked:
    """`todo` counts only when it is not `good`."""
    return Checked(name, Severity.OK, found) if good else Checked(name, otherwise, found, todo)


def examine(cache: Path, guest: GuestSize, *, deadline: Deadline) -> Iterator[Checked]:
    """Look at this machine: what each check finds, as it finds it. A check that fails is a finding."""
    context = Context(cache, guest, deadline)
    for name, check in CHECKS.items():
        try:
            yield from check(context)
        except InfraError as error:
            yield Checked(name, Severity.BAD, error.what, error.hint)


def _python(_: Context) -> Iterator[Checked]:
    own = sys.prefix != sys.base_prefix
    found = f"{platform.python_version()} {f'in {sys.prefix}' if own else 'outside of a virtual environment'}"
    yield _checked("python", own, found, "`make setup` makes one", Severity.WARN)


def _packages(context: Context) -> Iterator[Checked]:
    missing = " ".join(missing_packages(deadline=context.deadline))
    found = f"missing: {missing}" if missing else "all Debian packages are installed"
    yield _checked("packages", not missing, found, "`runner doctor --fix` installs them")


def _qemu(context: Context) -> Iterator[Checked]:
    """Each starts its machine, with its firmware, and ends."""
    for arch in ARCHITECTURES.values():
        name = f"qemu {arch.name}"
        machine = ["-machine", arch.machine, "-cpu", arch.cpu, "-nodefaults", "-display", "none"]
        try:
            said = run([arch.qemu, "--version"], deadline=context.deadline).stdout
            run([arch.qemu, *machine, "-S", "-monitor", "stdio"], input=b"quit\n", deadline=context.deadline)
        except InfraError as error:
            yield Checked(name, Severity.BAD, error.what, error.hint or f"reinstall {arch.qemu_package}")
            continue
        version = re.search(r"version (\S+)", said)
        yield Checked(name, Severity.OK, f"{version[1] if version else 'unknown version'}, starts its machine")


def _kvm(context: Context) -> Iterator[Checked]:
    host = by_uname(platform.machine())
    finding = native_accel(deadline=context.deadline, cache=context.cache, refresh=True)
    works = finding.accel == "kvm"
    found = f"runs {host.name if host else ''} guests" if works else f"not used: {finding.why}"
    yield _checked("kvm", works, found, "guests are emulated (TCG), which is slower", Severity.WARN)


def _virtme_ng(context: Context) -> Iterator[Checked]:
    version = importlib.metadata.version("virtme-ng")
    run([virtme_tool("vng"), "--version"], deadline=context.deadline)
    yield Checked("virtme-ng", Severity.OK, version)


def _clang(context: Context) -> Iterator[Checked]:
    """Compile a program for both byte orders, with the headers that the real ones use."""
    headers = [
        f"-I/usr/include/{arch.multiarch}" for arch in ARCHITECTURES.values() if arch.uname == platform.machine()
    ]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program.o"
        for target, order in _TARGETS:
            argv = ["clang", f"--target={target}", "-O2", "-g", *headers, "-x", "c", "-", "-c", "-o", str(made)]
            run(argv, input=_BPF_SOURCE, deadline=context.deadline)
            machine = int.from_bytes(made.read_bytes()[18:20], order)
            if machine != _EM_BPF:
                raise InfraError(
                    f"clang --target={target} made no BPF object", hint="another clang comes first in PATH?"
                )
    said = run(["clang", "--version"], deadline=context.deadline).stdout.partition("\n")[0]
    yield Checked("clang", Severity.OK, f"compiles for BPF: {said}")


def _tools(_: Context) -> Iterator[Checked]:
    for tool, what in (
        ("apt-get", "fetches kernels, checks their signatures"),
        ("dpkg-deb", "unpacks kernels"),
        ("depmod", "orders their modules"),
        ("mmdebstrap", "makes images"),
        ("genext2fs", "writes their file system"),
        ("mke2fs", "makes the disk of a kernel's modules"),
        ("debugfs", "unpacks an image where a kernel cannot mount it"),
        ("qemu-img", "tells vng the format of a disk"),
    ):
        try:
            yield Checked(tool, Severity.OK, f"{require(tool)}: {what}")
        except InfraError as error:
            yield Checked(tool, Severity.BAD, error.what, _PACKAGES)


def _namespaces(context: Context) -> Iterator[Checked]:
    """As an ordinary user mmdebstrap works in a user namespace."""
    if os.geteuid() == 0:
        return
    done = run(["unshare", "--user", "--map-root-user", "true"], deadline=context.deadline, check=False)
    allowed = done.returncode == 0
    found = "allowed" if allowed else done.stderr.strip() or "not allowed"
    todo = "allow them (sysctl kernel.unprivileged_userns_clone=1; a chroot never has them), or make the images as root"
    yield _checked("user namespaces", allowed, found, todo)


def _keyring(_: Context) -> Iterator[Checked]:
    found = sorted(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"))
    yield _checked("keyring", found, str(found[0]) if found else "no keys of the Debian archive", _PACKAGES)


def _disk(context: Context) -> Iterator[Checked]:
    free = shutil.disk_usage(context.cache).free >> 20
    todo = f"the default matrix with empty caches needs {NEED_MIB} MiB"
    yield _checked("disk", free >= NEED_MIB, f"{free} MiB free in {context.cache}", todo, Severity.WARN)


def _capacity(context: Context) -> Iterator[Checked]:
    cpus, memory_mib = host_cpus(), host_memory_mib()
    native = native_accel(deadline=context.deadline, cache=context.cache).accel
    needed = context.guest.memory_mib
    yield _checked(
        "memory", memory_mib >= needed, f"{counted(cpus, 'core')}, {memory_mib} MiB free", f"a guest needs {needed} MiB"
    )
    for name, arch in ARCHITECTURES.items():
        accel = native if arch.uname == platform.machine() else "tcg"
        number = slots(cpus, memory_mib, context.guest, accel)
        yield Checked(f"slots {name}", Severity.OK, f"{counted(number, 'concurrent guest')}, {accel}")


CHECKS: dict[str, Check] = {
    "python": _python,
    "packages": _packages,
    "qemu": _qemu,
    "kvm": _kvm,
    "virtme-ng": _virtme_ng,
    "clang": _clang,
    "tools": _tools,
    "user namespaces": _namespaces,
    "keyring": _keyring,
    "disk": _disk,
    "memory": _capacity,
}


# --- Debian packages -----------------------------------------------------------------------------------------------


def missing_packages(*, deadline: Deadline) -> tuple[str, ...]:
    """The Debian packages that are not installed. Raises InfraError where there is no dpkg."""
    return tuple(run(["sh", PACKAGES_SCRIPT, "--missing"], deadline=deadline).stdout.split())


def install_missing(*, deadline: Deadline) -> None:
    """Install the missing Debian packages, as root or with sudo; what apt says goes to stderr.

    Raises InfraError when that is not allowed or fails; the line to run by hand has been printed then.
    """
    if run_in_sight(["sh", PACKAGES_SCRIPT], end_s=deadline.end_s, limit_s=deadline.remaining_s) != 0:
        raise InfraError("Debian packages are missing and were not installed", hint="what is needed stands above")
