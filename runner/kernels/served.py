# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that an HTTP server has in packages, by version: what such sources share, and the source `mainline`.

A text is `WORD:VERSIONS[/all]`: `6.6` is the newest 6.6.y, `v6.6` or `6.6.12` that one, `>=6.0` the newest of every
series, `>=6.0/all` every release. What a server says of itself only chooses: which files a kernel is made of is read
from something that is signed, and pinned by digest.

`mainline:6.6` are upstream's releases, built for Ubuntu. Their server, the one that virtme-ng's own `--run v6.6` uses,
has a folder for each version and in it one for each architecture, with packages and CHECKSUMS, signed in CHECKSUMS.gpg.
The names and digests of packages are taken from there alone. Its kernels are builds without patches; a build that
failed for an architecture is simply not there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from debian.debian_support import Version
from pydantic import Field

from runner.errors import InfraError, UserError
from runner.kernels.download import NotThere, WebServer, check_detached, server_from
from runner.kernels.fields import VersionsField, WhichField
from runner.kernels.source import KernelSource, Means, meant
from runner.model import Pin, PinnedFile, Wanted
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion, Versions, exactly

log = logging.getLogger(__name__)

OLDEST = KernelVersion(6, 0)  # lists begin here: kfuncs of TC and XDP programs came with it
_TRIED = 8  # of the kernels that would do, the newest so many are looked at: a build may have failed

KEYRING_VARIABLE = "RUNNER_MAINLINE_KEYRING"
UNCHECKED = "unchecked"  # instead of a keyring: signatures are not checked
_FINGERPRINT = "60AA7B6F30434AE68E569963E50C6A0917C622B0"  # Kernel PPA <kernel-ppa@canonical.com>
_FOLDER = re.compile(r"""href=["'](?:\./)?v(\d{1,3}\.\d{1,3}(?:\.\d{1,4})?(?:-rc\d{1,2})?)/["']""")
_OTHER_FLAVOUR = re.compile(r"generic-|lowlatency|-rt\b|-lpae\b|-\d+k\b")
_LONGEST_NAME = 128  # as model.SafeName has it
_SHA256_LINE = re.compile(r"^([0-9a-f]{64})\s+\*?(\S+\.deb)\s*$", re.MULTILINE)


class NotWholeError(Exception):
    """A version that the server names has no whole kernel; says why."""


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

    def download(self, pin: Pin, folder: Path, means: Means) -> Iterable[Path]:
        return self.at().pinned(pin.files, folder, deadline=means.deadline)


class MainlineSource(ServedSource):
    """Upstream's releases, as they are built for Ubuntu."""

    word: ClassVar[str] = "mainline"
    example: ClassVar[str] = "mainline:6.6, mainline:v6.0 or mainline:>=6.0"
    variable: ClassVar[str] = "RUNNER_MAINLINE"
    server: ClassVar[str] = "https://kernel.ubuntu.com/mainline"

    mainline: Annotated[VersionsField, Field(description='in quotes: "6.6" (the newest), "v6.6", or ">=6.0"')]

    @classmethod
    def known(cls, means: Means) -> Sequence[KernelVersion]:
        server = cls.at()
        page = server.text("", deadline=means.deadline).decode(errors="replace")
        found = {KernelVersion.parse(text) for text in _FOLDER.findall(page)}
        if not found:
            raise InfraError(f"{server.base}/ names no kernels", hint=f"{cls.variable} names another server")
        return sorted(found)

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Raises InfraError also when a signature is not good."""
        keyring, one = trusted_keys(), self._exact()
        known = (one,) if one else self.known(means)  # no list is needed for one version
        return self.first_whole(known, arch, lambda version: self._pin(version, arch, keyring, means))

    def _exact(self) -> KernelVersion | None:
        """The one version that is named, if it is one."""
        try:
            version = KernelVersion.parse(self.mainline.removeprefix("v"))
        except ValueError:
            return None
        return version if exactly(version) == self.mainline else None

    def _pin(self, version: KernelVersion, arch: str, keyring: Path | None, means: Means) -> Pin:
        debian, server = architecture(arch).debian, self.at()
        folder = f"v{version}/{debian}"
        try:
            checksums = _checksums(server, folder, keyring, means.deadline)
            release, digests = kernel_of(checksums, version, debian)
            files = [
                PinnedFile(
                    name=name,
                    sha256=digest,
                    size_bytes=server.size(f"{folder}/{name}", deadline=means.deadline),
                    where=f"{folder}/{name}",
                )
                for name, digest in digests.items()
            ]
        except NotThere as error:
            raise NotWholeError(error.what) from None
        return Pin(source=self.text, arch=arch, version=str(version), release=release, files=tuple(files))


def trusted_keys() -> Path | None:
    """The file of trusted keys; None where signatures are not to be checked. Raises InfraError when neither is said."""
    said = os.environ.get(KEYRING_VARIABLE, "")
    if said == UNCHECKED:
        log.warning("%s=%s: the signatures of mainline kernels are not checked", KEYRING_VARIABLE, UNCHECKED)
        return None
    if not said:
        raise InfraError(
            "no key is known to check the signatures of mainline kernels",
            hint=f"set {KEYRING_VARIABLE} to a file with the public key {_FINGERPRINT}, "
            f"or to `{UNCHECKED}` to skip the check; see docs/kernels.md",
        )
    return Path(said)


def _checksums(server: WebServer, folder: str, keyring: Path | None, deadline: Deadline) -> str:
    """The list of packages and digests. Raises NotThere; InfraError when it has no good signature of a trusted key."""
    place = f"{folder}/CHECKSUMS"
    content = server.text(place, deadline=deadline)
    if keyring:
        what = f"{server.base}/{place}"
        try:
            signature = server.text(f"{place}.gpg", deadline=deadline)
        except NotThere:
            raise InfraError(f"{what} has no signature", hint=f"{server.variable} names another server") from None
        key = check_detached(content, signature, keyring, what, deadline=deadline)
        log.info("%s is signed by %s", what, key)
    return content.decode(errors="replace")


def kernel_of(checksums: str, version: KernelVersion, debian_arch: str) -> tuple[str, dict[str, str]]:
    """(release, {package: sha256}) of the newest build of the generic flavour. Raises NotWholeError. Pure.

    The version is looked at in the names: an old list with a good signature must not pass for another version's. A
    server of one's own, with the same layout, need not call its kernels -060612-generic.
    """
    numbers = rf"{version.major}\.{version.minor}\.{version.patch}"
    candidate = rf"[0-9A-Za-z.+~-]*rc{version.rc}(?!\d)" if version.is_candidate else r"(?!\S*rc\d)"
    package = re.compile(
        rf"linux-(?P<part>image-unsigned|image|modules)-(?P<release>{numbers}(?!\d){candidate}[0-9A-Za-z.+~-]*)"
        rf"_(?P<build>[0-9A-Za-z.+~-]+)_{re.escape(debian_arch)}\.deb"
    )
    builds: dict[tuple[Version, str], dict[str, tuple[str, str]]] = {}
    for digest, path in _SHA256_LINE.findall(checksums):
        found = package.fullmatch(path.rpartition("/")[2])
        if found and len(found[0]) <= _LONGEST_NAME and not _OTHER_FLAVOUR.search(found["release"]):
            part = found["part"].removesuffix("-unsigned")
            builds.setdefault((Version(found["build"]), found["release"]), {})[part] = (found[0], digest)
    for (_, release), parts in sorted(builds.items(), reverse=True):
        if parts.keys() >= {"image", "modules"}:
            return release, dict(sorted(parts.values()))
    lacking = f"linux-{'modules' if any('image' in parts for parts in builds.values()) else 'image'}"
    raise NotWholeError(f"the list of its packages has no {lacking} of {version} for {debian_arch}")
