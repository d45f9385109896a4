"""Kernels from Debian's archive: `debian:<suite>/<series>`, the generic flavour of each architecture.

A series is `6.12` (its newest 6.12.y), `7` (the newest 7.x.y) or one version (`6.12.117`, `7.3-rc7`).
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import total_ordering

from debian.debian_support import Version

from runner.architecture import architecture
from runner.archive import Archive, Listed
from runner.deadline import Deadline
from runner.errors import InfraError, MatrixError
from runner.model import LockedKernel, Package
from runner.suites import SUITES
from runner.version import KernelVersion

log = logging.getLogger(__name__)

KIND = "debian"
_SOURCE = re.compile(rf"{KIND}:(?P<suite>[a-z-]+)/(?P<series>[0-9][0-9a-z.~-]*)")
_MAJOR = re.compile(r"\d+")
_MINOR = re.compile(r"\d+\.\d+")
# A stable suite's newest kernels come through these first; a kernel of theirs is a kernel of the suite.
_POCKETS = ("-updates", "-security")


@total_ordering
@dataclass(frozen=True, slots=True)
class Offer:
    """A kernel that the archive has, whole."""

    suite: str
    arch: str
    version: KernelVersion
    release: str  # uname -r
    packages: tuple[Package, ...]

    @property
    def source(self) -> str:
        """What names exactly this kernel in a matrix."""
        return f"{KIND}:{self.suite}/{self.version}"

    @property
    def size_bytes(self) -> int:
        """To be downloaded."""
        return sum(package.size_bytes for package in self.packages)

    @property
    def debian_version(self) -> str:
        return self.packages[0].version

    def _key(self) -> tuple[KernelVersion, Version]:
        return (self.version, Version(self.debian_version))

    def __lt__(self, other: Offer) -> bool:
        return self._key() < other._key()


def parse_source(source: str) -> tuple[str, str]:
    """(suite, series). MatrixError on an unknown suite or a malformed series. Needs no network."""
    found = _SOURCE.fullmatch(source)
    if not found:
        raise MatrixError(f"{source!r} is not a kernel source", hint=f"like {KIND}:trixie/6.12")
    suite, series = found["suite"], found["series"]
    if suite not in SUITES:
        near = difflib.get_close_matches(suite, SUITES, n=1)
        raise MatrixError(
            f"unknown Debian suite {suite!r} in {source}",
            hint=(f"did you mean {near[0]}? " if near else "") + f"known: {', '.join(SUITES)}",
        )
    if not _MAJOR.fullmatch(series):
        try:
            KernelVersion.parse(series)
        except ValueError:
            raise MatrixError(
                f"{series!r} in {source} is neither a kernel series nor a version", hint="like 7, 6.12 or 6.12.117"
            ) from None
    return suite, series


def matches(version: KernelVersion, series: str) -> bool:
    """Is this version one of the series?"""
    if _MAJOR.fullmatch(series):
        return version.major == int(series)
    wanted = KernelVersion.parse(series)
    return version.series == wanted.series if _MINOR.fullmatch(series) else version == wanted


def newest(offers: Iterable[Offer], series: str) -> Offer | None:
    """The newest of the series; a release candidate only when there is nothing else."""
    found = [offer for offer in offers if matches(offer.version, series)]
    return max((o for o in found if "rc" not in str(o.version)), default=None) or max(found, default=None)


def suites_of(suite: str) -> tuple[str, ...]:
    """The suite and its pockets."""
    return (suite, *(suite + pocket for pocket in _POCKETS if suite + pocket in SUITES))


def offered(archive: Archive, archs: Iterable[str], suites: Iterable[str], *, deadline: Deadline) -> tuple[Offer, ...]:
    """Every whole kernel of these suites, oldest first. InfraError when the lists cannot be had."""
    pairs = [(suite, arch) for arch in archs for suite in suites]
    archive.update(pairs, deadline=deadline)
    with ThreadPoolExecutor(2) as pool:
        lists = pool.map(lambda pair: archive.kernel_packages(*pair, deadline=deadline), pairs)
        found = [
            offer for (suite, arch), listed in zip(pairs, lists, strict=True) for offer in offers(listed, suite, arch)
        ]
    return tuple(sorted(found))


def offers(listed: Iterable[Listed], suite: str, arch: str) -> tuple[Offer, ...]:
    """The kernels that the packages of one list make up. Pure.

    Some kernels stay in the lists when their modules have left the archive; those cannot boot and are left out.
    """
    packages = tuple(listed)
    by_version = {(entry.package.name, entry.package.version): entry for entry in packages}
    found = []
    for entry in packages:
        release = _release(entry.package.name, architecture(arch).flavour)
        if not release or _is_meta(entry):
            continue
        parts = _parts(entry, release, by_version)
        version = _upstream(entry.package.version)
        if parts and version:
            found.append(Offer(suite, arch, version, release, parts))
    return tuple(found)


def lock(source: str, arch: str, archive: Archive, *, deadline: Deadline) -> LockedKernel:
    """Pin the newest kernel of a source. MatrixError, naming what there is, when there is none."""
    suite, series = parse_source(source)
    found = list(offered(archive, (arch,), (suite,), deadline=deadline))
    for pocket in suites_of(suite)[1:]:
        try:
            found += offered(archive, (arch,), (pocket,), deadline=deadline)
        except InfraError as error:  # the suite itself was reached: this mirror has no such pocket
            log.warning("%s is not searched for newer kernels: %s", pocket, error.what)
    best = newest(found, series)
    if best is None:
        known = ", ".join(sorted({str(offer.version) for offer in found}, key=KernelVersion.parse))
        raise MatrixError(
            f"{' and '.join(suites_of(suite))} have no kernel {series} for {arch}"
            if len(suites_of(suite)) > 1
            else f"{suite} has no kernel {series} for {arch}",
            hint=f"there are {known}" if known else "`runner kernels list` shows what there is",
        )
    return LockedKernel(
        source=source, arch=arch, version=str(best.version), release=best.release, packages=best.packages
    )


def _release(name: str, flavour: str) -> str:
    """`uname -r` of the generic flavour's package; empty for other flavours (cloud, rt, 16k, ...) and packages."""
    found = re.fullmatch(rf"linux-image-(\d[0-9a-z.+~]*(?:-\d[0-9a-z.+~]*|-rc\d+)*-{flavour})", name)
    return found[1] if found else ""


def _is_meta(entry: Listed) -> bool:
    """linux-image-6.12-amd64 only depends on the newest linux-image-6.12.117+deb13-amd64."""
    return any(name.startswith("linux-image-") for name, _ in entry.exact)


def _parts(entry: Listed, release: str, by_version: dict[tuple[str, str], Listed]) -> tuple[Package, ...]:
    """The package and what it depends on of the same release, at those versions; empty when a needed one is gone.

    Where the image package holds the modules itself, linux-base-RELEASE (6.18) only adds scripts: not needed.
    """
    split = any(name.startswith("linux-modules-") for name, _ in entry.exact)
    found: dict[str, Package] = {}
    queue = [entry]
    while queue:
        here = queue.pop()
        found[here.package.name] = here.package
        for name, version in here.exact:
            if release not in name or name in found:
                continue
            if part := by_version.get((name, version)):
                queue.append(part)
            elif split:
                return ()
    first = found.pop(entry.package.name)
    return (first, *sorted(found.values(), key=lambda package: package.name))


def _upstream(debian_version: str) -> KernelVersion | None:
    """6.12.117-1~bpo13+1 is 6.12.117, 7.3~rc7-1~exp1 is 7.3-rc7."""
    try:
        return KernelVersion.parse(Version(debian_version).upstream_version or "")
    except ValueError:
        return None
