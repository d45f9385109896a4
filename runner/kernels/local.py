# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that lie on this machine: what the sources `installed`, `path` and `tree` share.

Such a kernel is pinned by the digests of its image, its config and the modules that guests need, and copied into the
cache when it is first used. What changed since it was pinned is noticed.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationError

from runner import userfile
from runner.errors import InfraError, RunnerError, UserError
from runner.kernels.config import upstream_version
from runner.kernels.source import KernelSource, Means
from runner.kernels.unpack import Parts, lay_out, needed_of
from runner.model import Pin, PinnedFile
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion

log = logging.getLogger(__name__)


class LocalSource(KernelSource):
    """A kernel of this machine. A subclass says where it lies."""

    local: ClassVar[bool] = True

    @property
    def default_name(self) -> str:
        last = Path(getattr(self, self.word)).name
        return re.sub(r"[^A-Za-z0-9._-]", "-", last).lstrip("._-")[:64] or self.word

    def kernels(self) -> Sequence[Parts]:
        """The kernels that it names, as they are now. Raises UserError when there is none, or a part is missing."""
        raise NotImplementedError

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:  # noqa: ARG003
        """Those that the matrix names, as far as they are there."""
        for source in named:
            try:
                kernels = [(arch, parts) for parts in source.kernels() if (arch := parts.architecture()) in archs]
                yield from [pin_of(source.text, arch, parts) for arch, parts in kernels]
            except RunnerError as error:
                log.warning("%s", error.what)

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:  # noqa: ARG002
        return [pin_of(self.text, arch, parts) for parts in self.kernels()]

    def lost(self, pin: Pin, means: Means) -> str:  # noqa: ARG002
        """What changed."""
        try:
            return _difference(pin, needed_of(self._find(pin)))
        except RunnerError as error:
            return error.what

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Copy it. What is unpacked is a copy that was checked, since a build may be running in the source folder.

        Raises InfraError when it is gone, cannot be read, or is not what was pinned.
        """
        try:
            staged = _staged(needed_of(self._find(pin)), tree.parent / "staged")
        except UserError as error:  # it was there when it was pinned
            raise InfraError(error.what, hint="it is needed on each machine that boots it") from None
        except OSError as error:
            raise InfraError(f"{pin.source}: {error.filename}: {error.strerror}") from None
        if fault := _difference(pin, staged):
            raise InfraError(f"{pin.source}: {fault}", hint="`runner kernels lock` pins what is there now")
        lay_out(staged, pin.arch, tree, deadline=means.deadline)

    def _find(self, pin: Pin) -> Parts:
        for parts in self.kernels():
            if parts.release == pin.release:
                return parts
        raise UserError(f"{pin.release} is not there any more", hint="`runner kernels lock` pins what is there now")


def pin_of(source: str, arch: str, parts: Parts) -> Pin:
    """Pin a kernel as it is now.

    Raises UserError when it is not one for this architecture or has no version, InfraError when it cannot be read.
    """
    found = parts.architecture()
    if found != arch:
        raise UserError(
            f"{source}: {parts.image} is a kernel for {found or 'an unknown architecture'}, wanted for {arch}",
            hint=f"give it `architectures: [{found}]` in the matrix" if found in ARCHITECTURES else "",
        )
    try:
        version = str(KernelVersion.parse(upstream_version(parts.options(), parts.release)))
    except ValueError:
        raise UserError(f"{source}: neither its .config nor {parts.release!r} tells a kernel version") from None
    try:
        files = tuple(_pinned(needed_of(parts)))
        return Pin(source=source, arch=arch, version=version, release=parts.release, files=files)
    except ValidationError as error:
        raise UserError(f"{source}: release {parts.release!r}: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise InfraError(
            f"{source}: {error.filename}: {error.strerror}", hint="this user must be able to read it"
        ) from None


def _difference(pin: Pin, needed: Parts) -> str:
    """Which part is not what was pinned; empty when all are."""
    try:
        there = {file.name: file for file in _pinned(needed)}
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    names = [file.name for file in pin.files if there.get(file.name) != file]
    return f"{' and '.join(names)} changed since it was pinned" if names else ""


def _pinned(parts: Parts) -> Iterator[PinnedFile]:
    yield _file("image", parts.image)
    if parts.config:
        yield _file("config", parts.config)
    whole, size = hashlib.sha256(), 0
    names = [(str(path.relative_to(parts.base)), path) for path in parts.modules.values()]
    for name, path in sorted(names + [(path.name, path) for path in parts.lists]):
        one = _file("module", path)
        whole.update(f"{one.sha256}  {name}\n".encode())
        size += one.size_bytes
    yield PinnedFile(name="modules", sha256=whole.hexdigest(), size_bytes=size)


def _file(name: str, path: Path) -> PinnedFile:
    with userfile.opened(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return PinnedFile(name=name, sha256=digest, size_bytes=path.stat().st_size)


def _staged(parts: Parts, folder: Path) -> Parts:
    """A copy of the parts."""
    base = folder / "modules"
    base.mkdir(parents=True)
    copies = {}
    for name, path in parts.modules.items():
        copies[name] = base / path.relative_to(parts.base)
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copies[name])
    lists = tuple(Path(shutil.copyfile(path, folder / path.name)) for path in parts.lists)
    image = Path(shutil.copyfile(parts.image, folder / "image"))
    config = Path(shutil.copyfile(parts.config, folder / "config")) if parts.config else None
    return replace(parts, image=image, config=config, lists=lists, base=base, modules=copies)
