# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels and images from one machine's cache to another's: a tar of each, whose digests are checked on arrival."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Annotated

from pydantic import Field, TypeAdapter

from runner.errors import InfraError
from runner.images import ensure_image, stored_image
from runner.kernels import ensure_kernel, stored_kernel
from runner.model import ImagePin, Pin, Plain, Sha256
from runner.model.deadline import Deadline
from runner.store import Store, StoredTree, tree_sha256

_BLOCK = 1 << 16

Pinned = Pin | ImagePin
_Either = Annotated[Pinned, Field(union_mode="left_to_right")]
PINS: TypeAdapter[tuple[Pinned, ...]] = TypeAdapter(tuple[_Either, ...])  # what hosts are told in


class Parcel(Plain):
    """One entry on its way: the first line of what `runner host receive` reads; the tar follows."""

    pin: _Either
    sha256: Sha256  # of the entry


def title(pin: Pinned) -> str:
    if isinstance(pin, Pin):
        return f"kernel {pin.version} for {pin.arch}"
    return f"container image for {pin.arch}" if pin.oci else f"image for {pin.arch}"


def lacking(pins: Iterable[Pinned], cache: Path) -> tuple[Pinned, ...]:
    """What is not in this machine's cache."""
    places = ((pin, *_place(pin, cache)) for pin in pins)
    return tuple(pin for pin, store, key in places if not store.has(key))


def fetch(pins: Iterable[Pinned], cache: Path, *, deadline: Deadline) -> Iterator[Pinned]:
    """Get each from the archive, unless it is there. Raises InfraError."""
    for pin in pins:
        if isinstance(pin, Pin):
            ensure_kernel(pin, cache, deadline=deadline)
        else:
            ensure_image(pin, cache, deadline=deadline)
        yield pin


def send(pin: Pinned, cache: Path, to: IO[bytes]) -> None:
    """Write a parcel. Raises InfraError when the entry is not in this machine's cache."""
    entry = _entry(pin, cache)
    to.write(Parcel(pin=pin, sha256=entry.sha256).model_dump_json().encode() + b"\n")
    with tarfile.open(fileobj=to, mode="w|", bufsize=_BLOCK) as archive:
        for path in sorted(entry.files):
            archive.add(entry.tree / path, arcname=str(path), recursive=False)


def receive(stream: IO[bytes], cache: Path, *, deadline: Deadline) -> Pinned:
    """Take a parcel into the cache. Raises InfraError when something is missing or is not what was sent."""
    parcel = Parcel.model_validate_json(stream.readline())
    store, key = _place(parcel.pin, cache)

    def make(tree: Path) -> None:
        try:
            _unpack(stream, tree)
        except (tarfile.TarError, EOFError) as error:
            raise InfraError(f"{title(parcel.pin)} arrived damaged: {error}") from error
        if tree_sha256(tree) != parcel.sha256:
            raise InfraError(f"{title(parcel.pin)} arrived damaged: its files are not those that were sent")

    store.ensure(key, make, deadline=deadline)
    return parcel.pin


def _unpack(stream: IO[bytes], tree: Path) -> None:
    """Plain files below `tree`, nothing else. tarfile's own filters came with Python 3.11.4; Debian 12 has 3.11.2."""
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or path.is_absolute() or ".." in path.parts:
                raise InfraError(f"{member.name!r} is not a file of a kernel or an image")
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            with (tree / path).open("xb") as file:
                shutil.copyfileobj(content, file, _BLOCK)
            (tree / path).chmod(0o700 if member.mode & 0o100 else 0o600)


def _entry(pin: Pinned, cache: Path) -> StoredTree:
    store, key = _place(pin, cache)
    entry = store.get(key)
    if entry is None:
        raise InfraError(f"the {title(pin)} is not in this machine's cache", hint="`runner kernels fetch` gets it")
    return entry


def _place(pin: Pinned, cache: Path) -> tuple[Store, str]:
    return stored_kernel(pin, cache) if isinstance(pin, Pin) else stored_image(pin, cache)
