# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's container image as a disk: the root of commands, beside the root of the guest.

    disk.ext2    root/        the image's folders, files and links, and empty folders to mount over
                 environment  its variables, in JSON
    reference    what the image was called

Its layers are never unpacked here: they become one archive, of which genext2fs makes the disk.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from runner.caches import MAX_BYTES, need_space, not_cached, outgrown
from runner.errors import InfraError, UserError
from runner.guest.snapshots import SNAPSHOTS, Snapshots
from runner.kernels.layers import Layers
from runner.kernels.registry import LARGEST, ContainerImage
from runner.model import ImagePin
from runner.model.deadline import Deadline
from runner.process import run
from runner.store import Store, StoredEntry, StoredTree, key_of
from runner.text import plain

DISK = PurePosixPath("disk.ext2")  # in its entry
_RECIPE = 2  # raise it when what is made here changes
_REFERENCE = "reference"
_POINTS = ("boot", "dev", "payload", "proc", "root", "run", "sys", "tmp")
_BLOCK = 4096
_LARGEST_ENVIRONMENT = 64 << 10


class DiskStore(Store):
    """Disks that the cache keeps for as long as there is room: boot files of kernels, and container images."""

    def __init__(self, cache: Path, folder: str, name_of: Callable[[Path], str]) -> None:
        super().__init__(cache / folder)
        self._snapshots = cache / SNAPSHOTS
        self.name_of = name_of  # for people, by the tree of an entry

    def __iter__(self) -> Iterator[StoredEntry]:
        """A snapshot needs the disks that its guest was booted with, and opens them: they are used by a start of it."""
        started = [(it.used_s, " ".join(it.about.argv)) for it in Snapshots(self._snapshots)]
        for it in super().__iter__():
            used_s = max((used_s for used_s, words in started if it.key in words), default=0)
            yield replace(it, used_s=max(it.used_s, used_s))

    def ensure_kept(self, key: str, make: Callable[[Path], None], *, deadline: Deadline) -> StoredTree:
        """The entry, used now; made where there is none, and then others are removed for which there is no room."""
        new = not self.has(key)
        entry = self.ensure(key, make, deadline=deadline)
        self.mark_used(key)
        for it in outgrown(self, MAX_BYTES, spare=key) if new else ():
            self.remove(it.key)
        return entry


def containers(cache: Path) -> DiskStore:
    """By what each image was called."""
    return DiskStore(cache, "containers", lambda tree: plain((tree / _REFERENCE).read_text(), 200))


def stored_container(pin: ImagePin, cache: Path) -> tuple[DiskStore, str]:
    """Where the cache keeps the disk, and under which key."""
    return containers(cache), key_of(recipe=_RECIPE, image=[file.sha256 for file in pin.files])


def ensure_container(pin: ImagePin, cache: Path, *, deadline: Deadline, offline: bool) -> StoredTree:
    """The disk, verified; the image pulled first when the cache has none. Raises InfraError."""
    (file,) = pin.files
    container = ContainerImage.named(pin.oci)

    def make(tree: Path) -> None:
        if offline and not container.is_local:
            raise not_cached(f"the container image {pin.oci} for {pin.arch}")
        try:
            layers, config = container.pulled(file, tree.parent, deadline)
        except UserError as error:  # it was there when it was pinned
            raise InfraError(error.what, hint="it is needed on each machine that boots it") from None
        _write_disk(tree / DISK, Layers(layers), config.environment, deadline)
        (tree / _REFERENCE).write_text(pin.oci)

    store, key = stored_container(pin, cache)
    return store.ensure_kept(key, make, deadline=deadline)


def _write_disk(disk: Path, layers: Layers, environment: dict[str, str], deadline: Deadline) -> None:
    packed = disk.parent.with_name("packed.tar")
    variables = json.dumps(environment).encode()
    if len(variables) > _LARGEST_ENVIRONMENT:
        raise InfraError(f"the environment of the image has more than {_LARGEST_ENVIRONMENT >> 10} KiB")
    there = layers.names("")
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        info = tarfile.TarInfo("environment")
        info.size = len(variables)
        archive.addfile(info, io.BytesIO(variables))
        for name in ("", *(name for name in _POINTS if name not in there)):
            folder = tarfile.TarInfo(f"root/{name}")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        layers.pack(archive, "root", limit_bytes=LARGEST)
    with tarfile.open(packed) as archive:
        sizes = [member.size for member in archive]
    # a file's last block is not full, one in a thousand has the numbers of others, a folder has an entry for each name
    blocks = sum(size // _BLOCK + 2 for size in sizes) * 1003 // 1000
    inodes = len(sizes) + 64
    total = blocks + inodes * 128 // _BLOCK + blocks // 1000 + 1024
    need_space(disk.parent, total * _BLOCK, "a disk with the container image")
    size = ["-B", str(_BLOCK), "-b", str(total), "-N", str(inodes)]
    run(["genext2fs", *size, "-a", packed, disk], deadline=deadline, env={"SOURCE_DATE_EPOCH": "0"})
    packed.unlink()
