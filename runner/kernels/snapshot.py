# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that Debian ever had: `snapshot:6.5.10`, `snapshot:6.5`, `snapshot:>=6.0`.

Debian's snapshot archive keeps every package ever uploaded, and says as JSON which there are and when each was first
seen. It signs nothing of that, so it only tells where to look: the packages and their digests are taken from the
archive's own lists of that day, which Debian signed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from debian.debian_support import Version
from pydantic import BaseModel, Field, ValidationError

from runner.errors import InfraError, first_of
from runner.kernels.apt import GENERIC, upstream_of
from runner.kernels.aptroot import kernel_stanzas, paragraphs
from runner.kernels.archive import KEYRING, listed
from runner.kernels.config import decompressed
from runner.kernels.debian import ANY
from runner.kernels.download import NotThere, WebServer, signed_text
from runner.kernels.fields import VersionsField
from runner.kernels.served import NotWholeError, ServedSource
from runner.kernels.source import Means
from runner.model import Package, Pin, PinnedFile
from runner.model.architecture import architecture
from runner.model.version import KernelVersion
from runner.store import write_atomically

KEYRING_VARIABLE = "RUNNER_SNAPSHOT_KEYRING"  # where Debian has retired the key that signed an old list
_LIST_LIMIT = 96 << 20  # bytes, compressed; sid's has 12 MB
_ENDINGS = (".xz", ".gz")
_ARCHIVES = ("debian-security", "debian")  # whose lists are signed by Debian's keys; the smaller one first
_FORMAT = "%Y%m%dT%H%M%SZ"
_LATER = timedelta(hours=12)
_PACKAGE_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~:-]{0,100}")
_PATH = re.compile(r"pool/[A-Za-z0-9._+~/-]+\.deb")
# Codenames by Debian's version number, the oldest that had a kernel 6.x first.
_CODENAMES = {11: "bullseye", 12: "bookworm", 13: "trixie", 14: "forky"}


# What the server says; of anything else that it says nothing is read.


class _Seen(BaseModel):
    archive_name: str
    first_seen: str


class _Entry(BaseModel):
    """A package, a version of one, or a file."""

    name: str = ""
    version: str = ""
    hash: str = ""
    architecture: str = ""


class _Answer(BaseModel):
    result: tuple[_Entry, ...]
    fileinfo: dict[str, tuple[_Seen, ...]] = {}  # of a file, by its hash


class ArchiveDay(NamedTuple):
    """Where and when the archive had a package."""

    archive: str
    timestamp: str


class SnapshotSource(ServedSource):
    """Every kernel that Debian ever had."""

    word: ClassVar[str] = "snapshot"
    example: ClassVar[str] = "snapshot:6.6, snapshot:v6.0 or snapshot:>=6.0"
    variable: ClassVar[str] = "RUNNER_SNAPSHOT"
    server: ClassVar[str] = "https://snapshot.debian.org"

    snapshot: Annotated[VersionsField, Field(description='in quotes: "6.5.10", "6.5" (the newest), or ">=6.0"')]

    @classmethod
    def known(cls, means: Means) -> dict[KernelVersion, list[str]]:
        """With Debian's versions of each, the newest first: 6.5.10-1, 6.5.10-1~bpo12+1."""
        answer = _asked(cls.at(), "mr/package/linux/", means)
        found: dict[KernelVersion, list[str]] = {}
        for text in {one.version for one in answer.result if _PACKAGE_VERSION.fullmatch(one.version)}:
            if version := upstream_of(text):
                found.setdefault(version, []).append(text)
        return {version: sorted(builds, key=Version, reverse=True) for version, builds in sorted(found.items())}

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Raises InfraError also when a signature is not good."""
        builds = self.known(means)
        return self.first_whole(tuple(builds), arch, lambda version: self._newest(builds[version], arch, means))

    def _newest(self, builds: Iterable[str], arch: str, means: Means) -> Pin:
        """The newest of these builds that is whole. Raises NotWholeError when none is."""
        faults = []
        for build in builds:
            try:
                return self._pin(build, arch, means)
            except NotWholeError as fault:
                faults.append(f"{build}: {fault}")
        raise NotWholeError("; ".join(faults))

    def _pin(self, build: str, arch: str, means: Means) -> Pin:
        server = self.at()
        release, places = _seen(build, arch, server, means)
        for place in (*places, *map(_later, places)):
            for suite in suites_at(place.archive, build):
                pins, paths = signed_kernels(server, _folder(place), suite, arch, means)
                for pin in pins:
                    if pin.release == release and pin.package_version == build:
                        files = [file_of(package, paths[package.sha256], place) for package in pin.packages]
                        return pin.model_copy(update={"source": self.text, "packages": (), "files": tuple(files)})
        when = ", ".join(f"{place.archive} of {place.timestamp}" for place in places)
        raise NotWholeError(f"no signed list names all packages of {release} (looked in {when})")


# --- the kernels of a signed list of packages; apt would keep some 20 MB for each day ---------------------------------


def signed_kernels(
    server: WebServer, folder: str, suite: str, arch: str, means: Means
) -> tuple[tuple[Pin, ...], dict[str, str]]:
    """The whole kernels of a suite, and the path of each package below `folder`, by its digest.

    None where there is no such suite, or no such architecture in it. Raises InfraError when the list has no good
    signature of Debian's, or when what the server sends is not what was signed.
    """
    place = f"{folder}/dists/{suite}"
    try:
        document = server.text(f"{place}/InRelease", deadline=means.deadline)
    except NotThere:
        return (), {}
    keyring = Path(os.environ.get(KEYRING_VARIABLE) or KEYRING)
    text = signed_text(document, keyring, f"{server.base}/{place}/InRelease", deadline=means.deadline)
    prefix = f"main/binary-{architecture(arch).debian}/Packages"
    from debian.deb822 import Release  # noqa: PLC0415  late, see `paragraphs`

    digests = {entry["name"]: entry["sha256"] for entry in Release(text).get("SHA256", ())}
    for ending in _ENDINGS:
        if digest := digests.get(prefix + ending):
            stanzas = _stanzas(server, f"{place}/{prefix}{ending}", digest, means)
            found = [*paragraphs(stanzas)]
            paths = {paragraph["SHA256"]: paragraph["Filename"] for paragraph in found}
            return ANY.kernels_of([listed(paragraph, suite) for paragraph in found], suite, arch), paths
    return (), {}


def _stanzas(server: WebServer, path: str, digest: str, means: Means) -> bytes:
    """The kernels' part of a list. It is kept under the digest of the whole, which the signature covers."""
    kept = means.cache / "snapshot" / f"{digest}.Packages"
    with suppress(FileNotFoundError):
        return kept.read_bytes()
    content = server.text(path, deadline=means.deadline, limit_bytes=_LIST_LIMIT)
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise InfraError(
            f"{server.base}/{path}: sha256 is {found}, and {digest} is signed",
            hint="the server, or something before it, serves another file",
        )
    stanzas = b"\n\n".join(kernel_stanzas(io.BytesIO(decompressed(content)))) + b"\n"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, stanzas)
    return stanzas


def file_of(package: Package, path: str, place: ArchiveDay) -> PinnedFile:
    """Where the archive of that day has a package. Raises InfraError when its path is not below pool/."""
    if not _PATH.fullmatch(path) or ".." in path:
        raise InfraError(f"a list of {place.archive} has {path!r} for the file of {package.name}")
    return PinnedFile(
        name=path.rpartition("/")[2],
        sha256=package.sha256,
        size_bytes=package.size_bytes,
        where=f"{_folder(place)}/{path}",
    )


def _later(place: ArchiveDay) -> ArchiveDay:
    """Some hours on: files reach a mirror before the lists that name them, and it may have been looked at in between.

    The server takes any time, and redirects to when it last looked.
    """
    then = datetime.strptime(place.timestamp, _FORMAT).replace(tzinfo=UTC) + _LATER
    return place._replace(timestamp=then.strftime(_FORMAT))


def _folder(place: ArchiveDay) -> str:
    return f"archive/{place.archive}/{place.timestamp}"


def _seen(build: str, arch: str, server: WebServer, means: Means) -> tuple[str, tuple[ArchiveDay, ...]]:
    """(release, where its image was first seen) of a build's generic kernel. Raises NotWholeError."""
    try:
        names = _asked(server, f"mr/package/linux/{build}/binpackages", means)
        release = release_in((one.name for one in names.result), arch)
        # the image that is signed for Secure Boot comes from another source package, so it is asked for by its own name
        files = _asked(server, f"mr/binary/linux-image-{release}/{build}/binfiles?fileinfo=1", means)
    except NotThere as error:
        raise NotWholeError(error.what) from None
    debian_arch = architecture(arch).debian
    hashes = [file.hash for file in files.result if file.architecture == debian_arch]
    seen = [one for digest in hashes for one in files.fileinfo.get(digest, ())]
    places = {ArchiveDay(one.archive_name, one.first_seen) for one in seen if _is_time(one.first_seen)}
    known = sorted(
        (place for place in places if place.archive in _ARCHIVES),
        key=lambda place: (_ARCHIVES.index(place.archive), place.timestamp),
    )
    if not known:
        others = ", ".join(sorted({place.archive for place in places}))
        why = f"it is only in {others}, whose keys are not Debian's own" if others else f"no image for {debian_arch}"
        raise NotWholeError(why)
    return release, tuple(known)


def _is_time(text: str) -> bool:
    try:
        then = datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
        return (then + _LATER - _LATER).strftime(_FORMAT) == text
    except (ValueError, OverflowError):
        return False


def release_in(names: Iterable[str], arch: str) -> str:
    """The release of the generic kernel among the packages that one build made. Raises NotWholeError. Pure."""
    for name in names:
        for part in ("headers", "image", "binary", "modules"):
            rest = name.removeprefix(f"linux-{part}-")
            release, flavour = ANY.image(f"linux-image-{rest.removesuffix('-unsigned')}", arch)
            if rest != name and flavour == GENERIC:
                return release
    raise NotWholeError(f"it was not built for {architecture(arch).debian}")


def suites_at(archive: str, build: str) -> tuple[str, ...]:
    """The suites whose lists may name a build when it was new, the likeliest first. Pure."""
    if archive == "debian-security":
        return tuple(f"{codename}-security" for codename in _CODENAMES.values())
    if found := re.search(r"~bpo(\d+)\+", build):
        codename = _CODENAMES.get(int(found[1]))
        return (f"{codename}-backports",) if codename else ()
    if "~exp" in build or "~rc" in build:
        return ("experimental", "sid")
    proposed = (f"{codename}-proposed-updates" for codename in _CODENAMES.values())  # of point releases
    return ("sid", *proposed, "experimental")


def _asked(server: WebServer, path: str, means: Means) -> _Answer:
    text = server.text(path, deadline=means.deadline)
    try:
        return _Answer.model_validate_json(text)
    except ValidationError as error:
        raise InfraError(
            f"{server.base}/{path} has an unexpected answer: {first_of(error)}",
            hint=f"is it a snapshot archive? {server.variable} names another server",
        ) from None
