"""Kernels that an HTTP server has in packages, by version: what the sources `mainline` and `snapshot` share.

A text is `WORD:VERSIONS[/all]`: `6.6` is the newest 6.6.y, `v6.6` or `6.6.12` that one, `>=6.0` the newest of every
series, `>=6.0/all` every release. What a server says of itself only chooses: which files a kernel is made of is read
from something that is signed, and pinned by digest.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from runner.errors import UserError
from runner.kernels import debs
from runner.kernels.download import NotThere, Server
from runner.kernels.entries import KernelEntry, WhichField, quoted
from runner.kernels.source import Means
from runner.model import Pin, Wanted, Which
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion, Versions

log = logging.getLogger(__name__)

OLDEST = KernelVersion(6, 0)  # lists begin here: kfuncs of TC and XDP programs came with it
_TRIED = 8  # of the kernels that would do, the newest so many are looked at: a build may have failed
_UNKNOWN_SIZE = 1 << 30  # bytes; no kernel's package is larger
_HOW = 'a stable series like "6.6" (its newest), one version like "v6.6" or "6.6.12", or a range like ">=6.0"'


def _understood(text: str) -> str:
    try:
        Versions.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not {_HOW}") from None
    return text


VersionsField = Annotated[
    str,
    BeforeValidator(quoted),
    AfterValidator(_understood),
    WithJsonSchema({"type": "string", "pattern": r"^[v0-9<>=][0-9a-z.,<>=~-]*$"}),
]


class ServedEntry(KernelEntry):
    """Kernels by version. The field that `word` names holds the versions."""

    word: ClassVar[str]
    which: WhichField = None

    @property
    def default_name(self) -> str:
        return self.word if self._versions.is_range else f"{self.word}-{self._versions}"

    @property
    def key(self) -> str:
        return self.word

    @property
    def _versions(self) -> Versions:
        return Versions.parse(getattr(self, self.word))

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which: Which | None = (self.which or "newest-of-series") if self._versions.is_range else None
        source = Named(self._versions, which).text(self.word)
        yield Wanted(name=self.called, source=source, arch=arch, which=which)


class Named(NamedTuple):
    """What a source's text says."""

    versions: Versions
    which: Which | None = None

    def text(self, word: str) -> str:
        return f"{word}:{self.versions}{'/all' if self.which == 'all' else ''}"


def parse(word: str, source: str) -> Named:
    """UserError unless the text can be understood. Needs no network."""
    found = re.fullmatch(rf"{word}:([^/]+)(/all)?", source)
    try:
        versions = Versions.parse(found[1] if found else "")
    except ValueError:
        raise UserError(
            f"{source!r} is not a kernel source", hint=f"like {word}:6.6, {word}:v6.0 or {word}:>=6.0"
        ) from None
    return Named(versions, "all" if found and found[2] else None)


def candidates(known: Iterable[KernelVersion], named: Named) -> tuple[tuple[KernelVersion, ...], ...]:
    """For each kernel that is meant, the versions that would do, the best first. Pure.

    Release candidates do where there is nothing else.
    """
    groups: dict[object, list[KernelVersion]] = {}
    for version in sorted(set(known), reverse=True):
        if version in named.versions:
            one = version if named.which == "all" else version.series if named.versions.is_range else None
            groups.setdefault(one, []).append(version)
    released = {version.series for group in groups.values() for version in group if not version.is_candidate}
    chosen = []
    for group in groups.values():
        finals = [version for version in group if not version.is_candidate]
        if finals or group[0].series not in released:
            chosen.append(tuple((finals or group)[:_TRIED]))
    return tuple(reversed(chosen))


class NotWholeError(Exception):
    """A version that the server names has no whole kernel; says why."""


def pins(
    source: str, arch: str, groups: Iterable[Iterable[KernelVersion]], pin: Callable[[KernelVersion], Pin]
) -> tuple[Pin, ...]:
    """Of each group the first version that is whole. UserError when nothing is, or nothing was meant."""
    found: list[Pin] = []
    faults: list[str] = []
    missing: list[str] = []
    for group in groups:
        for version in group:
            try:
                found.append(pin(version))
            except NotWholeError as fault:
                log.info("%s: %s for %s: %s", source, version, arch, fault)
                faults.append(f"{version}: {fault}")
                continue
            break
        else:
            missing.append(faults[-1])
    if not found:
        raise UserError(
            f"{source}: no kernel for {arch}", hint="; ".join(faults[-3:]) or "the server names no such version"
        )
    for text in missing:
        log.warning("%s: left out, as there is no whole kernel for %s: %s", source, arch, text)
    return tuple(found)


def lost(server: Server, pin: Pin, deadline: Deadline) -> str:
    """Which of its files the server no longer has."""
    for file in pin.files:
        try:
            server.size(file.where, deadline=deadline)
        except NotThere:
            return f"{file.name} is not there any more"
    return ""


def fetch(server: Server, pin: Pin, tree: Path, means: Means) -> None:
    """Download the packages, each checked against its digest in the lock, and unpack them."""

    def download(folder: Path) -> Iterator[Path]:
        for file in pin.files:
            target = folder / file.name
            size = file.size_bytes or _UNKNOWN_SIZE
            server.file(file.where, target, sha256=file.sha256, size_bytes=size, deadline=means.deadline)
            yield target

    debs.fill(pin, tree, download, deadline=means.deadline)
