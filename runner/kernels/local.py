"""Kernels that lie on this machine: what the sources `installed`, `path` and `tree` share.

Such a kernel is pinned by the digests of its image, its config and the modules that guests need, and copied into the
cache when it is first used. What changed since it was pinned is noticed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from runner.errors import InfraError, RunnerError, UserError
from runner.kernels import modules
from runner.kernels.config import built_for, upstream_version
from runner.kernels.source import Means, Offer
from runner.kernels.unpack import Parts, lay_out, needed_of
from runner.model import Pin, PinnedFile
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion

log = logging.getLogger(__name__)

Find = Callable[[str], Parts]  # the parts of what a source names; UserError when they are not there


def pin(source: str, arch: str, parts: Parts, *, deadline: Deadline) -> Pin:
    """Pin a kernel as it is now. UserError when it is none for this architecture."""
    found = built_for(parts.config)
    if found != arch:
        raise UserError(
            f"{source}: {parts.image} is a kernel for {found or 'an unknown architecture'}, wanted for {arch}",
            hint=f"give it `architectures: [{found}]` in the matrix" if found else f"{parts.config} does not tell",
        )
    try:
        return Pin(
            source=source,
            arch=arch,
            version=str(_version(source, parts)),
            release=parts.release,
            files=tuple(_pinned(needed_of(parts, modules.WANTED, deadline=deadline))),
        )
    except ValidationError as error:
        raise UserError(f"{source}: release {parts.release!r}: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise InfraError(
            f"{source}: {error.filename}: {error.strerror}", hint="this user must be able to read it"
        ) from None


def offer(source: str, parts: Parts, suite: str) -> Offer:
    """A kernel of this machine, for a list."""
    return Offer(
        source=source,
        arch=built_for(parts.config),
        version=_version(source, parts),
        release=parts.release,
        suite=suite,
        size_bytes=parts.image.stat().st_size,
    )


def changed(pin: Pin, parts: Parts, *, deadline: Deadline) -> str:
    """Which part is not what was pinned; empty when all are."""
    return _difference(pin, needed_of(parts, modules.WANTED, deadline=deadline))


def _difference(pin: Pin, needed: Parts) -> str:
    try:
        there = {file.name: file for file in _pinned(needed)}
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    names = [file.name for file in pin.files if there.get(file.name) != file]
    return f"{' and '.join(names)} changed since it was pinned" if names else ""


def offers(named: Iterable[str], archs: Container[str], find: Find, folder: Callable[[str], Path]) -> Iterator[Offer]:
    """Those that the matrix names, as far as they are there."""
    for source in named:
        try:
            found = offer(source, find(source), str(folder(source)))
        except RunnerError as error:
            log.warning("%s", error.what)
            continue
        if found.arch in archs:
            yield found


def lost(pin: Pin, find: Find, means: Means) -> str:
    """What became of one that the matrix names; empty when it is as it was pinned."""
    try:
        return changed(pin, find(pin.source), deadline=means.deadline)
    except RunnerError as error:
        return error.what


def fetch(pin: Pin, find: Find, tree: Path, means: Means) -> None:
    """Copy one that the matrix names. That it is not there is now the machine's fault."""
    try:
        parts = find(pin.source)
    except UserError as error:
        raise InfraError(error.what, hint="it is needed on each machine that boots it") from None
    copy(pin, parts, tree, means)


def copy(pin: Pin, parts: Parts, tree: Path, means: Means) -> None:
    """Fill `tree`. What is unpacked is a copy that was checked: a build may go on in the folder that it comes from."""
    try:
        staged = _staged(needed_of(parts, modules.WANTED, deadline=means.deadline), tree.parent / "staged")
    except OSError as error:
        raise InfraError(f"{pin.source}: {error.filename}: {error.strerror}") from None
    if fault := _difference(pin, staged):
        raise InfraError(f"{pin.source}: {fault}", hint="`runner kernels lock` pins what is there now")
    lay_out(staged, architecture(pin.arch).image, tree, deadline=means.deadline)


def _version(source: str, parts: Parts) -> KernelVersion:
    text = upstream_version(parts.config, parts.release)
    try:
        return KernelVersion.parse(text)
    except ValueError:
        raise UserError(f"{source}: neither {parts.config} nor {parts.release!r} tells a kernel version") from None


def _pinned(parts: Parts) -> Iterator[PinnedFile]:
    yield _file("image", parts.image)
    yield _file("config", parts.config)
    whole, size = hashlib.sha256(), 0
    names = [(str(path.relative_to(parts.base)), path) for path in parts.modules.values()]
    for name, path in sorted(names + [(path.name, path) for path in parts.lists]):
        one = _file("module", path)
        whole.update(f"{one.sha256}  {name}\n".encode())
        size += one.size_bytes
    yield PinnedFile(name="modules", sha256=whole.hexdigest(), size_bytes=size)


def _file(name: str, path: Path) -> PinnedFile:
    with path.open("rb") as stream:
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
    config = Path(shutil.copyfile(parts.config, folder / "config"))
    return replace(parts, image=image, config=config, lists=lists, base=base, modules=copies)
