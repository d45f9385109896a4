"""Upstream kernel versions and intervals over them. The only place where versions are compared.

Fixes are backported, so an interval is a set of points, one per stable series, as the kernel's own CVE records
write them (Documentation/process/cve.rst): `since 6.1.191, 6.12.114, 7.1.5, 7.2` means from 6.1.191 on in 6.1.y,
from 6.12.114 on in 6.12.y, from 7.1.5 on in 7.1.y, and in 7.2 and every later series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

_VERSION = re.compile(r"(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?(?:[-~]rc(\d{1,3}))?", re.ASCII)
_FINAL = 10_000  # sorts a final release behind all of its release candidates


@total_ordering
@dataclass(frozen=True, slots=True)
class KernelVersion:
    """`6.12.107`, `6.11` or `7.3-rc7` (Debian writes `7.3~rc7`). A release candidate comes before its release."""

    major: int
    minor: int
    patch: int = 0
    rc: int = _FINAL

    @classmethod
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

    def _key(self) -> tuple[int, int, int, int]:
        return (self.major, self.minor, self.patch, self.rc)

    def __lt__(self, other: KernelVersion) -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        patch = f".{self.patch}" if self.patch else ""
        rc = f"-rc{self.rc}" if self.is_candidate else ""
        return f"{self.major}.{self.minor}{patch}{rc}"


@dataclass(frozen=True, slots=True)
class Interval:
    """The kernels from `since` on and before `until`, each a set of points, one per series. Both may be empty."""

    since: tuple[KernelVersion, ...] = ()
    until: tuple[KernelVersion, ...] = ()

    @classmethod
    def parse(cls, since: Iterable[str] = (), until: Iterable[str] = ()) -> Self:
        """ValueError on a malformed version, or on two points in one series."""
        return cls(_points(since), _points(until))

    def __contains__(self, version: KernelVersion) -> bool:
        return (not self.since or _reached(self.since, version)) and not (self.until and _reached(self.until, version))

    def __str__(self) -> str:
        since = f"since {', '.join(map(str, self.since))}" if self.since else ""
        until = f"until {', '.join(map(str, self.until))}" if self.until else ""
        return " ".join(filter(None, (since, until))) or "every kernel"


def _points(texts: Iterable[str]) -> tuple[KernelVersion, ...]:
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
