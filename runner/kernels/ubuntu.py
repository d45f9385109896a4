# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels from Ubuntu's archive: `ubuntu:SUITE/VERSIONS[/all][/FLAVOUR]`.

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

from runner.kernels.apt import GENERIC, POCKETS, VERSION, FlavouredKernels
from runner.kernels.aptroot import Repository
from runner.kernels.archive import Archive
from runner.kernels.download import server_from
from runner.kernels.fields import Name
from runner.kernels.source import Means
from runner.model import Pin

KEYRING_VARIABLE = "RUNNER_UBUNTU_KEYRING"
_KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
_SERVERS = {"x86_64": "http://archive.ubuntu.com/ubuntu"}
_PORTS = "http://ports.ubuntu.com/ubuntu-ports"  # has all other architectures
_LISTED = ("jammy", "noble")


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
        return () if "-" in self.ubuntu else tuple(self.ubuntu + pocket for pocket in POCKETS)

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
