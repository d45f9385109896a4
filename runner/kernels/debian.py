"""Kernels from Debian's archive: `debian:SUITE/VERSIONS[/all][/FLAVOUR]`, or with one package's version for VERSIONS.

`debian:trixie/6.12` is the newest 6.12.y of the suite, `debian:trixie/6.12.117` that one, `debian:trixie/6.12/rt` that
of another flavour, `debian:sid/>=6.12` the newest of each series from there on, `debian:sid/>=6.12/all` every one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from debian.debian_support import Version
from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from runner.errors import InfraError, UserError
from runner.kernels import debs
from runner.kernels.archive import Listed
from runner.kernels.entries import KernelEntry, Range, Series, WhichField, one_of
from runner.kernels.source import Means, Offer, choose
from runner.kernels.suites import SUITES
from runner.model import Package, Pin, Wanted, Which
from runner.model.architecture import ARCHITECTURES, architecture
from runner.model.version import KernelVersion, Versions
from runner.text import nearest

log = logging.getLogger(__name__)

WORD = "debian"
LOCAL = False
VARIABLE = ""
GENERIC = "generic"
# Where each is built. `cloud` is missing: it has no 9p, so virtme-ng cannot boot it.
_SIZES = sorted({size for row in ARCHITECTURES.values() for size in row.pages_kib if size != 4})
FLAVOURS: dict[str, tuple[str, ...]] = {
    GENERIC: tuple(ARCHITECTURES),
    "rt": ("x86_64", "arm64"),
    **{f"{size}k": tuple(row.name for row in ARCHITECTURES.values() if size in row.pages_kib) for size in _SIZES},
}
# The version of a package: the archive may have several builds of one version, and of one suite.
_BUILD = re.compile(r"(?P<version>\d+(?:\.\d+){1,2}(?:~rc\d+)?)-(?P<build>\d[A-Za-z0-9.+~]*)", re.ASCII)
_SOURCE = re.compile(rf"{WORD}:(?P<suite>[a-z-]+)/(?P<versions>[^/]+)(?P<all>/all)?(?:/(?P<flavour>[a-z0-9]+))?")
# A stable suite's newest kernels come through these first; a kernel of theirs is a kernel of the suite.
_POCKETS = ("-updates", "-security")

Suite = Annotated[
    str, AfterValidator(one_of("suite", SUITES)), WithJsonSchema({"type": "string", "enum": list(SUITES)})
]
Flavour = Annotated[
    str, AfterValidator(one_of("flavour", FLAVOURS)), WithJsonSchema({"type": "string", "enum": list(FLAVOURS)})
]


class DebianEntry(KernelEntry):
    """Kernels of a Debian suite: the newest build of a series, one version, or a range of them."""

    debian: Annotated[Suite, Field(description="Debian suite whose packages are used")]
    series: Annotated[
        Series | None, Field(description="in quotes: stable series, major version, or one exact version")
    ] = None
    versions: Annotated[Range | None, Field(description='instead of series: a range, such as ">=6.12,<7"')] = None
    which: WhichField = None
    flavours: Annotated[
        tuple[Flavour, ...], Field(min_length=1, description="builds of it, each where the suite has one")
    ] = (GENERIC,)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.series is None and self.versions is None:
            raise ValueError("the key 'series' is missing, or 'versions' for a range")
        if self.series is not None and self.versions is not None:
            raise ValueError("'series' and 'versions' exclude each other")
        if self.which and not self.versions:
            raise ValueError("'which' says what is meant of a range: it needs 'versions'")
        return self

    @property
    def default_name(self) -> str:
        return self.series or self.debian

    @property
    def key(self) -> str:
        return "series" if self.series else "versions"

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which: Which | None = (self.which or "newest-of-series") if self.versions else None
        for flavour in self.flavours:
            if arch not in FLAVOURS[flavour]:
                continue
            named = Named.of(self.debian, self.versions or self.series or "", which, flavour)
            name = self.called if flavour == GENERIC else f"{self.called}-{flavour}"
            yield Wanted(name=name, source=named.text, arch=arch, which=which)


ENTRY = DebianEntry


class Named(NamedTuple):
    """What a source's text says."""

    suite: str
    versions: Versions
    which: Which | None = None
    flavour: str = GENERIC
    build: str = ""  # a package's version: no other build will do

    @classmethod
    def of(cls, suite: str, versions: str, which: Which | None, flavour: str) -> Self:
        """`versions` may be a package's version. ValueError when it is neither that nor versions."""
        build = _BUILD.fullmatch(versions)
        meant = Versions.parse(build["version"] if build else versions)
        return cls(suite, meant, which, flavour, versions if build else "")

    @property
    def text(self) -> str:
        text = f"{WORD}:{self.suite}/{self.build or self.versions}"
        text += "/all" if self.which == "all" else ""
        return text + ("" if self.flavour == GENERIC else f"/{self.flavour}")


def parse_source(source: str) -> Named:
    """UserError on an unknown suite or flavour, or on malformed versions. Needs no network."""
    found = _SOURCE.fullmatch(source)
    if not found:
        raise UserError(f"{source!r} is not a kernel source", hint=f"like {WORD}:trixie/6.12")
    suite, flavour = found["suite"], found["flavour"] or GENERIC
    for what, word, known in (("suite", suite, SUITES), ("flavour", flavour, tuple(FLAVOURS))):
        if word not in known:
            raise UserError(f"unknown Debian {what} {word!r} in {source}", hint=nearest(word, known))
    try:
        return Named.of(suite, found["versions"], "all" if found["all"] else None, flavour)
    except ValueError:
        raise UserError(
            f"{found['versions']!r} in {source} is neither a kernel series nor a version nor a range",
            hint="like 7, 6.12, 6.12.117 or >=6.12",
        ) from None


def check(source: str) -> None:
    """UserError unless the text can be understood."""
    parse_source(source)


def suites_of(suite: str) -> tuple[str, ...]:
    """The suite and its pockets."""
    return (suite, *(suite + pocket for pocket in _POCKETS if suite + pocket in SUITES))


def offers(named: Sequence[str], archs: Sequence[str], means: Means) -> tuple[Offer, ...]:  # noqa: ARG001
    """Every whole kernel of every suite, oldest first. InfraError when the lists cannot be had."""
    return _offered(archs, SUITES, means)


def lock(source: str, arch: str, means: Means) -> tuple[Pin, ...]:
    """Pin what a source means now. UserError, naming what there is, when there is nothing."""
    suite, versions, which, flavour, build = parse_source(source)
    found = list(_offered((arch,), (suite,), means))
    for pocket in suites_of(suite)[1:]:
        try:
            found += _offered((arch,), (pocket,), means)
        except InfraError as error:  # the suite itself was reached: this mirror has no such pocket
            log.warning("%s is not searched for newer kernels: %s", pocket, error.what)
    found = [offer for offer in found if offer.variant == _variant(flavour)]
    meant = [offer for offer in found if build in {"", offer.build}]
    chosen = choose(meant, versions, which or "newest-of-series")
    if not chosen:
        known = ", ".join(dict.fromkeys(offer.build if build else str(offer.version) for offer in sorted(found)))
        have = "have" if len(suites_of(suite)) > 1 else "has"
        kind = "" if flavour == GENERIC else f"{flavour} "
        raise UserError(
            f"{' and '.join(suites_of(suite))} {have} no {kind}kernel {build or versions} for {arch}",
            hint=f"there are {known}" if known else "`runner kernels list` shows what there is",
        )
    return tuple(pin for offer in chosen if (pin := offer.pinned(source)))


def lost(pin: Pin, means: Means) -> str:
    """Which of its packages the archive no longer has."""
    gone = means.archive.lacks(pin.packages, pin.arch, deadline=means.deadline)
    names = sorted({f"{package.name} {package.version}" for package in gone})
    return f"{', '.join(names)} left the archive" if names else ""


def fetch(pin: Pin, tree: Path, means: Means) -> None:
    """Download the packages, checked by apt, and unpack them."""

    def download(folder: Path) -> Iterable[Path]:
        return means.archive.download(pin.packages, pin.arch, folder, deadline=means.deadline).values()

    debs.fill(pin, tree, download, deadline=means.deadline)


def _offered(archs: Iterable[str], suites: Iterable[str], means: Means) -> tuple[Offer, ...]:
    pairs = [(suite, arch) for arch in archs for suite in suites]
    means.archive.update(pairs, deadline=means.deadline)
    with ThreadPoolExecutor(2) as pool:
        lists = pool.map(lambda pair: means.archive.kernel_packages(*pair, deadline=means.deadline), pairs)
        found = [
            offer
            for (suite, arch), listed in zip(pairs, lists, strict=True)
            for offer in offers_of(listed, suite, arch)
        ]
    return tuple(sorted(found))


def offers_of(listed: Iterable[Listed], suite: str, arch: str) -> tuple[Offer, ...]:
    """The kernels that the packages of one list make up. Pure.

    Some kernels stay in the lists when their modules have left the archive; those cannot boot and are left out.
    """
    packages = tuple(listed)
    by_version = {(entry.package.name, entry.package.version): entry for entry in packages}
    found = []
    for entry in packages:
        release, flavour = release_of(entry.package.name, arch)
        if not release or _is_meta(entry):
            continue
        parts = _parts(entry, release, by_version)
        version = _upstream(entry.package.version)
        if parts and version:
            found.append(
                Offer(
                    source=Named.of(suite, parts[0].version, None, flavour).text,
                    arch=arch,
                    version=version,
                    release=release,
                    suite=suite,
                    build=parts[0].version,
                    variant=_variant(flavour),
                    size_bytes=sum(package.size_bytes for package in parts),
                    packages=parts,
                )
            )
    return tuple(found)


def _variant(flavour: str) -> str:
    return "" if flavour == GENERIC else flavour


def release_of(name: str, arch: str) -> tuple[str, str]:
    """(`uname -r`, flavour) of an image's package: 6.12.117+deb13-rt-amd64, ...-arm64-16k. Empty for other packages."""
    flavours = [flavour for flavour, archs in FLAVOURS.items() if arch in archs and flavour != GENERIC]
    before = "|".join(flavours) or "-"
    found = re.fullmatch(
        rf"linux-image-(?P<release>\d[0-9a-z.+~]*(?:-\d[0-9a-z.+~]*|-rc\d+)*"
        rf"(?:-(?P<before>{before}))?-{architecture(arch).flavour}(?:-(?P<after>{before}))?)",
        name,
    )
    return (found["release"], found["before"] or found["after"] or GENERIC) if found else ("", "")


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
