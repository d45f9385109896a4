# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in repositories of rpm packages, as Fedora, CentOS, RHEL's family, Amazon and openSUSE have them.

As a text: `rpm:URI?key=FILE&package=kernel-core&series=6.11`. A kernel is the package with its image and those of its
modules, of one version. The repository's list only chooses, though gpgv checks its signature where there is one: each
package is signed as well, which rpmkeys checks before anything is unpacked, and tells the release of its kernel.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, Self
from xml.etree import ElementTree as Xml

from pydantic import Field

from runner import userfile
from runner.errors import InfraError
from runner.kernels.config import decompressed
from runner.kernels.download import NotThere, WebServer, check_detached
from runner.kernels.fields import Matches, Name
from runner.kernels.layers import Layers, taken
from runner.kernels.source import Means, PackagedSource, needs_tool
from runner.kernels.unpack import Parts
from runner.model import Pin, PinnedFile, Plain
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.process import run

log = logging.getLogger(__name__)

KEYS = "distribution-gpg-keys"  # Debian's package with the keys of such distributions
_URI = r"https?://[A-Za-z0-9._~%+=:@/$-]{1,200}"
_KEY = r"/?[A-Za-z0-9][A-Za-z0-9._/+:=-]{0,200}"
_LIST_LIMIT = 256 << 20  # bytes; Fedora's whole list has 20 MB compressed, 200 MB as it is
_REPO, _COMMON, _RPM = (f"{{http://linux.duke.edu/metadata/{name}}}" for name in ("repo", "common", "rpm"))
_HEAD = b'<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm">'
_TAIL = b"</package>"

Uri = Annotated[str, Matches("the address of a repository", _URI, "like https://rpm.example.org/41/$basearch/os")]
Key = Annotated[str, Matches("a file of keys", _KEY, f"a whole path, or one below /usr/share/{KEYS}")]


class RpmRepository(Plain):
    """A repository of rpm packages."""

    uri: Annotated[Uri, Field(description="the folder with repodata/; $basearch stands for the architecture")]
    key: Annotated[
        Key, Field(description=f"file with the keys that sign packages: a path, or one of Debian's package {KEYS}")
    ]
    package: Annotated[Name, Field(description="the package with the image, such as kernel-core")] = "kernel-core"


class ListedRpm(NamedTuple):
    """What the list has of a package."""

    version: str
    release: str
    provides: Mapping[str, str]
    file: PinnedFile


class RpmSource(PackagedSource):
    """Kernels of a repository of rpm packages."""

    word: ClassVar[str] = "rpm"
    example: ClassVar[str] = (
        "rpm:https://rpm.example.org/$basearch/os?key=fedora/RPM-GPG-KEY-fedora-41-primary&series=6.11"
    )

    rpm: Annotated[RpmRepository, Field(description="the repository, and which of its packages holds the image")]

    @property
    def default_name(self) -> str:
        return "-".join(filter(None, (self.rpm.package, self.series)))

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:
        """Every whole kernel of the repositories that are named. Raises InfraError when a list cannot be had."""
        for source in named:
            for arch in archs:
                for pin in source.kernels(arch, means):
                    yield pin.model_copy(update={"source": source.only(_build(pin))})

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Raises UserError, naming what there is, when there is nothing; InfraError also when a signature is bad."""
        _need_rpm()
        self._key(arch, means)
        none = f"{self._server(arch).base} has no {self.rpm.package} {self.chosen} for {arch}"
        return self.select(self.kernels(arch, means), _build, none)

    def kernels(self, arch: str, means: Means) -> Iterator[Pin]:
        """Every kernel whose packages are all there."""
        base = self.rpm.package.removesuffix("-core")
        names = (self.rpm.package, *(f"{base}-{part}" for part in ("modules", "modules-core", "modules-extra")))
        found: dict[tuple[str, str], dict[str, ListedRpm]] = {}
        for name, package in self._listed(names, arch, means):
            found.setdefault((package.version, package.release), {})[name] = package
        needed = {self.rpm.package, *([f"{base}-modules"] if base != self.rpm.package else [])}
        for (version, release), parts in found.items():
            upstream = upstream_of(version, release)
            if not parts.keys() >= needed or not upstream:
                continue
            its = uname_of(self.rpm.package, parts[self.rpm.package], architecture(arch).uname)
            files = tuple(parts[name].file for name in names if name in parts)
            try:
                yield Pin(source=self.text, arch=arch, version=str(upstream), release=its, files=files)
            except ValueError as error:
                log.info("%s-%s is left out: %s", version, release, error)

    def lost(self, pin: Pin, means: Means) -> str:
        """Which of its packages the repository no longer has. Raises UserError when the file of keys is missing."""
        self._key(pin.arch, means)
        return self._server(pin.arch).lost(pin.files, deadline=means.deadline)

    def download(self, pin: Pin, folder: Path, means: Means) -> Iterable[Path]:
        _need_rpm()
        self._key(pin.arch, means)  # is it there? If not, nothing needs to be fetched
        return self._server(pin.arch).pinned(pin.files, folder, deadline=means.deadline)

    def unpacked(self, pin: Pin, files: Sequence[Path], root: Path, means: Means) -> Parts:
        """Checked for the signatures of the packages first."""
        check_signatures(files, self._key(pin.arch, means), root / "keys", deadline=means.deadline)
        run(["rpm2archive", "--nocompression", *files], deadline=means.deadline)
        return taken(self.text, Layers(file.with_name(f"{file.name}.tar") for file in files), root / "parts")

    def _server(self, arch: str) -> WebServer:
        return WebServer(self.rpm.uri.replace("$basearch", architecture(arch).uname).rstrip("/"))

    def _key(self, arch: str, means: Means) -> Path:
        """Raises UserError when there is no such file on this machine."""
        if self.rpm.key.startswith("/"):
            userfile.opened(Path(self.rpm.key), absent="it names who may sign the packages").close()
            return Path(self.rpm.key)
        return means.archive.unpacked(KEYS, f"usr/share/{KEYS}/{self.rpm.key}", arch, deadline=means.deadline)

    def _listed(self, names: Sequence[str], arch: str, means: Means) -> Iterator[tuple[str, ListedRpm]]:
        """The packages of these names in the repository's list."""
        server, uname = self._server(arch), architecture(arch).uname
        index = server.text("repodata/repomd.xml", deadline=means.deadline)
        what = f"{server.base}/repodata/repomd.xml"
        try:
            signature = server.text("repodata/repomd.xml.asc", deadline=means.deadline)
        except NotThere:
            log.info("%s is not signed; its packages are", what)
        else:
            check_detached(index, signature, self._key(arch, means), what, deadline=means.deadline)
        place, digest = _primary(index, what)
        content = server.text(place, deadline=means.deadline, limit_bytes=_LIST_LIMIT)
        if (came := hashlib.sha256(content).hexdigest()) != digest:
            raise InfraError(f"{server.base}/{place}: sha256 is {came} instead of {digest}", hint="try again later")
        try:
            text = decompressed(content)
            for name in names:
                for found in re.finditer(rb"<name>%s</name>" % re.escape(name.encode()), text):
                    start, end = text.rindex(b"<package", 0, found.start()), text.index(_TAIL, found.end())
                    (element,) = Xml.fromstring(_HEAD + text[start:end] + _TAIL + b"</metadata>")  # noqa: S314
                    if element.findtext(f"{_COMMON}arch") == uname and (package := _package(element)):
                        yield name, package
        except (ValueError, Xml.ParseError) as error:
            raise InfraError(
                f"{server.base}/{place} cannot be read: {error}",
                hint="is it a repository?",
            ) from None


def _need_rpm() -> None:
    needs_tool("rpmkeys", "rpm", "it checks and unpacks rpm packages")


def _primary(index: bytes, what: str) -> tuple[str, str]:
    """(path, sha256) of the list of packages. Raises InfraError."""
    try:
        found = Xml.fromstring(index).find(f"{_REPO}data[@type='primary']")  # noqa: S314  expat limits entities
    except Xml.ParseError as error:
        raise InfraError(f"{what} cannot be read: {error}", hint="is it a repository?") from None
    location = found.find(f"{_REPO}location") if found is not None else None
    checksum = found.find(f"{_REPO}checksum[@type='sha256']") if found is not None else None
    if location is None or checksum is None:
        raise InfraError(f"{what} names no list of packages with its sha256", hint="is it a repository?")
    return location.get("href", ""), checksum.text or ""


def _package(element: Xml.Element) -> ListedRpm | None:
    """A package of the list; None when it has no sha256, or a name that none of a kernel's has."""
    version, location = element.find(f"{_COMMON}version"), element.find(f"{_COMMON}location")
    size, checksum = element.find(f"{_COMMON}size"), element.find(f"{_COMMON}checksum[@type='sha256']")
    if version is None or location is None or size is None or checksum is None:
        return None
    where = location.get("href", "")
    try:
        file = PinnedFile(
            name=where.rpartition("/")[2],
            sha256=checksum.text or "",
            size_bytes=int(size.get("package", "")),
            where=where,
        )
    except ValueError as error:  # ValidationError is one
        log.info("%s is left out: %s", where, error)
        return None
    entries = element.iterfind(f".//{_RPM}provides/{_RPM}entry")
    provides = {entry.get("name", ""): f"{entry.get('ver')}-{entry.get('rel')}" for entry in entries}
    return ListedRpm(version.get("ver", ""), version.get("rel", ""), provides, file)


def uname_of(name: str, package: ListedRpm, uname: str) -> str:
    """The release of the kernel in the package with its image. Pure.

    Fedora and its family say it; openSUSE's kernel-default 6.4.0-150600.23.33.1 is 6.4.0-150600.23.33-default.
    """
    for said, release in package.provides.items():
        if said.endswith("-uname-r"):
            return release
    if suse := re.fullmatch(r"kernel-([a-z0-9]+)(?<!core)", name):
        return f"{package.version}-{re.sub(r'[.][0-9]+$', '', package.release)}-{suse[1]}"
    return f"{package.version}-{package.release}.{uname}"


def upstream_of(version: str, release: str) -> KernelVersion | None:
    """6.11.4; of 6.12.0-0.rc3.20241018git.29 it is 6.12-rc3. Pure."""
    candidate = re.match(r"0\.rc(\d{1,3})\.", release)
    try:
        return KernelVersion.parse(f"{version}-rc{candidate[1]}" if candidate else version)
    except ValueError:
        return None


def _build(pin: Pin) -> str:
    """VERSION-RELEASE of the packages, as in the name of the first: NAME-VERSION-RELEASE.ARCH.rpm."""
    return "-".join(pin.files[0].name.rsplit("-", 2)[1:]).removesuffix(f".{architecture(pin.arch).uname}.rpm")


def check_signatures(files: Sequence[Path], key: Path, folder: Path, *, deadline: Deadline) -> None:
    """Raises InfraError unless each package has a good signature of a key in the file `key`. `folder` is scratch."""
    folder.mkdir(parents=True)
    # without this level, a package with no signature at all is fine for rpmkeys
    argv = ["rpmkeys", "--define", f"_dbpath {folder}", "--define", "_pkgverify_level all"]
    env = {"HOME": str(folder), "LC_ALL": "C.UTF-8"}
    kept = run([*argv, "--import", key], deadline=deadline, env=env, check=False)  # of several keys some may be unknown
    done = run([*argv, "--checksig", *files], deadline=deadline, env=env, check=False)
    if done.returncode != 0:
        bad = [line for line in done.stdout.splitlines() if "NOT OK" in line]
        said = bad or (kept.stderr + done.stdout + done.stderr).splitlines()
        raise InfraError(
            f"packages without a good signature of a key in {key}:\n" + "\n".join(said[-5:]),
            hint="they were changed on the way or on the server, or that file lacks the key that signs them",
        )
