# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels and guest images: wanted by a matrix, pinned by the lock, unpacked in the cache."""

from __future__ import annotations

import operator
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from runner.model.version import KernelVersion, Vendor, vendor_of
from runner.model.words import Plain, SafeName, Sha256, SourceText

Which = Literal["newest-of-series", "all"]  # the kernels of a range
Share = Literal["9p", "virtiofs"]  # how a guest has folders of its host
DebName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]{1,63}$")]  # of a Debian package
# a container image: HOST/NAME:TAG, or a path; never a part of a shell's line
ImageText = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9/][A-Za-z0-9._/+:=@~-]{0,511})?$")]
Root = Literal["disk", Share]  # how a guest has its root: the image's disk, or its files in a folder of the host


SHARED = "shared-"  # begins the name of such a file in a payload; its content is then its path


class SharedFile(Plain):
    """A file of this machine, or a symbolic link, in a folder that a guest is shown."""

    source: str = ""  # its path here
    sha256: Sha256 | Literal[""] = ""
    mode: int = 0o644
    link: str = ""


# --- what is fixed before a run: matrix.lock ---------------------------------------------------------------------


class Package(Plain):
    """One binary package of a Debian archive."""

    name: SafeName
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+~:-]*$")]
    architecture: SafeName  # Debian's name, or `all`
    suite: SafeName
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]


class PinnedFile(Plain):
    """A file, or a set of files under one digest, of a kernel that is not made of a Debian archive's packages.

    `where` is for the source alone: what finds the file again below what the source was told to look at.
    """

    name: SafeName
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]
    where: Annotated[str, Field(max_length=1024, exclude_if=operator.not_)] = ""


class Pin(Plain):
    """A kernel that the matrix names, pinned by content: to exact packages, or to `files`, or to both."""

    source: SourceText  # as it is wanted; several pins have one source when that is a range
    arch: SafeName
    version: str  # upstream: 6.12.107
    release: SafeName | Literal[""]  # uname -r: 6.12.107+deb13-amd64; empty of a kernel that is only offered
    packages: tuple[Package, ...] = ()
    files: Annotated[tuple[PinnedFile, ...], Field(exclude_if=operator.not_)] = ()
    variant: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,32}$"), Field(exclude_if=operator.not_)] = ""

    @property
    def upstream(self) -> KernelVersion:
        return KernelVersion.parse(self.version)

    @property
    def vendor(self) -> Vendor:
        """By the release; an archive of Ubuntu's is Ubuntu's own word, and a tree is the user's own build."""
        word = self.source.partition(":")[0]
        found = vendor_of(self.release, built_by_user=word == "tree")
        return Vendor.UBUNTU if word == "ubuntu" and found is not Vendor.AZURE else found

    @property
    def judged_as(self) -> KernelVersion | None:
        """The upstream version whose fixes it has. None: a vendor's kernel, which has others than its version says."""
        return self.upstream if self.vendor.follows_upstream or not self.release else None

    @property
    def package_version(self) -> str:
        """Of a kernel in Debian's archive: 6.12.107-1, which names the build; else empty."""
        return self.packages[0].version if self.packages else ""

    @property
    def size_bytes(self) -> int:
        """Of what is to be fetched; 0 where that is not known before it is pinned."""
        return sum(one.size_bytes for one in self.packages) + sum(one.size_bytes for one in self.files)

    @property
    def digests(self) -> tuple[str, ...]:
        """What makes it this kernel: equal for one that another source has byte for byte."""
        return tuple(sorted([one.sha256 for one in self.packages] + [one.sha256 for one in self.files]))


class WantedImage(Plain):
    """A guest's root, as the matrix names it; matrix.lock pins it for each architecture."""

    suite: SafeName
    added: Annotated[tuple[DebName, ...], Field(exclude_if=operator.not_)] = ()  # packages besides those of every guest
    oci: Annotated[ImageText, Field(exclude_if=operator.not_)] = ""  # a container image, the root of commands

    @property
    def named(self) -> tuple[object, ...]:
        """What the matrix says of it: equal for a pin and for what was pinned."""
        return self.suite, self.added, self.oci

    def __str__(self) -> str:
        parts = [*self.added, *([f"oci:{self.oci}"] if self.oci else [])]
        return f"{self.suite} with {', '.join(parts)}" if parts else self.suite


class ImagePin(WantedImage):
    """The packages of a guest's root disk, and the digest of the container image's manifest."""

    arch: SafeName
    packages: tuple[Package, ...]
    files: Annotated[tuple[PinnedFile, ...], Field(max_length=1, exclude_if=operator.not_)] = ()

    @model_validator(mode="after")
    def _has_its_image(self) -> Self:
        if bool(self.oci) != bool(self.files):
            raise ValueError("a container image has a name and a digest")
        return self

    @property
    def system(self) -> ImagePin:
        """The root disk alone."""
        return ImagePin(suite=self.suite, added=self.added, arch=self.arch, packages=self.packages)


class Lock(Plain):
    """The document matrix.lock."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    kernels: tuple[Pin, ...] = ()
    images: tuple[ImagePin, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


# --- what lies in the cache ----------------------------------------------------------------------------------------


class Kernel(Plain):
    """A kernel in the store: verified, unpacked, ready to boot."""

    pin: Pin
    sha256: Sha256  # over the manifest: every file's path, size and digest
    root: PurePosixPath  # holds boot/ and lib/modules/RELEASE, depmod has run
    image: PurePosixPath  # what qemu boots
    config: PurePosixPath  # the kernel's .config


class Build(Plain):
    """One kernel image on one architecture, known by its digest. Fields are empty where nothing is known.

    What follows `arch` is what the kernel's own .config says about how it was built.
    """

    version: str = ""  # upstream: 6.12.107
    release: str = ""  # uname -r
    sha256: str = ""  # of the Kernel
    arch: str = ""
    compiler: str = ""
    pahole: str = ""  # which made its BTF
    lacks: tuple[str, ...] = ()  # options that the probes or the guest need, without CONFIG_

    @property
    def upstream(self) -> KernelVersion:
        """Raises ValueError when the version is not known."""
        return KernelVersion.parse(self.version)

    @property
    def vendor(self) -> Vendor:
        return vendor_of(self.release)

    @property
    def order(self) -> tuple[KernelVersion, str, str]:
        """Sorts the builds of one architecture, and tells them apart."""
        return (self.upstream, self.release, self.sha256)

    def __str__(self) -> str:
        return self.version


class Image(Plain):
    """A guest's root disk in the store, and the disk with the root of its commands: verified, read-only."""

    arch: SafeName
    sha256: Sha256  # of the disk, or of both
    disk: PurePosixPath
    container: PurePosixPath | None = None  # a disk with a container image
    busybox: PurePosixPath  # statically linked, alone in its folder: vng shares that folder with the guest


class BootFiles(Plain):
    """What qemu starts for a guest whose root is the image's disk."""

    about: PurePosixPath  # has the kernel's release, and is what vng is told to boot
    kernel: PurePosixPath  # what qemu starts
    initrd: PurePosixPath  # without its /init, and without what belongs to one guest alone
    modules: PurePosixPath  # a disk with /lib/modules/RELEASE
