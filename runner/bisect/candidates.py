# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernels of a bisection: what the sources offer, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.caches import cache_root
from runner.errors import UserError
from runner.kernels import Means, have_kernel, offered
from runner.kernels.archive import Archive
from runner.kernels.source import age
from runner.model import Pin
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.results.bisections import Candidate


def candidate_of(pin: Pin) -> Candidate:
    """What a bisection stores of a kernel of the archive."""
    return Candidate(
        key="/".join(filter(None, (pin.package_version, pin.arch, pin.variant))),
        version=pin.version,
        release=pin.release,
        arch=pin.arch,
        source=pin.source,
        build=pin.package_version,
        suite=pin.packages[0].suite,
        variant=pin.variant,
    )


def every_kernel(
    archive: Archive, archs: Iterable[str], *, deadline: Deadline, offline: bool = False
) -> tuple[Pin, ...]:
    """Every kernel of the archive, each build once whatever suites have it, in order. Raises InfraError.

    `offline`: only those in the cache.
    """
    found: dict[object, Pin] = {}
    cache = cache_root()
    for pin in offered((), tuple(archs), Means(archive, cache, deadline), words=("debian",)):
        if not offline or have_kernel(pin, cache):
            found.setdefault((pin.arch, pin.digests), pin)
    return ordered(found.values())


def ordered(kernels: Iterable[Pin]) -> tuple[Pin, ...]:
    """By version, then build, then architecture and configuration."""
    return tuple(sorted(kernels, key=lambda pin: (age(pin), pin.arch, pin.variant)))


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Which of them: `series` one of the stable series, `first` and `last` ends, each a version, release or build.

    All are of the generic configuration, but where an end is a release of another one, or all of a version are wanted.
    """

    series: str = ""
    first: str = ""
    last: str = ""
    version: str = ""  # all builds of one version, those of an architecture and a configuration together

    def select(self, kernels: Sequence[Pin]) -> tuple[Pin, ...]:
        """Those of `kernels`, which are in order. Raises UserError when an end is not there."""
        if self.version:
            mine = [it for it in kernels if it.version == self.version]
            return _some(_to_and_fro(mine), self.version, kernels)
        kernels = _of_variant(kernels, self.first, self.last)
        if self.series:
            return _some([it for it in kernels if _in_series(it, self.series)], self.series, kernels)
        first = _places(kernels, self.first)[0] if self.first else 0
        last = _places(kernels, self.last)[-1] if self.last else len(kernels) - 1
        if first > last:
            raise UserError(f"--from {self.first} is newer than --to {self.last}", hint="swap them")
        return tuple(kernels[first : last + 1])


def _to_and_fro(builds: Iterable[Pin]) -> list[Pin]:
    """Those of an architecture together, each second time backwards: neighbours differ in as little as can be."""
    archs: dict[str, list[Pin]] = {}
    for it in sorted(builds, key=lambda it: (it.arch, it.variant)):
        archs.setdefault(it.arch, []).append(it)
    backwards = len(archs) - 1  # the last one is in order
    return [it for at, group in enumerate(archs.values()) for it in group[:: -1 if (backwards - at) % 2 else 1]]


def _of_variant(kernels: Sequence[Pin], *ends: str) -> Sequence[Pin]:
    """Those of one configuration: kernels of several are in no order."""
    variant = next((it.variant for it in kernels if it.release in ends), "")
    return [it for it in kernels if it.variant == variant]


def _places(kernels: Sequence[Pin], word: str) -> list[int]:
    found = [at for at, it in enumerate(kernels) if _named(it, word)]
    if not found:
        raise _nothing(word, kernels)
    return found


def _named(it: Pin, word: str) -> bool:
    return word in {it.version, it.release, it.package_version, it.source} or _in_series(it, word)


def _in_series(it: Pin, word: str) -> bool:
    """`6.12` and `7`; a whole version is no series."""
    major, _, minor = word.partition(".")
    if not major.isdecimal() or (minor and not minor.isdecimal()):
        return False
    version = it.upstream
    return version.major == int(major) and (not minor or version.minor == int(minor))


def _some(found: list[Pin], word: str, kernels: Sequence[Pin]) -> tuple[Pin, ...]:
    if not found:
        raise _nothing(word, kernels)
    return tuple(found)


def _nothing(word: str, kernels: Sequence[Pin]) -> UserError:
    versions = sorted({it.upstream for it in kernels})
    try:
        wanted = KernelVersion.parse(word)
        versions = [it for it in versions if it.series == wanted.series] or versions
    except ValueError:
        pass
    there = ", ".join(map(str, versions[-12:]))
    hint = (
        f"there are {there}; `runner kernels list` shows all" if there else "`runner kernels list` shows what there is"
    )
    return UserError(f"no source offers a kernel {word}", hint=hint)
