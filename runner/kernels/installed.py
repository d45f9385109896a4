# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernels that are installed on this machine: `installed:all`, `installed:newest`, or `installed:RELEASE`.

They lie in /boot and /lib/modules, or whole in /usr/lib/modules/RELEASE. Nothing is changed there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field

from runner.errors import InfraError, UserError
from runner.kernels.fields import Matches
from runner.kernels.local import LocalSource, pin_of
from runner.kernels.source import Means
from runner.kernels.unpack import Parts, find_parts, releases_in
from runner.model import Pin, Wanted, Which

log = logging.getLogger(__name__)

ALL, NEWEST = "all", "newest"
ROOT = Path("/")
_RELEASE = r"(all|newest|[0-9][A-Za-z0-9._+~-]{0,100})"

Release = Annotated[str, Matches("a release", _RELEASE, 'like "6.1.0-56-amd64" (`uname -r`), or all, or newest')]


class InstalledSource(LocalSource):
    """Kernels that are installed on this machine."""

    word: ClassVar[str] = "installed"
    example: ClassVar[str] = "installed:newest, installed:all"

    installed: Annotated[Release, Field(description="a release, as `uname -r` has it; or newest; or all")]

    @property
    def default_name(self) -> str:
        chosen = self.installed in {ALL, NEWEST}
        return self.word if chosen else re.sub(r"[^A-Za-z0-9._-]", "-", self.installed)[:64]

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which: Which | None = "all" if self.installed == ALL else None
        yield Wanted(name=self.called, source=self.text, arch=arch, which=which)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:  # noqa: ARG003
        """Every one that is whole."""
        return super().offers([cls(installed=parts.release) for parts in _whole()], archs, means)

    def kernels(self) -> Sequence[Parts]:
        """Every one that is whole where the text is no release."""
        return [parts for parts in _whole() if self.installed in {ALL, NEWEST, parts.release}]

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:  # noqa: ARG002
        """Raises UserError, naming what there is, when it is not installed."""
        there = self.kernels()
        if self.installed in {ALL, NEWEST}:
            there = [parts for parts in there if parts.architecture() == arch]
        found = [pin_of(self.text, arch, parts) for parts in there]
        if not found:
            names = ", ".join(f"{parts.release} ({parts.architecture() or 'unknown'})" for parts in _whole())
            raise UserError(
                f"{self.text}: no such kernel for {arch} is installed on this machine",
                hint=f"there are {names}" if names else f"there is none with its modules below {ROOT}",
            )
        return [max(found, key=lambda pin: (pin.upstream, pin.release))] if self.installed == NEWEST else found


def _whole() -> tuple[Parts, ...]:
    found = []
    for release in releases_in(ROOT):
        try:
            found.append(find_parts(ROOT, release))
        except InfraError as error:
            log.info("the installed kernel %s is left out: %s", release, error.what)
    return tuple(found)
