# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels from Debian's archive: `debian:SUITE/VERSIONS[/all][/FLAVOUR]`, or with one package's version for VERSIONS.

`debian:trixie/6.12` is the newest 6.12.y of the suite, `debian:trixie/6.12.117` that one, `debian:trixie/6.12/rt` that
of another flavour, `debian:sid/>=6.12` the newest of each series from there on, `debian:sid/>=6.12/all` every one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field

from runner.kernels.apt import GENERIC, POCKETS, VERSION, FlavouredKernels
from runner.kernels.archive import Archive
from runner.kernels.fields import OneOf
from runner.kernels.mirrors import SUITES
from runner.kernels.source import Means
from runner.model import Pin
from runner.model.architecture import ARCHITECTURES, architecture

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
        return tuple(self.debian + pocket for pocket in POCKETS if self.debian + pocket in SUITES)

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
