# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Upstream's releases, built for Ubuntu: `mainline:6.6`, `mainline:v6.0`, `mainline:>=6.0`.

The server, the one that virtme-ng's own `--run v6.6` uses, has a folder for each version and in it one for each
architecture, with packages and CHECKSUMS, signed in CHECKSUMS.gpg. The names and digests of packages are taken from
there alone. Its kernels are builds without patches; a build that failed for an architecture is simply not there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from debian.debian_support import Version
from pydantic import Field

from runner.errors import InfraError
from runner.kernels.download import NotThere, WebServer
from runner.kernels.openpgp import check_detached
from runner.kernels.served import NotWholeError, ServedSource, VersionsField
from runner.kernels.source import Means
from runner.model import Pin, PinnedFile
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion, exactly

log = logging.getLogger(__name__)

KEYRING_VARIABLE = "RUNNER_MAINLINE_KEYRING"
UNCHECKED = "unchecked"  # instead of a keyring: signatures are not checked
_FINGERPRINT = "60AA7B6F30434AE68E569963E50C6A0917C622B0"  # Kernel PPA <kernel-ppa@canonical.com>
_FOLDER = re.compile(r"""href=["'](?:\./)?v(\d{1,3}\.\d{1,3}(?:\.\d{1,4})?(?:-rc\d{1,2})?)/["']""")
_OTHER_FLAVOUR = re.compile(r"generic-|lowlatency|-rt\b|-lpae\b|-\d+k\b")
_LONGEST_NAME = 128  # as model.SafeName has it
_SHA256_LINE = re.compile(r"^([0-9a-f]{64})\s+\*?(\S+\.deb)\s*$", re.MULTILINE)


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


def trusted_keys(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file of trusted keys; None where signatures are not to be checked. Raises InfraError when neither is said."""
    said = environ.get(KEYRING_VARIABLE, "")
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
