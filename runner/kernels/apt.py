# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in archives of Debian packages, through apt: what the sources of such archives share, and any such archive.

As a text: `apt:URI?suites=A,B&components=main&keyring=FILE&package=PATTERN&series=6.8`. A kernel is the package of its
image with those of the same release that it depends on, and the further modules of that release where there are any.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Self

from debian.debian_support import Version
from pydantic import Field

from runner.errors import InfraError
from runner.kernels.aptroot import Repository
from runner.kernels.archive import Archive, Listed
from runner.kernels.fields import AbsolutePath, Matches, Names
from runner.kernels.source import Means, PackagedSource
from runner.model import Package, Pin, Plain
from runner.model.version import KernelVersion

log = logging.getLogger(__name__)

GENERIC = "generic"
VERSION = r"\d[0-9a-z.+~]*(?:-\d[0-9a-z.+~]*|-rc\d+)*"  # in the name of an image's package
_URI = r"(https?://|file:/|copy:/)[A-Za-z0-9._~%+=:@/-]{1,200}"
_LEADING = re.compile(r"\d{1,5}\.\d{1,5}(?:\.\d{1,5})?(?:[-~]rc\d{1,3})?(?![\d.])", re.ASCII)
_PATTERN = r"[a-z][a-z0-9.+-]*\*[a-z0-9.+-]{0,60}"

Uri = Annotated[str, Matches("the address of an archive", _URI, "like https://deb.example.org/debian")]
PackagePattern = Annotated[str, Matches("a pattern", _PATTERN, "like linux-image-*-generic, where * is the version")]


class AptKernels(PackagedSource):
    """Kernels of an archive of Debian packages. A subclass says of which, and which packages hold their images."""

    @property
    def default_name(self) -> str:
        return "-".join(filter(None, (self.suites[0], self.series)))

    @property
    def suites(self) -> tuple[str, ...]:
        raise NotImplementedError

    @property
    def pockets(self) -> tuple[str, ...]:
        """Suites whose kernels are meant as well, as far as the server has them."""
        return ()

    @property
    def variant(self) -> str:
        """The flavour that is meant, as a pin has it."""
        return ""

    def archive(self, arch: str, means: Means) -> Archive:
        """The archive with the packages of an architecture. Raises InfraError when its keys cannot be had."""
        raise NotImplementedError

    def image(self, name: str, arch: str) -> tuple[str, str]:
        """(release, flavour) of the kernel whose image is in the package `name`; empty of another package."""
        raise NotImplementedError

    def exactly(self, suite: str, version: str, variant: str) -> str:
        """The text that means one build alone."""
        raise NotImplementedError

    def kernels(self, suites: Sequence[str], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:
        """Every whole kernel of these suites. Raises InfraError."""
        found: list[Pin] = []
        for arch in archs:
            archive = self.archive(arch, means)
            archive.update([(suite, arch) for suite in suites], deadline=means.deadline)
            with ThreadPoolExecutor(2) as pool:
                lists = pool.map(partial(archive.kernel_packages, arch=arch, deadline=means.deadline), suites)
                for suite, listed in zip(suites, lists, strict=True):
                    found += self.kernels_of(listed, suite, arch)
        return tuple(found)

    def kernels_of(self, listed: Iterable[Listed], suite: str, arch: str) -> tuple[Pin, ...]:
        """The kernels that the packages of one list make up. Pure.

        Some kernels stay in the lists when their modules have left the archive; those cannot boot and are left out.
        """
        packages = sorted(listed, key=lambda entry: (Version(entry.package.version), entry.package.name))
        known = {(entry.package.name, version): entry for entry in packages for version in ("", entry.package.version)}
        found: dict[tuple[str, str], Pin] = {}
        for entry in packages:
            name, build = entry.package.name, entry.package.version
            release, flavour = self.image(name, arch)
            parts = _parts(entry, release, known) if release else ()
            version = _upstream(build, release)
            if not parts or not version or ("-unsigned" in name and (release, build) in found):
                continue
            variant = "" if flavour == GENERIC else flavour
            found[release, build] = Pin(
                source=self.exactly(suite, build, variant),
                arch=arch,
                version=str(version),
                release=release,
                packages=parts,
                variant=variant,
            )
        return tuple(found.values())

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Raises UserError, naming what there is, when there is nothing."""
        found = list(self.kernels(self.suites, (arch,), means))
        for pocket in self.pockets:
            try:
                found += self.kernels((pocket,), (arch,), means)
            except InfraError as error:  # the suite itself was reached: this mirror has no such pocket
                log.warning("%s is not searched for newer kernels: %s", pocket, error.what)
        searched = (*self.suites, *self.pockets)
        have = "have" if len(searched) > 1 else "has"
        none = f"{' and '.join(searched)} {have} no {self.variant} kernel {self.chosen} for {arch}".replace("  ", " ")
        mine = [pin for pin in found if pin.variant == self.variant]
        return self.select(mine, lambda pin: pin.package_version, none)

    def lost(self, pin: Pin, means: Means) -> str:
        """Which of its packages the archive no longer has."""
        gone = self.archive(pin.arch, means).lacks(pin.packages, pin.arch, deadline=means.deadline)
        names = sorted({f"{package.name} {package.version}" for package in gone})
        return f"{', '.join(names)} left the archive" if names else ""

    def download(self, pin: Pin, folder: Path, means: Means) -> Iterable[Path]:
        """Checked by apt too."""
        archive = self.archive(pin.arch, means)
        return archive.download(pin.packages, pin.arch, folder, deadline=means.deadline).values()


class AptArchive(Plain):
    """An archive of Debian packages."""

    uri: Annotated[Uri, Field(description="as in sources.list")]
    suites: Annotated[Names, Field(description="as in sources.list")]
    components: Annotated[Names, Field(description="as in sources.list")] = ("main",)
    keyring: Annotated[AbsolutePath, Field(description="file with the keys that may sign the archive")]
    package: Annotated[PackagePattern, Field(description="which packages hold images, such as linux-image-*-generic")]


class AptSource(AptKernels):
    """Kernels of any archive of Debian packages."""

    word: ClassVar[str] = "apt"
    example: ClassVar[str] = (
        "apt:http://deb.example.org/debian?suites=sid&keyring=/srv/key.gpg&package=linux-image-*-amd64&series=6.12"
    )

    apt: Annotated[AptArchive, Field(description="the archive, and which of its packages hold kernels' images")]

    @property
    def suites(self) -> tuple[str, ...]:
        return self.apt.suites

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:
        """Every whole kernel of the archives that are named. Raises InfraError when a list cannot be had."""
        for source in named:
            yield from source.kernels(source.suites, archs, means)

    def archive(self, arch: str, means: Means) -> Archive:  # noqa: ARG002  one for all of them
        return means.archive.at(Repository(self.apt.uri, self.apt.components, Path(self.apt.keyring)))

    def image(self, name: str, arch: str) -> tuple[str, str]:  # noqa: ARG002  the pattern says it
        before, after = map(re.escape, re.sub(r"-(un)?signed$", "", self.apt.package).split("*"))
        found = re.fullmatch(rf"{before}(?:unsigned-)?({VERSION}{after})(?:-(?:un)?signed)?", name)
        return (found[1], GENERIC) if found else ("", "")

    def exactly(self, suite: str, version: str, variant: str) -> str:  # noqa: ARG002  there is one flavour
        return self.only(version)


def _parts(entry: Listed, release: str, known: Mapping[tuple[str, str], Listed]) -> tuple[Package, ...]:
    """The package and what it depends on of the same release; empty where a needed one is gone, or it is no image.

    `known` has the packages by name and version, and the newest by name alone. Where the image's package holds the
    modules itself, linux-base-RELEASE (Debian's 6.18) only adds scripts: not needed. linux-image-6.12-amd64 holds
    nothing, and depends on the newest linux-image-6.12.117+deb13-amd64.
    """
    if any(name.startswith("linux-image-") for name, _ in entry.depends):
        return ()
    split = any(name.startswith("linux-modules-") for name, _ in entry.depends)
    found: dict[str, Package] = {}
    queue = [entry]
    while queue:
        here = queue.pop()
        found[here.package.name] = here.package
        for name, version in here.depends:
            if release not in name or name in found:
                continue
            if part := known.get((name, version)):
                queue.append(part)
            elif split:
                return ()
    if extra := known.get((f"linux-modules-extra-{release}", "")):  # Ubuntu's; it depends on the image
        found[extra.package.name] = extra.package
    first = found.pop(entry.package.name)
    return (first, *sorted(found.values(), key=lambda package: package.name))


def upstream_of(text: str) -> KernelVersion | None:
    """The version that a package's begins with: 6.12.117-1~bpo13+1 is 6.12.117, 7.3~rc7-1~exp1 is 7.3-rc7."""
    found = _LEADING.match(Version(text).upstream_version or "")
    return KernelVersion.parse(found[0]) if found else None


def _upstream(build: str, release: str) -> KernelVersion | None:
    """Of a kernel: Debian's release 6.1.0-56 is 6.1.192, as its package says; a package may count by itself instead."""
    said, leading = upstream_of(build), _LEADING.match(release)
    of_release = KernelVersion.parse(leading[0]) if leading else None
    return said if said and of_release and said.series == of_release.series else of_release
