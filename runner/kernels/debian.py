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
from typing import Annotated, ClassVar, Self

from debian.debian_support import Version
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from runner.errors import InfraError, UserError
from runner.kernels.archive import Listed
from runner.kernels.mirrors import SUITES
from runner.kernels.source import KernelSource, Means, WhichField, age, matches, meant, one_of, quoted
from runner.kernels.unpack import unpack_packages
from runner.model import Package, Pin, Wanted
from runner.model.architecture import ARCHITECTURES, architecture
from runner.model.version import KernelVersion, Versions

log = logging.getLogger(__name__)

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
# A stable suite's newest kernels come through these first; a kernel of theirs is a kernel of the suite.
_POCKETS = ("-updates", "-security")

Suite = Annotated[
    str, AfterValidator(one_of("suite", SUITES)), WithJsonSchema({"type": "string", "enum": list(SUITES)})
]
Flavour = Annotated[
    str, AfterValidator(one_of("flavour", FLAVOURS)), WithJsonSchema({"type": "string", "enum": list(FLAVOURS)})
]


_DOTTED = r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}"
_SERIES = rf"{_DOTTED}([-~]rc[0-9]{{1,3}})?(-[0-9][A-Za-z0-9.+~]{{0,63}})?"
_BOUND = rf"(>=|<=|>|<){_DOTTED}"
_RANGE = rf"{_BOUND}(,{_BOUND}){{0,3}}"

Series = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(
        matches("a kernel series", _SERIES, 'like "6.12", "7", or one version, like "6.12.117" or "6.12.117-1"')
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_SERIES}$"}),
]
Range = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(matches("a range of versions", _RANGE, 'like ">=6.12" or ">=6.1,<7"')),
    WithJsonSchema({"type": "string", "pattern": f"^{_RANGE}$"}),
]


class DebianSource(KernelSource):
    """Kernels of a Debian suite: the newest build of a series, one version, or a range of them."""

    word: ClassVar[str] = "debian"
    example: ClassVar[str] = "debian:trixie/6.12"

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

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        suite, _, rest = rest.partition("/")
        versions, *words = rest.split("/")
        fields: dict[str, object] = {"debian": suite, "versions" if versions[:1] in {"<", ">"} else "series": versions}
        if words[:1] == ["all"]:
            fields["which"] = words.pop(0)
        if len(words) > 1:
            raise ValueError(f"after the versions {'/'.join(words)!r}, which is no flavour")
        return fields | ({"flavours": tuple(words)} if words else {})

    @property
    def text(self) -> str:
        """With one flavour, as it is what a text names."""
        words = [f"{self.word}:{self.debian}", self.versions or self.series, "all" if self.which == "all" else None]
        return "/".join(filter(None, (*words, *(flavour for flavour in self.flavours if flavour != GENERIC))))

    @property
    def default_name(self) -> str:
        return self.series or self.debian

    @property
    def key(self) -> str:
        return "series" if self.series else "versions"

    def wanted(self, arch: str) -> Iterator[Wanted]:
        """One for each flavour."""
        which = (self.which or "newest-of-series") if self.versions else None
        for flavour in self.flavours:
            if arch in FLAVOURS[flavour]:
                name = self.called if flavour == GENERIC else f"{self.called}-{flavour}"
                text = self.model_copy(update={"flavours": (flavour,)}).text
                yield Wanted(name=name, source=text, arch=arch, which=which)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:  # noqa: ARG003
        """Every whole kernel of every suite. Raises InfraError when the lists cannot be had."""
        return kernels_in(SUITES, archs, means)

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:
        """Raises UserError, naming what there is, when there is nothing."""
        (flavour,), pockets = self.flavours, suites_of(self.debian)
        found = list(kernels_in(pockets[:1], (arch,), means))
        for pocket in pockets[1:]:
            try:
                found += kernels_in((pocket,), (arch,), means)
            except InfraError as error:  # the suite itself was reached: this mirror has no such pocket
                log.warning("%s is not searched for newer kernels: %s", pocket, error.what)
        there = sorted((pin for pin in found if pin.variant == _variant(flavour)), key=age)
        text = self.versions or self.series or ""
        build = _BUILD.fullmatch(text)  # no other build will do
        versions = Versions.parse(build["version"] if build else text)
        mine = [pin for pin in there if not build or pin.package_version == text]
        groups = meant(mine, versions, self.which, lambda pin: pin.upstream)
        if not groups:
            known = ", ".join(dict.fromkeys(pin.package_version if build else str(pin.upstream) for pin in there))
            have = "have" if len(pockets) > 1 else "has"
            kind = "" if flavour == GENERIC else f"{flavour} "
            raise UserError(
                f"{' and '.join(pockets)} {have} no {kind}kernel {text} for {arch}",
                hint=f"there are {known}" if known else "`runner kernels list` shows what there is",
            )
        return [group[0].model_copy(update={"source": self.text}) for group in groups]

    def lost(self, pin: Pin, means: Means) -> str:
        """Which of its packages the archive no longer has."""
        gone = means.archive.lacks(pin.packages, pin.arch, deadline=means.deadline)
        names = sorted({f"{package.name} {package.version}" for package in gone})
        return f"{', '.join(names)} left the archive" if names else ""

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Download the packages, checked by apt, and unpack them."""

        def download(folder: Path) -> Iterable[Path]:
            return means.archive.download(pin.packages, pin.arch, folder, deadline=means.deadline).values()

        unpack_packages(pin, tree, download, deadline=means.deadline)


def suites_of(suite: str) -> tuple[str, ...]:
    """The suite and its pockets."""
    return (suite, *(suite + pocket for pocket in _POCKETS if suite + pocket in SUITES))


def kernels_in(suites: Sequence[str], archs: Sequence[str], means: Means) -> tuple[Pin, ...]:
    """Every whole kernel of these suites. Raises InfraError."""
    pairs = [(suite, arch) for arch in archs for suite in suites]
    means.archive.update(pairs, deadline=means.deadline)
    with ThreadPoolExecutor(2) as pool:
        lists = pool.map(lambda pair: means.archive.kernel_packages(*pair, deadline=means.deadline), pairs)
        return tuple(
            pin for (suite, arch), listed in zip(pairs, lists, strict=True) for pin in kernels_of(listed, suite, arch)
        )


def kernels_of(listed: Iterable[Listed], suite: str, arch: str) -> tuple[Pin, ...]:
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
        version = upstream_of(entry.package.version)
        if parts and version:
            found.append(
                Pin(
                    source="/".join(filter(None, (f"debian:{suite}", parts[0].version, _variant(flavour)))),
                    arch=arch,
                    version=str(version),
                    release=release,
                    packages=parts,
                    variant=_variant(flavour),
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


def upstream_of(debian_version: str) -> KernelVersion | None:
    """6.12.117-1~bpo13+1 is 6.12.117, 7.3~rc7-1~exp1 is 7.3-rc7."""
    try:
        return KernelVersion.parse(Version(debian_version).upstream_version or "")
    except ValueError:
        return None
