"""What a machine says of itself to one that wants to use it."""

from __future__ import annotations

import hashlib
import platform
import shutil
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from runner import __version__
from runner.caches import cache_root
from runner.doctor import missing_packages
from runner.guest.accel import accelerations, host_cpus, host_memory_mib
from runner.guest.interface import Accel
from runner.model import Plain, SafeName
from runner.model.architecture import ARCHITECTURES
from runner.model.deadline import Deadline

_PACKAGE = Path(__file__).parents[1]


class HostFacts(Plain):
    """The document that `runner host describe` prints. `accel` holds the architectures whose guests run there."""

    runner_version: SafeName
    code_sha256: str
    node: str
    machine: str
    cpus: Annotated[int, Field(ge=1)]
    memory_mib: Annotated[int, Field(ge=0)]
    accel: dict[str, Accel]
    missing: tuple[str, ...]  # Debian packages


@cache
def code_sha256() -> str:
    """Over every file of this program: the same version and the same digest are the same code."""
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(_PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def this_machine(*, deadline: Deadline) -> HostFacts:
    """InfraError when something that must be there is not."""
    found = accelerations(deadline, cache=cache_root()) if _has_qemu(platform.machine()) else {}
    return HostFacts(
        runner_version=__version__,
        code_sha256=code_sha256(),
        node=platform.node(),
        machine=platform.machine(),
        cpus=host_cpus(),
        memory_mib=host_memory_mib(),
        accel={name: found.get(name, "tcg") for name, row in ARCHITECTURES.items() if shutil.which(row.qemu)},
        missing=missing_packages(deadline=deadline),
    )


def _has_qemu(machine: str) -> bool:
    return any(row.uname == machine and shutil.which(row.qemu) for row in ARCHITECTURES.values())
