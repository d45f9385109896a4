# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Upstream kernel versions and intervals over them, and whose version says which fixes it has: see `Vendor`.

The only place where versions are compared.

Fixes are backported, so an interval is a set of points, one per stable series, as the kernel's own CVE records
write them (Documentation/process/cve.rst): `since 6.1.191, 6.12.114, 7.1.5, 7.2` means from 6.1.191 on in 6.1.y,
from 6.12.114 on in 6.12.y, from 7.1.5 on in 7.1.y, and in 7.2 and every later series.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

_VERSION = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?(?:[-~]rc(\d{1,3}))?", re.ASCII)
_FINAL = 10_000  # sorts a final release behind all of its release candidates


class KernelVersion(NamedTuple):
    """`6.12.107`, `6.11` or `7.3-rc7` (Debian writes `7.3~rc7`). A release candidate comes before its release."""

    major: int
    minor: int
    patch: int = 0
    rc: int = _FINAL

    @classmethod
    @lru_cache(maxsize=4096)  # those of a year's kernels are read again with each cell
    def parse(cls, text: str) -> Self:
        """Read a whole version; ValueError when `text` is anything else."""
        found = _VERSION.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is not a kernel version (like 6.12, 6.12.107 or 7.3-rc7)")
        major, minor, patch, rc = found.groups()
        return cls(int(major), int(minor), int(patch or 0), int(rc) if rc else _FINAL)

    @property
    def series(self) -> tuple[int, int]:
        """(6, 12) for 6.12.107: the stable series."""
        return (self.major, self.minor)

    @property
    def is_candidate(self) -> bool:
        return self.rc != _FINAL

    def __str__(self) -> str:
        patch = f".{self.patch}" if self.patch else ""
        rc = f"-rc{self.rc}" if self.is_candidate else ""
        return f"{self.major}.{self.minor}{patch}{rc}"


_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "": operator.eq,
}
_PART = r"[1-9]\d{0,2}(?:\.\d{1,5}){0,2}"
_TERM = re.compile(rf"(?P<how>>=|<=|>|<|)(?P<version>{_PART}|{_PART}[-~]rc\d{{1,3}}|v{_PART})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that people mean: `6.12` is that series, `7` every 7.x.y, `6.12.117`, `7.3-rc7` or `v6.12` that one.

    `>=6.1,<7` is a range. Its bounds are as coarse as they are written: `<=6.12` ends with the last 6.12.y, and `<7`
    before the first candidate of 7.0.
    """

    text: str
    terms: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when `text` is none of these."""
        found = [_TERM.fullmatch(term) for term in text.split(",")]
        terms = tuple((term["how"], _bound(term["version"])) for term in found if term)
        if len(terms) != len(found) or (len(terms) > 1 and not all(how for how, _ in terms)):
            raise ValueError(f"{text!r} is neither a series (7, 6.12) nor a version (6.12.117) nor a range (>=6.1,<7)")
        return cls(text, terms)

    @property
    def is_range(self) -> bool:
        return bool(self.terms[0][0])

    def __contains__(self, version: KernelVersion) -> bool:
        return all(_COMPARE[how](version[: len(bound)], bound) for how, bound in self.terms)

    def __str__(self) -> str:
        return self.text


def exactly(version: KernelVersion) -> str:
    """How `Versions` names this version alone: 6.12.117, and v6.12 for the first one of a series."""
    return f"{version}" if version.patch or version.is_candidate else f"v{version}"


def _bound(text: str) -> tuple[int, ...]:
    if text.startswith("v") or "rc" in text:
        text = text.removeprefix("v")
        return KernelVersion.parse(text if "." in text else f"{text}.0")
    return tuple(map(int, text.split(".")))


@dataclass(frozen=True, slots=True)
class Interval:
    """The kernels from `since` on and before `until`, each a set of points, one per series. Both may be empty."""

    since: tuple[KernelVersion, ...] = ()
    until: tuple[KernelVersion, ...] = ()

    @classmethod
    def parse(cls, since: Iterable[str] = (), until: Iterable[str] = ()) -> Self:
        """Raises ValueError on a malformed version, or on two points in one series."""
        return cls(_points(tuple(since)), _points(tuple(until)))

    def __contains__(self, version: KernelVersion) -> bool:
        return (not self.since or _reached(self.since, version)) and not (self.until and _reached(self.until, version))

    def __str__(self) -> str:
        since = f"since {', '.join(map(str, self.since))}" if self.since else ""
        until = f"until {', '.join(map(str, self.until))}" if self.until else ""
        return " ".join(filter(None, (since, until))) or "every kernel"


@lru_cache(maxsize=1024)  # a claim's are asked for again with each cell
def _points(texts: tuple[str, ...]) -> tuple[KernelVersion, ...]:
    points = tuple(sorted(KernelVersion.parse(text) for text in texts))
    if len({point.series for point in points}) != len(points):
        raise ValueError(f"two points in one series: {', '.join(map(str, points))}")
    return points


def _reached(points: tuple[KernelVersion, ...], version: KernelVersion) -> bool:
    """Has `version` got what came at `points`? A series that is not named has it only after the last point."""
    for point in points:
        if point.series == version.series:
            return version >= point
    return version.series > points[-1].series


# --- who built it -----------------------------------------------------------------------------------------------------


class Vendor(StrEnum):
    """Who built a kernel, as far as its release tells."""

    UPSTREAM = "upstream"
    DEBIAN = "debian"
    UBUNTU = "ubuntu"
    RHEL = "rhel"  # and what is built from its sources
    AMAZON = "amazon"
    AZURE = "azure"
    UNKNOWN = "unknown"

    @property
    def note(self) -> str:
        """What reports say of its kernels; empty where there is nothing to say."""
        return "" if self.follows_upstream else "vendor kernel: compared with its own earlier answers only"

    @property
    def follows_upstream(self) -> bool:
        """Does its version say what upstream's stable release of that version has? Others backport without a number."""
        return self in (Vendor.UPSTREAM, Vendor.DEBIAN)


_BASE = r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?"
_DEBIAN = "(?:amd64|arm64|riscv64|s390x|powerpc64le|686|armmp)"  # flavours
# The first row that matches the whole of `uname -r` counts.
_RELEASES = (
    (Vendor.RHEL, r".*\.el\d+(?:[._a-z0-9-]*)?(?:\.[a-z0-9_]+)?(?:\+.*)?"),
    (Vendor.AMAZON, r".*\.amzn\d+(?:\..*)?"),
    (Vendor.AZURE, r".*(?:-azure(?:-fde)?|\.azl\d+|\.cm\d+)(?:\..*)?"),
    (Vendor.UPSTREAM, rf"{_BASE}-0\d{{5}}(?:rc\d+)?-(?:generic|lowlatency)"),  # upstream's, built by Ubuntu: mainline
    (
        Vendor.UBUNTU,
        r"\d+\.\d+\.\d+-\d+-(?:generic|lowlatency|realtime|aws|gcp|gke|oracle|ibm|kvm|nvidia|raspi|oem)\b.*",
    ),
    (Vendor.DEBIAN, rf"{_BASE}(?:-\d+|[+~](?:deb|bpo)[0-9.+u]*)*-(?:cloud-|rt-)?{_DEBIAN}(?:-\d\dk|-l?pae)?"),
    # scripts/setlocalversion: commits since a tag, changes that are not committed; -next: linux-next
    (Vendor.UPSTREAM, rf"{_BASE}(?:-next-\d{{8}})?(?:-\d{{5}})?(?:-g[0-9a-f]{{7,40}})?(?:-dirty)?\+?"),
)
_TABLE = tuple((vendor, re.compile(pattern, re.ASCII)) for vendor, pattern in _RELEASES)


def vendor_of(release: str, *, built_by_user: bool = False) -> Vendor:
    """The vendor of the kernel with this `uname -r`. What a user built has a suffix of their own, and is upstream's."""
    for vendor, pattern in _TABLE:
        if pattern.fullmatch(release):
            return vendor
    return Vendor.UPSTREAM if built_by_user else Vendor.UNKNOWN
