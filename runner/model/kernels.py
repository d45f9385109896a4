"""Kernels and guest images: wanted by a matrix, pinned by the lock, unpacked in the cache."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from runner.model.words import KernelSource, Plain, SafeName, Sha256
from runner.version import KernelVersion

# --- what the user wants: from matrix.yaml ---------------------------------------------------------------------------


class Wanted(Plain):
    """A kernel on an architecture, as the matrix names it; matrix.lock pins it to exact packages."""

    name: SafeName  # the kernel's name in the matrix
    source: KernelSource
    arch: SafeName


# --- what is fixed before a run: matrix.lock ---------------------------------------------------------------------


class Package(Plain):
    """One binary package of a Debian archive."""

    name: SafeName
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:-]*$")]
    architecture: SafeName  # Debian's name, or `all`
    suite: SafeName
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]


class LockedKernel(Plain):
    """A kernel that the matrix names, pinned to exact packages."""

    source: KernelSource
    arch: SafeName
    version: str  # upstream: 6.12.107
    release: SafeName  # uname -r: 6.12.107+deb13-amd64
    packages: tuple[Package, ...]

    @property
    def upstream(self) -> KernelVersion:
        return KernelVersion.parse(self.version)


class LockedImage(Plain):
    """The packages of a guest's root disk."""

    suite: SafeName
    arch: SafeName
    packages: tuple[Package, ...]


class Lock(Plain):
    """The document matrix.lock."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    kernels: tuple[LockedKernel, ...] = ()
    images: tuple[LockedImage, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


# --- what lies in the cache ----------------------------------------------------------------------------------------


class Kernel(Plain):
    """A kernel in the store: verified, unpacked, ready to boot."""

    locked: LockedKernel
    sha256: Sha256  # over the manifest: every file's path, size and digest
    root: PurePosixPath  # holds boot/ and lib/modules/RELEASE, depmod has run
    image: PurePosixPath  # what qemu boots
    config: PurePosixPath  # the kernel's .config


class Image(Plain):
    """A guest's root disk in the store: verified, read-only."""

    arch: SafeName
    sha256: Sha256  # of the disk
    disk: PurePosixPath
    busybox: PurePosixPath  # statically linked, alone in its folder: vng shares that folder with the guest
