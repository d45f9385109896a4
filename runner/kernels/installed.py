"""The kernels that are installed on this machine: `installed:all`, `installed:newest`, or `installed:RELEASE`.

They lie in /boot and /lib/modules, or whole in /usr/lib/modules/RELEASE. Nothing is changed there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from runner.errors import InfraError, RunnerError, UserError
from runner.kernels import local
from runner.kernels.config import built_for
from runner.kernels.entries import KernelEntry, matches
from runner.kernels.source import Means, Offer
from runner.kernels.unpack import Parts, find_parts, releases_in
from runner.model import Pin, Wanted

log = logging.getLogger(__name__)

WORD = "installed"
LOCAL = True
VARIABLE = ""
ALL, NEWEST = "all", "newest"
ROOT = Path("/")
_RELEASE = r"all|newest|[0-9][A-Za-z0-9._+~-]{0,100}"

Which = Annotated[
    str,
    AfterValidator(matches("a release", _RELEASE, 'like "6.1.0-56-amd64" (`uname -r`), or all, or newest')),
    WithJsonSchema({"type": "string", "pattern": f"^({_RELEASE})$"}),
]


class InstalledEntry(KernelEntry):
    """Kernels that are installed on this machine."""

    installed: Annotated[Which, Field(description="a release, as `uname -r` has it; or newest; or all")]

    @property
    def default_name(self) -> str:
        return WORD if self.installed in {ALL, NEWEST} else re.sub(r"[^A-Za-z0-9._-]", "-", self.installed)[:64]

    @property
    def key(self) -> str:
        return WORD

    def wanted(self, arch: str) -> Iterator[Wanted]:
        source = f"{WORD}:{self.installed}"
        yield Wanted(name=self.called, source=source, arch=arch, which="all" if self.installed == ALL else None)


ENTRY = InstalledEntry


def check(source: str) -> None:
    """UserError unless the text can be understood."""
    _which(source)


def offers(named: Sequence[str], archs: Sequence[str], means: Means) -> Iterator[Offer]:  # noqa: ARG001
    """Every one that is whole."""
    for parts in _whole():
        try:
            found = local.offer(f"{WORD}:{parts.release}", parts, str(parts.image.parent))
        except RunnerError as error:
            log.warning("%s", error.what)
            continue
        if found.arch in archs:
            yield found


def lock(source: str, arch: str, means: Means) -> tuple[Pin, ...]:
    """Pin what is installed now. UserError, naming what there is, when it is not."""
    which, there = _which(source), _whole()
    if which not in {ALL, NEWEST}:
        chosen = [parts for parts in there if parts.release == which]
    else:
        chosen = [parts for parts in there if built_for(parts.config) == arch]
    if not chosen:
        names = ", ".join(f"{parts.release} ({built_for(parts.config) or 'unknown'})" for parts in there)
        raise UserError(
            f"{source}: no such kernel for {arch} is installed on this machine",
            hint=f"there are {names}" if names else f"there is none with its modules and its .config below {ROOT}",
        )
    pins = [local.pin(source, arch, parts, deadline=means.deadline) for parts in chosen]
    return (max(pins, key=lambda pin: (pin.upstream, pin.release)),) if which == NEWEST else tuple(pins)


def lost(pin: Pin, means: Means) -> str:
    """What changed."""
    try:
        return local.changed(pin, find_parts(ROOT, pin.release), deadline=means.deadline)
    except InfraError as error:
        return f"{pin.release} is not installed any more: {error.what}"


def fetch(pin: Pin, tree: Path, means: Means) -> None:
    """Copy it."""
    local.copy(pin, find_parts(ROOT, pin.release), tree, means)


def _which(source: str) -> str:
    word, _, which = source.partition(":")
    if word != WORD or not re.fullmatch(_RELEASE, which):
        raise UserError(f"{source!r} is not a kernel source", hint=f"like {WORD}:newest, {WORD}:all")
    return which


def _whole() -> tuple[Parts, ...]:
    found = []
    for release in releases_in(ROOT):
        try:
            found.append(find_parts(ROOT, release))
        except InfraError as error:
            log.info("the installed kernel %s is left out: %s", release, error.what)
    return tuple(found)
