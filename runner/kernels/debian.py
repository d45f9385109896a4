# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels from Debian's and Ubuntu's archives: `debian:SUITE/VERSIONS[/all][/FLAVOUR]`, and `ubuntu:` likewise.

`debian:trixie/6.12` is the newest 6.12.y of the suite, `debian:trixie/6.12.117` that one, `debian:trixie/6.12/rt` that
of another flavour, `debian:sid/>=6.12` the newest of each series from there on, `debian:sid/>=6.12/all` every one. A
package's version is another way to name one.

`ubuntu:noble/6.8` is the newest 6.8.0 of the suite, its updates and its security updates, `ubuntu:noble/6.8.0-50` that
one, `ubuntu:noble/6.11` an HWE kernel, `ubuntu:noble/6.8/aws` that of another flavour. Ubuntu's keys come from a
package of Debian's archive, and so with Debian's signature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field

from runner.kernels.apt import GENERIC, VERSION, AptKernels
from runner.kernels.aptroot import Repository
from runner.kernels.archive import SUITES, Archive
from runner.kernels.download import server_from
from runner.kernels.fields import Name, OneOf
from runner.kernels.source import Means
from runner.model import Pin, Wanted
from runner.model.architecture import ARCHITECTURES, architecture

_POCKETS = ("-updates", "-security")  # of a stable suite: a kernel of theirs is a kernel of the suite
# Where each is built.
_SIZES = sorted({size for row in ARCHITECTURES.values() for size in row.pages_kib if size != 4})
FLAVOURS: dict[str, tuple[str, ...]] = {
    GENERIC: tuple(ARCHITECTURES),
    "rt": ("x86_64", "arm64"),
    "cloud": ("x86_64", "arm64"),
    **{f"{size}k": tuple(row.name for row in ARCHITECTURES.values() if size in row.pages_kib) for size in _SIZES},
}

Suite = Annotated[str, OneOf("suite", SUITES)]
Flavour = Annotated[str, OneOf("flavour", FLAVOURS)]

KEYRING_VARIABLE = "RUNNER_UBUNTU_KEYRING"
_KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
_SERVERS = {"x86_64": "http://archive.ubuntu.com/ubuntu"}
_PORTS = "http://ports.ubuntu.com/ubuntu-ports"  # has all other architectures
_LISTED = ("jammy", "noble")


class FlavouredKernels(AptKernels):
    """Kernels of a distribution in several flavours: `WORD:SUITE/VERSIONS[/all][/FLAVOUR]`.

    The field that `word` names holds the suite; a subclass says which `flavours` there are.
    """

    flavours: tuple[str, ...]

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        suite, _, rest = rest.partition("/")
        versions, *words = rest.split("/")
        fields: dict[str, object] = {cls.word: suite, "versions" if versions[:1] in {"<", ">"} else "series": versions}
        if words[:1] == ["all"]:
            fields["which"] = words.pop(0)
        if len(words) > 1:
            raise ValueError(f"after the versions {'/'.join(words)!r}, which is no flavour")
        return fields | ({"flavours": tuple(words)} if words else {})

    @property
    def text(self) -> str:
        """With one flavour, as it is what a text names."""
        words = [self.exactly(self.suites[0], self.chosen, ""), "all" if self.which == "all" else None]
        return "/".join(filter(None, (*words, *(flavour for flavour in self.flavours if flavour != GENERIC))))

    @property
    def suites(self) -> tuple[str, ...]:
        return (getattr(self, self.word),)

    @property
    def variant(self) -> str:
        (flavour,) = self.flavours
        return "" if flavour == GENERIC else flavour

    def exactly(self, suite: str, version: str, variant: str) -> str:
        return "/".join(filter(None, (f"{self.word}:{suite}", version, variant)))

    def built(self, flavour: str, arch: str) -> bool:  # noqa: ARG002  what is not known is seen in the lists
        """Is there such a flavour for an architecture?"""
        return True

    def wanted(self, arch: str) -> Iterator[Wanted]:
        """One for each flavour."""
        for flavour in self.flavours:
            if self.built(flavour, arch):
                name = self.called if flavour == GENERIC else f"{self.called}-{flavour}"
                one = self.model_copy(update={"flavours": (flavour,), "name": name})
                yield from super(FlavouredKernels, one).wanted(arch)


class DebianSource(FlavouredKernels):
    """Kernels of a Debian suite: the newest build of a series, one version, or a range of them."""

    word: ClassVar[str] = "debian"
    example: ClassVar[str] = "debian:trixie/6.12"

    debian: Annotated[Suite, Field(description="Debian suite whose packages are used")]
    flavours: Annotated[
        tuple[Flavour, ...], Field(min_length=1, description="builds of it, each where the suite has one")
    ] = (GENERIC,)

    @property
    def default_name(self) -> str:
        return self.series or self.debian

    @property
    def pockets(self) -> tuple[str, ...]:
        return tuple(self.debian + pocket for pocket in _POCKETS if self.debian + pocket in SUITES)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:  # noqa: ARG003
        """Every whole kernel of every suite. Raises InfraError when the lists cannot be had."""
        return ANY.kernels(SUITES, archs, means)

    def archive(self, arch: str, means: Means) -> Archive:  # noqa: ARG002  one for all of them
        return means.archive

    def built(self, flavour: str, arch: str) -> bool:
        return arch in FLAVOURS[flavour]

    def image(self, name: str, arch: str) -> tuple[str, str]:
        """6.12.117+deb13-rt-amd64, ...-arm64-16k."""
        flavours = [flavour for flavour, archs in FLAVOURS.items() if arch in archs and flavour != GENERIC]
        before = "|".join(flavours) or "-"
        found = re.fullmatch(
            rf"linux-image-(?P<release>{VERSION}"
            rf"(?:-(?P<before>{before}))?-{architecture(arch).flavour}(?:-(?P<after>{before}))?)",
            name,
        )
        return (found["release"], found["before"] or found["after"] or GENERIC) if found else ("", "")


ANY = DebianSource(debian="sid", versions=">=1")  # for what is the same of all suites


class UbuntuSource(FlavouredKernels):
    """Kernels of an Ubuntu suite: the newest build of a series, one version, or a range of them."""

    word: ClassVar[str] = "ubuntu"
    example: ClassVar[str] = "ubuntu:noble/6.8, ubuntu:noble/6.8/aws"
    variable: ClassVar[str] = "RUNNER_UBUNTU"

    ubuntu: Annotated[Name, Field(description="Ubuntu suite whose packages are used")]
    flavours: Annotated[
        tuple[Name, ...], Field(min_length=1, description="generic, lowlatency, aws, azure, gcp, ...")
    ] = (GENERIC,)

    @property
    def pockets(self) -> tuple[str, ...]:
        return () if "-" in self.ubuntu else tuple(self.ubuntu + pocket for pocket in _POCKETS)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:
        """Every whole kernel of the suites that are named, else of some. Raises InfraError."""
        for suite in dict.fromkeys([source.ubuntu for source in named] or _LISTED):
            every = cls(ubuntu=suite, versions=">=1")
            yield from every.kernels((*every.suites, *every.pockets), archs, means)

    def archive(self, arch: str, means: Means) -> Archive:
        server = server_from(self.variable, _SERVERS.get(arch, _PORTS))
        if named := os.environ.get(KEYRING_VARIABLE):
            keyring = Path(named)
        else:
            keyring = means.archive.unpacked("ubuntu-keyring", _KEYRING, arch, deadline=means.deadline)
        return means.archive.at(Repository(server.base, ("main",), keyring, variable=self.variable))

    def image(self, name: str, arch: str) -> tuple[str, str]:  # noqa: ARG002  not in the name
        """6.8.0-50-generic, in linux-image-RELEASE or linux-image-unsigned-RELEASE."""
        found = re.fullmatch(rf"linux-image-(?:unsigned-)?({VERSION}-([a-z][a-z0-9-]*))", name)
        return (found[1], found[2]) if found else ("", "")
