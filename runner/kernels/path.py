"""A kernel that lies somewhere on this machine: `path:FOLDER`, or `path:IMAGE,MODULES[,CONFIG]`.

FOLDER is laid out as packages and images of systems are: boot/vmlinuz-RELEASE, boot/config-RELEASE and
(usr/)lib/modules/RELEASE, or all of it in the last of them. MODULES is a folder called after the release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from runner.errors import InfraError, UserError
from runner.kernels import local
from runner.kernels.entries import AbsolutePath, KernelEntry
from runner.kernels.source import Means, Offer
from runner.kernels.unpack import Parts, find_parts, parts_of, releases_in
from runner.model import Pin, Wanted

WORD = "path"
LOCAL = True
VARIABLE = ""
_SOURCE = re.compile(rf"{WORD}:(/[^,]*)(?:,(/[^,]*))?(?:,(/[^,]*))?")


class PathEntry(KernelEntry):
    """One kernel that lies on this machine."""

    path: Annotated[AbsolutePath, Field(description="a folder with boot/ and lib/modules/, or the kernel's image")]
    modules: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its folder of modules, called as the release")
    ] = None
    config: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its .config; by default the one beside")
    ] = None

    @model_validator(mode="after")
    def _config_needs_modules(self) -> Self:
        if self.config and not self.modules:
            raise ValueError("'config' needs 'modules' as well")
        return self

    @property
    def default_name(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]", "-", Path(self.path).name).lstrip("._-")[:64] or WORD

    @property
    def key(self) -> str:
        return WORD

    def wanted(self, arch: str) -> Iterator[Wanted]:
        parts = filter(None, (self.path, self.modules, self.config))
        yield Wanted(name=self.called, source=f"{WORD}:{','.join(parts)}", arch=arch)


ENTRY = PathEntry


def check(source: str) -> None:
    """UserError unless the text can be understood."""
    _places(source)


def offers(named: Sequence[str], archs: Sequence[str], means: Means) -> Iterator[Offer]:  # noqa: ARG001
    """Those that the matrix names."""
    return local.offers(named, archs, _parts, lambda source: _places(source)[0])


def lock(source: str, arch: str, means: Means) -> tuple[Pin, ...]:
    """Pin it as it is now. UserError when there is no kernel, or not one kernel alone."""
    return (local.pin(source, arch, _parts(source), deadline=means.deadline),)


def lost(pin: Pin, means: Means) -> str:
    """What changed."""
    return local.lost(pin, _parts, means)


def fetch(pin: Pin, tree: Path, means: Means) -> None:
    """Copy it."""
    local.fetch(pin, _parts, tree, means)


def _places(source: str) -> tuple[Path, ...]:
    found = _SOURCE.fullmatch(source)
    if not found:
        raise UserError(f"{source!r} is not a kernel source", hint=f"like {WORD}:/srv/kernel, with a whole path")
    return tuple(Path(part) for part in found.groups() if part)


def _parts(source: str) -> Parts:
    """UserError when they are not there: it is the matrix that says they are."""
    first, *others = _places(source)
    try:
        if others:
            return parts_of(first, *others)
        releases = releases_in(first)
        if len(releases) == 1:
            return find_parts(first, releases[0])
    except InfraError as error:
        raise UserError(f"{source}: {error.what}", hint=error.hint) from None
    if releases:
        raise UserError(
            f"{source}: {first} has several kernels: {', '.join(releases)}",
            hint="name the image, and its `modules` folder",
        )
    raise UserError(
        f"{source}: no kernel in {first}: no folder lib/modules/RELEASE/kernel in it",
        hint="for a kernel's image, say where its `modules` are",
    )
