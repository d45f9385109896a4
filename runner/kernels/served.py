# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that an HTTP server has in packages, by version: what the sources `mainline` and `snapshot` share.

A text is `WORD:VERSIONS[/all]`: `6.6` is the newest 6.6.y, `v6.6` or `6.6.12` that one, `>=6.0` the newest of every
series, `>=6.0/all` every release. What a server says of itself only chooses: which files a kernel is made of is read
from something that is signed, and pinned by digest.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from runner.errors import UserError
from runner.kernels.download import WebServer, server_from
from runner.kernels.fields import WhichField, quoted
from runner.kernels.source import KernelSource, Means, meant
from runner.kernels.unpack import unpack_packages
from runner.model import Pin, Wanted
from runner.model.version import KernelVersion, Versions, exactly

log = logging.getLogger(__name__)

OLDEST = KernelVersion(6, 0)  # lists begin here: kfuncs of TC and XDP programs came with it
_TRIED = 8  # of the kernels that would do, the newest so many are looked at: a build may have failed
_HOW = 'a stable series like "6.6" (its newest), one version like "v6.6" or "6.6.12", or a range like ">=6.0"'


class NotWholeError(Exception):
    """A version that the server names has no whole kernel; says why."""


def _understood(text: str) -> str:
    try:
        Versions.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {_HOW}") from None
    return text


VersionsField = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(_understood),
    WithJsonSchema({"type": "string", "pattern": r"^[v0-9<>=][0-9a-z.,<>=~-]*$"}),
]


class ServedSource(KernelSource):
    """Kernels by version. The field that `word` names holds the versions."""

    server: ClassVar[str]  # its address, unless `variable` names another

    which: WhichField = None

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        found = re.fullmatch(r"([^/]*)(/all)?", rest)
        return {cls.word: found[1] if found else rest, "which": "all" if found and found[2] else None}

    @property
    def text(self) -> str:
        return super().text + ("/all" if self.which == "all" else "")

    @property
    def default_name(self) -> str:
        return self.word if self.versions.is_range else f"{self.word}-{self.versions}"

    @property
    def versions(self) -> Versions:
        return Versions.parse(getattr(self, self.word))

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which = (self.which or "newest-of-series") if self.versions.is_range else None
        yield Wanted(name=self.called, source=self.text, arch=arch, which=which)

    @classmethod
    def at(cls) -> WebServer:
        return server_from(cls.variable, cls.server)

    @classmethod
    def known(cls, means: Means) -> Iterable[KernelVersion]:
        """The versions that the server names, the oldest first."""
        raise NotImplementedError

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:  # noqa: ARG003
        """Those versions. What of them is there for an architecture is seen when one is pinned."""
        for version in cls.known(means):
            if version >= OLDEST:
                for arch in archs:
                    yield Pin(source=f"{cls.word}:{exactly(version)}", arch=arch, version=str(version), release="")

    def first_whole(
        self, known: Sequence[KernelVersion], arch: str, pin: Callable[[KernelVersion], Pin]
    ) -> tuple[Pin, ...]:
        """Of the versions that would do for each kernel that is meant the newest for which there is a whole one.

        Raises UserError when there is none, or none was meant.
        """
        found: list[Pin] = []
        faults: list[str] = []
        for group in meant(known, self.versions, self.which, lambda version: version):
            for version in group[:_TRIED]:
                try:
                    found.append(pin(version))
                    break
                except NotWholeError as fault:
                    faults.append(f"{version}: {fault}")
                    log.info("%s: %s for %s", self.text, faults[-1], arch)
            else:
                log.warning("%s: left out, as there is no whole kernel for %s: %s", self.text, arch, faults[-1])
        if not found:
            raise UserError(
                f"{self.text}: no kernel for {arch}", hint="; ".join(faults[-3:]) or "the server names no such version"
            )
        return tuple(found)

    def lost(self, pin: Pin, means: Means) -> str:
        """Which of its files the server no longer has."""
        return self.at().lost(pin.files, deadline=means.deadline)

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Download the packages, each checked against its digest in the lock, and unpack them."""
        server = self.at()
        unpack_packages(
            pin, tree, lambda folder: server.pinned(pin.files, folder, deadline=means.deadline), deadline=means.deadline
        )
