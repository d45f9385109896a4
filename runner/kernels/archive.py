# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Debian's archive, or another, through apt, with a private root per suite and architecture: own lists, no root.

apt checks the signatures of the lists against the archive's keyring, and what is downloaded against the lists. A root
of its own for each suite keeps a version's origin certain, and lets one suite fail without the others. Which mirror to
use, and how this host reaches it, is taken from the host's own apt configuration.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from runner.caches import FULL_DISK_HINT, SCRATCH, need_space
from runner.errors import InfraError, UserError
from runner.kernels.aptroot import AptRoot, Repository, file_name, paragraphs
from runner.model import Package
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import own_folder, run
from runner.steps import step
from runner.store import write_atomically

if TYPE_CHECKING:
    from debian import deb822

log = logging.getLogger(__name__)

# The suites that kernels and images may come from.
_STABLE = ("bookworm", "trixie")  # those have pockets

# bookworm's dropbear 2022 refuses sessions that follow each other quickly on one connection; newer ones are untried
IMAGE_SUITES = ("trixie",)
SUITES = (
    *(suite + pocket for suite in _STABLE for pocket in ("", "-updates", "-security", "-backports")),
    "forky",
    "sid",
    "experimental",
)

MIRROR_VARIABLE = "RUNNER_MIRROR"
SECURITY_VARIABLE = "RUNNER_SECURITY_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_RELEASE_URI = re.compile(r"'(?P<mirror>[^'\s]+?)/dists/(?P<suite>[a-z-]+)/InRelease'")
_ALIASES = ("stable", "oldstable", "testing", "unstable")
_MIRROR = re.compile(r"[a-z][a-z+]*:[^\s\[\]'\"]+")
# How to reach a mirror, not what to fetch from it: anything else of the host's settings could change the answers.
_TRANSPORT = re.compile(r"Acquire::(https?|Retries|ForceIPv[46]|Check-Date|Proxy-Auto-Detect|socks)\b.*;")

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

    def __init__(self, cache: Path, *, repository: Repository | None = None, offline: bool = False) -> None:
        self._cache = cache
        self._other = repository
        self._mirrors: Mirrors | None = None
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
        every = {pair: self._root(*pair, deadline) for pair in sorted(set(pairs))}
        if self._offline:
            if lacking := [" ".join(pair) for pair, root in every.items() if not root.index.exists()]:
                raise InfraError(
                    f"the archive's lists are not in the cache: {', '.join(lacking)}",
                    hint="`runner kernels list` fetches them, with network",
                )
            return
        if not (roots := [root for root in every.values() if not root.fresh(max_age_s)]):
            return
        notices = set()
        with step("package lists", len(roots)) as reach, ThreadPoolExecutor(_AT_ONCE) as pool:
            for number, notice in enumerate(pool.map(lambda root: root.update(max_age_s), roots), start=1):
                notices.add(notice)
                reach(number)
        for notice in sorted(notices - self._told):
            log.warning("%s", notice)
        self._told |= notices

    def kernel_packages(self, suite: str, arch: str, *, deadline: Deadline) -> tuple[Listed, ...]:
        """Every version of every package that makes up a kernel; the lists are fetched when there are none."""
        root = self._updated(suite, arch, deadline, max_age_s=float("inf"))
        return tuple(listed(paragraph, suite) for paragraph in paragraphs(root.index.read_bytes()))

    def closure(self, names: Iterable[str], suite: str, arch: str, *, deadline: Deadline) -> tuple[Package, ...]:
        """The newest `names` of a suite and their dependencies, as apt resolves them. Raises InfraError."""
        # ForceHash: the default is to print the MD5 sum
        options = ["-o", "Acquire::ForceHash=SHA256", "--print-uris", "-qq", "--no-install-recommends"]
        printed = self._updated(suite, arch, deadline).apt("apt-get", *options, "install", *names).stdout
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
            root = self._updated(suite, arch, deadline)
            missing += [package for package in root.unlisted(group) if not root.in_pool(package)]
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
            root = self._updated(suite, arch, deadline, max_age_s=float("inf"))
            gone = root.unlisted(group)
            if lost := [it for it in gone if not root.from_pool(it, into / file_name(it))]:
                raise _not_fetched([f"{it.name} {it.version} with sha256 {it.sha256} was not found" for it in lost])
            left, faults = root.fetch([it for it in group if it not in gone], into)
            if left:
                log.warning("fetching again: %s", "; ".join(faults))
                self.update([(suite, arch)], deadline=deadline, max_age_s=0)
                left, faults = root.fetch(left, into)
            if left:
                raise _not_fetched(faults)
            files |= {package: into / file_name(package) for package in group}
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

    def _updated(self, suite: str, arch: str, deadline: Deadline, max_age_s: float = FRESH_S) -> AptRoot:
        self.update([(suite, arch)], deadline=deadline, max_age_s=max_age_s)
        return self._root(suite, arch, deadline)

    def _debian(self, suite: str, deadline: Deadline) -> Repository:
        self._mirrors = self._mirrors or find_mirrors(deadline=deadline)
        variable = SECURITY_VARIABLE if suite.endswith("-security") else MIRROR_VARIABLE
        return Repository(self._mirrors.of(suite), ("main",), KEYRING, variable)

    def _root(self, suite: str, arch: str, deadline: Deadline) -> AptRoot:
        its = self._other or self._debian(suite, deadline)
        name = f"{suite}-{arch}"
        if self._other:
            known = sha256(repr((its.uri, its.components, str(its.keyring))).encode()).hexdigest()[:8]
            name = f"{urlsplit(its.uri).hostname or 'local'}-{known}-{name}"
        if not its.keyring.is_file():
            hint = "install the package debian-archive-keyring" if its.keyring == KEYRING else "it names who may sign"
            kind = InfraError if its.variable or not self._other else UserError  # the user's own names it itself
            raise kind(f"the keyring {its.keyring} is missing", hint=hint)
        if self._transport is None:
            self._transport = transport(deadline=deadline)
        folder, debian_arch = self._cache / "apt" / name, architecture(arch).debian
        root = AptRoot(folder, suite, debian_arch, its, self._transport, deadline)
        with root.locked():
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


# --- which mirror, and how this host reaches it ---------------------------------------------------------------------


class Mirrors(NamedTuple):
    """Of all suites but those of security updates, and of those. Empty: none is known."""

    main: str
    security: str = ""

    def of(self, suite: str) -> str:
        return self.security if suite.endswith("-security") else self.main


def find_mirrors(*, deadline: Deadline, environ: Mapping[str, str] = os.environ) -> Mirrors:
    """$RUNNER_MIRROR and $RUNNER_SECURITY_MIRROR, else what the host's own apt uses for Debian.

    Security updates are looked for beside the mirror, in NAME-security, if neither names a mirror of them.
    Raises InfraError when neither names a mirror, UserError when a variable is no address.
    """
    for variable in (MIRROR_VARIABLE, SECURITY_VARIABLE):
        if environ.get(variable) and not _MIRROR.fullmatch(environ[variable]):
            raise UserError(
                f"{variable}={environ[variable]!r} is not the address of a mirror",
                hint=f"export {variable}=http://mirror.example/debian",
            )
    main, security = environ.get(MIRROR_VARIABLE, ""), environ.get(SECURITY_VARIABLE, "")
    if not main or not security:
        # `update --print-uris` fetches nothing, and shows the sources whether or not the host has lists of them
        uris = run(["apt-get", "update", "--print-uris"], deadline=deadline, check=False).stdout
        found = choose(uris.splitlines())
        main, security = main or found.main, security or found.security
    if not main:
        raise InfraError("this host's apt names no Debian mirror", hint=f"set {MIRROR_VARIABLE} to the address of one")
    main = main.rstrip("/")
    return Mirrors(main, security.rstrip("/") or f"{main}-security")


def transport(*, deadline: Deadline) -> str:
    """The host's own proxy and TLS settings for apt, as lines of apt.conf."""
    config = run(["apt-config", "dump"], deadline=deadline).stdout
    return "".join(f"{line}\n" for line in config.splitlines() if _TRANSPORT.fullmatch(line))


def choose(print_uris: Iterable[str]) -> Mirrors:
    """Debian's own mirrors among what `apt-get update --print-uris` printed; empty where there is none.

    Other archives use Debian's suite names too; only Debian's has an -updates pocket. A wrong choice cannot do harm:
    nothing but Debian's keyring is trusted.
    """
    suites: dict[str, set[str]] = {}
    for line in print_uris:
        if found := _RELEASE_URI.match(line):
            suites.setdefault(found["mirror"], set()).add(found["suite"])
    known = {*SUITES, *_ALIASES}
    main = [
        mirror for mirror, has in suites.items() if any(suite in known and "-security" not in suite for suite in has)
    ]
    main.sort(key=lambda mirror: any(s.endswith("-updates") for s in suites[mirror]), reverse=True)
    security = [mirror for mirror, has in suites.items() if any(suite.endswith("-security") for suite in has)]
    return Mirrors(*(next(iter(mirrors), "") for mirrors in (main, security)))
