# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Upstream kernel versions and intervals over them. The only place where versions are compared.

Fixes are backported, so an interval is a set of points, one per stable series, as the kernel's own CVE records
write them (Documentation/process/cve.rst): `since 6.1.191, 6.12.114, 7.1.5, 7.2` means from 6.1.191 on in 6.1.y,
from 6.12.114 on in 6.12.y, from 7.1.5 on in 7.1.y, and in 7.2 and every later series.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, total_ordering
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

    @property
    def key(self) -> tuple[int, int, int, int]:
        return (self.major, self.minor, self.patch, self.rc)

    def __lt__(self, other: KernelVersion) -> bool:
        return self.key < other.key

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
        return all(_COMPARE[how](version.key[: len(bound)], bound) for how, bound in self.terms)

    def __str__(self) -> str:
        return self.text


def exactly(version: KernelVersion) -> str:
    """How `Versions` names this version alone: 6.12.117, and v6.12 for the first one of a series."""
    return f"{version}" if version.patch or version.is_candidate else f"v{version}"


def _bound(text: str) -> tuple[int, ...]:
    if text.startswith("v") or "rc" in text:
        text = text.removeprefix("v")
        return KernelVersion.parse(text if "." in text else f"{text}.0").key
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
