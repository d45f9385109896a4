"""What a source of kernels is. Each is a module beside this one, and a row of `SOURCES` in `runner/kernels/sources.py`.

A source's text is `WORD:...`; matrix.yaml has it as a mapping with the key WORD. A module that has what `Source` has
is a source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path
from typing import Protocol

from debian.debian_support import Version

from runner.kernels.archive import Archive
from runner.kernels.entries import KernelEntry
from runner.model import Package, Pin, Which
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion, Versions


@dataclass(frozen=True, slots=True)
class Means:
    """What a source may use while it works."""

    archive: Archive
    cache: Path  # the cache folder; what a source keeps there is below a folder with its word
    deadline: Deadline


@total_ordering
@dataclass(frozen=True, slots=True)
class Offer:
    """A kernel that a source can give, whole."""

    source: str  # names exactly this kernel: a matrix takes it, and `lock` pins it
    arch: str
    version: KernelVersion
    release: str  # uname -r
    suite: str  # or what else it comes out of: mainline, a folder, an image's name
    build: str = ""  # the package's version; empty where there is none
    variant: str = ""  # rt, 16k; empty: the generic flavour
    size_bytes: int | None = None  # to be fetched; None: not known before
    packages: tuple[Package, ...] = ()  # where they are known already

    def pinned(self, source: str = "") -> Pin | None:
        """The pin of this kernel, for `source` where that is another text; None where its packages are not known."""
        if not self.packages:
            return None
        return Pin(
            source=source or self.source,
            arch=self.arch,
            version=str(self.version),
            release=self.release,
            packages=self.packages,
            variant=self.variant,
        )

    def _key(self) -> tuple[KernelVersion, Version]:
        return (self.version, Version(self.build or "0"))

    def __lt__(self, other: Offer) -> bool:
        return self._key() < other._key()


class Source(Protocol):
    """A module of this folder, as the rest of the program sees it."""

    @property
    def WORD(self) -> str:  # noqa: N802  a module's constant
        """Begins its texts, and is its key in matrix.yaml."""

    @property
    def ENTRY(self) -> type[KernelEntry]:  # noqa: N802
        """How it stands in matrix.yaml; must have a field called WORD."""

    @property
    def LOCAL(self) -> bool:  # noqa: N802
        """On this machine's disk: needs no network to be pinned, and may change under its pin."""

    @property
    def VARIABLE(self) -> str:  # noqa: N802
        """The environment variable for its server. What has one is listed only where it is set, where the matrix names
        the source, or where the list of that source is asked for: such a server is not everybody's."""

    def check(self, source: str) -> None:
        """UserError unless `source` can be understood. Looks at nothing but the text."""

    def offers(self, named: Sequence[str], archs: Sequence[str], means: Means) -> Iterable[Offer]:
        """Every kernel that it can give. `named` are its texts in the matrix, for what cannot be listed otherwise.

        InfraError when the list cannot be had.
        """

    def lock(self, source: str, arch: str, means: Means) -> Sequence[Pin]:
        """Pin what `source` stands for now: one kernel, or each one of a range.

        UserError, naming what there is, when there is none; InfraError when it cannot be found out.
        """

    def lost(self, pin: Pin, means: Means) -> str:
        """Why this pin cannot be fetched any more, as the end of a sentence; empty when it can."""

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Fill the empty folder `tree` with what is pinned, as runner/kernels/unpack.py lays it out; scratch space is
        `tree.parent`. Digests are checked before anything is unpacked. InfraError."""


def choose(offers: Iterable[Offer], versions: Versions, which: Which = "newest-of-series") -> tuple[Offer, ...]:
    """Those of the offers that are meant, oldest first: of each version the newest build.

    The newest of each series of a range, or all of it. What is no range is one kernel, the newest, unless `which` says
    all. A release candidate counts only where there is nothing else.
    """
    groups: dict[object, list[Offer]] = {}
    for offer in offers:
        if offer.version in versions:
            key = offer.version if which == "all" else offer.version.series if versions.is_range else None
            groups.setdefault((key, offer.variant), []).append(offer)
    chosen = [max((o for o in group if not o.version.is_candidate), default=max(group)) for group in groups.values()]
    released = {offer.version.series for offer in chosen if not offer.version.is_candidate}
    return tuple(
        sorted(offer for offer in chosen if not offer.version.is_candidate or offer.version.series not in released)
    )
