# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Debian's archive, or another, through apt, with a private root per suite and architecture: own lists, no root.

apt checks the signatures of the lists against the archive's keyring, and what is downloaded against the lists. A root
of its own for each suite keeps a version's origin certain, and lets one suite fail without the others.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from runner.caches import FULL_DISK_HINT, SCRATCH, need_space
from runner.errors import InfraError, UserError
from runner.kernels.aptroot import AptRoot, Repository, from_pool, in_pool, paragraphs
from runner.kernels.mirrors import (
    IMAGE_SUITES,
    KEYRING,
    MIRROR_VARIABLE,
    SECURITY_VARIABLE,
    Mirrors,
    find_mirrors,
    transport,
)
from runner.model import Package
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import own_folder, run
from runner.steps import filling, step
from runner.store import file_sha256, write_atomically

if TYPE_CHECKING:
    from debian import deb822

log = logging.getLogger(__name__)

FRESH_S = 600  # lists younger than this are not fetched again
_UNPACKED_AGAIN_S = 30 * 86400  # keys are added now and then
_AT_ONCE = 4  # suites whose lists are fetched at the same time
_URI_LINE = re.compile(
    r"'\S+' (?P<name>[^_\s]+)_(?P<version>[^_\s]+)_(?P<arch>\S+)\.deb (?P<size>\d+) SHA256:(?P<sha256>\w+)"
)
_LOST = re.compile(r"Unable to locate package|was not found|no installation candidate")


@dataclass(frozen=True, slots=True)
class Listed:
    """A package in a list; `depends`: the (name, version) that it depends on with `=`, (name, "") in any version."""

    package: Package
    depends: tuple[tuple[str, str], ...]


class Archive:
    """Debian's archive as this host reaches it, or `repository`. Architectures are named as in model/architecture.py.

    `offline`: the lists are those that were fetched before, however old.
    """

    def __init__(
        self,
        cache: Path,
        *,
        mirrors: Mirrors | None = None,
        repository: Repository | None = None,
        offline: bool = False,
    ) -> None:
        self._cache = cache
        self._known = mirrors
        self._other = repository
        self._transport: str | None = None
        self._offline = offline
        self._told: set[str] = {""}  # notices: the same for each architecture

    def at(self, repository: Repository) -> Archive:
        """Another archive, with the same cache."""
        return Archive(self._cache, repository=repository, offline=self._offline)

    def update(self, pairs: Iterable[tuple[str, str]], *, deadline: Deadline, max_age_s: float = FRESH_S) -> None:
        """Fetch the lists of each (suite, architecture) unless they are younger than `max_age_s`.

        Raises InfraError: no network, no such suite, a signature that is not Debian's; offline, lists are not there.
        """
        todo = sorted(set(pairs))
        if self._offline:
            self._need_lists(todo, deadline)
            return
        every = (self._root(suite, arch, deadline) for suite, arch in todo)
        if not (roots := [root for root in every if not root.fresh(max_age_s)]):
            return
        notices = set()
        with step("package lists", len(roots)) as reach, ThreadPoolExecutor(_AT_ONCE) as pool:
            for number, notice in enumerate(pool.map(lambda root: root.update(deadline, max_age_s), roots), start=1):
                notices.add(notice)
                reach(number)
        for notice in sorted(notices - self._told):
            log.warning("%s", notice)
        self._told |= notices

    def _need_lists(self, pairs: Iterable[tuple[str, str]], deadline: Deadline) -> None:
        lacking = [f"{suite} {arch}" for suite, arch in pairs if not self._root(suite, arch, deadline).index.exists()]
        if lacking:
            raise InfraError(
                f"the archive's lists are not in the cache: {', '.join(lacking)}",
                hint="`runner kernels list` fetches them, with network",
            )

    def kernel_packages(self, suite: str, arch: str, *, deadline: Deadline) -> tuple[Listed, ...]:
        """Every version of every package that makes up a kernel; the lists are fetched when there are none."""
        self.update([(suite, arch)], deadline=deadline, max_age_s=float("inf"))
        root = self._root(suite, arch, deadline)
        return tuple(listed(paragraph, suite) for paragraph in paragraphs(root.index.read_bytes()))

    def closure(self, names: Iterable[str], suite: str, arch: str, *, deadline: Deadline) -> tuple[Package, ...]:
        """The newest `names` of a suite and their dependencies, as apt resolves them. Raises InfraError."""
        self.update([(suite, arch)], deadline=deadline)
        root = self._root(suite, arch, deadline)
        # ForceHash: the default is to print the MD5 sum
        options = ["-o", "Acquire::ForceHash=SHA256", "--print-uris", "-qq", "--no-install-recommends"]
        printed = root.apt("apt-get", *options, "install", *names, deadline=deadline).stdout
        found = [match for line in printed.splitlines() if (match := _URI_LINE.fullmatch(line.strip()))]
        packages = (
            Package(
                name=match["name"],
                version=unquote(match["version"]),
                architecture=match["arch"],
                suite=suite,
                sha256=match["sha256"],
                size_bytes=int(match["size"]),
            )
            for match in found
        )
        return tuple(sorted(packages, key=lambda package: package.name))

    def lacks(self, packages: Iterable[Package], arch: str, *, deadline: Deadline) -> tuple[Package, ...]:
        """Those of `packages` that the archive no longer has, byte for byte, in its lists or beside them."""
        missing: list[Package] = []
        for suite, group in _by_suite(packages).items():
            self.update([(suite, arch)], deadline=deadline)
            root = self._root(suite, arch, deadline)
            gone = _unlisted(root, group, deadline)
            missing += [package for package in gone if not in_pool(root, package, deadline=deadline)]
        return tuple(missing)

    def download(
        self, packages: Iterable[Package], arch: str, into: Path, *, deadline: Deadline
    ) -> dict[Package, Path]:
        """Fetch exactly these into the folder `into`, each file's size and sha256 checked.

        What the lists no longer name comes from the pool. What came cut or damaged is reported, deleted and fetched
        once more, with fresh lists. Raises InfraError.
        """
        wanted = tuple(packages)
        need_space(into, sum(package.size_bytes for package in wanted), "downloading")
        files: dict[Package, Path] = {}
        for suite, group in _by_suite(wanted).items():
            self.update([(suite, arch)], deadline=deadline, max_age_s=float("inf"))
            root = self._root(suite, arch, deadline)
            gone = _unlisted(root, group, deadline)
            lost = [it for it in gone if not from_pool(root, it, into / _file_name(it), deadline=deadline)]
            if lost:
                raise _not_fetched([f"{it.name} {it.version} with sha256 {it.sha256} was not found" for it in lost])
            left, faults = _fetch(root, [it for it in group if it not in gone], into, deadline)
            if left:
                log.warning("fetching again: %s", "; ".join(faults))
                self.update([(suite, arch)], deadline=deadline, max_age_s=0)
                left, faults = _fetch(root, left, into, deadline)
            if left:
                raise _not_fetched(faults)
            files |= {package: into / _file_name(package) for package in group}
        return files

    def unpacked(self, package: str, file: str, arch: str, *, deadline: Deadline) -> Path:
        """A file of a package of Debian's, such as a keyring, unpacked into the cache. Raises InfraError."""
        target = self._cache / "unpacked" / package / file
        if target.exists() and time.time() - target.stat().st_mtime < _UNPACKED_AGAIN_S:
            return target
        whole = self.closure([package], IMAGE_SUITES[0], arch, deadline=deadline)
        found = [one for one in whole if one.name == package]
        with own_folder(self._cache / SCRATCH, "unpack-", end_s=deadline.end_s) as own:
            for deb in self.download(found, arch, own.path, deadline=deadline).values():
                run(["dpkg-deb", "--extract", deb, own.path], deadline=deadline)
            if not (own.path / file).is_file():
                raise InfraError(f"the package {package} has no file {file}")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, (own.path / file).read_bytes())
        return target

    def _repository(self, suite: str, deadline: Deadline) -> Repository:
        if self._other:
            if self._transport is None:
                self._transport = transport(deadline=deadline)
            return replace(self._other, transport=self._transport)
        if self._known is None:
            self._known = find_mirrors(deadline=deadline)
        variable = SECURITY_VARIABLE if suite.endswith("-security") else MIRROR_VARIABLE
        return Repository(self._known.of(suite), ("main",), KEYRING, self._known.transport, variable)

    def _root(self, suite: str, arch: str, deadline: Deadline) -> AptRoot:
        its = self._repository(suite, deadline)
        name = f"{suite}-{arch}"
        if self._other:
            known = sha256(repr((its.uri, its.components, str(its.keyring))).encode()).hexdigest()[:8]
            name = f"{urlsplit(its.uri).hostname or 'local'}-{known}-{name}"
        if not its.keyring.is_file():
            hint = "install the package debian-archive-keyring" if its.keyring == KEYRING else "it names who may sign"
            kind = InfraError if its.variable or not self._other else UserError  # the user's own names it itself
            raise kind(f"the keyring {its.keyring} is missing", hint=hint)
        root = AptRoot(self._cache / "apt" / name, suite, architecture(arch).debian, its)
        with root.locked(deadline):
            root.configure()
        return root


def listed(paragraph: deb822.Packages, suite: str) -> Listed:
    """A stanza of a list."""
    package = Package(
        name=paragraph["Package"],
        version=paragraph["Version"],
        architecture=paragraph["Architecture"],
        suite=suite,
        sha256=paragraph["SHA256"],
        size_bytes=int(paragraph["Size"]),
    )
    depends: list[tuple[str, str]] = []
    for first, *others in paragraph.relations["depends"] or ():
        relation, version = first.get("version") or ("=", "")
        if relation == "=" and not others:
            depends.append((str(first["name"]), version))
    return Listed(package, tuple(depends))


def _by_suite(packages: Iterable[Package]) -> dict[str, list[Package]]:
    groups: dict[str, list[Package]] = {}
    for package in packages:
        groups.setdefault(package.suite, []).append(package)
    return groups


def _file_name(package: Package) -> str:
    """As apt names what it downloads."""
    return f"{package.name}_{quote(package.version, safe='+~')}_{package.architecture}.deb".replace("%3A", "%3a")


def _unlisted(root: AptRoot, packages: list[Package], deadline: Deadline) -> list[Package]:
    """Those that the lists do not name, byte for byte."""
    wanted = [f"{package.name}={package.version}" for package in packages]
    shown = root.apt("apt-cache", "show", *wanted, deadline=deadline, check=False).stdout
    digests = {paragraph["SHA256"] for paragraph in paragraphs(shown)}
    return [package for package in packages if package.sha256 not in digests]


def _fetch(root: AptRoot, packages: list[Package], into: Path, deadline: Deadline) -> tuple[list[Package], list[str]]:
    """(those that did not come whole, what went wrong with each). Files appear in `into` only when they are whole."""
    if not packages:
        return [], []
    with tempfile.TemporaryDirectory(prefix=".download-", dir=into) as name:
        folder = Path(name)
        wanted = [f"{package.name}={package.version}" for package in packages]
        size = sum(package.size_bytes for package in packages)
        with filling(folder, f"fetching {size >> 20} MiB of packages", size):
            done = root.apt("apt-get", "-qq", "download", *wanted, deadline=deadline, cwd=folder, check=False)
        left, faults = [], []
        for package in packages:
            file = folder / _file_name(package)
            if fault := damage(file, package):
                left.append(package)
                faults.append(fault)
            else:
                file.replace(into / file.name)
    if left and done.stderr.strip():
        faults.append(done.stderr.strip())
    return left, faults


def damage(file: Path, package: Package) -> str:
    """What is wrong with a downloaded file; empty when it is the package."""
    what = f"{package.name} {package.version}"
    if not file.is_file():
        return f"{what} did not come"
    if file.stat().st_size != package.size_bytes:
        return f"{what}: {file.stat().st_size} bytes instead of {package.size_bytes}"
    digest = file_sha256(file)
    return "" if digest == package.sha256 else f"{what}: sha256 is {digest} instead of {package.sha256}"


def _not_fetched(faults: list[str]) -> InfraError:
    text = "; ".join(faults)
    if _LOST.search(text):
        return InfraError(
            f"the archive no longer has it: {text}", hint="`runner kernels lock` pins what the archive has now"
        )
    if os.strerror(errno.ENOSPC) in text:
        return InfraError(f"the disk is full: {text}", hint=FULL_DISK_HINT)
    return InfraError(
        f"the download failed twice: {text}", hint="check the network, the proxy and the disk, then repeat"
    )
