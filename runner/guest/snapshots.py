# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The snapshots on this machine: a folder for each, with the memory of a guest, private to the user.

    ROOT/<key>/about.json       what it is, and how its qemu is started; its time of change is that of the last use
    ROOT/<key>/ram, state       the guest's memory, and what else qemu keeps of it
    ROOT/.making-*              one that is being made

A snapshot is published by a rename: nobody sees a part of one. It is removed while guests that started from it run.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, Field, ValidationError

from runner.caches import MAX_BYTES, CacheEntry, outgrown
from runner.model import Plain, Sha256
from runner.process import own_folder
from runner.store import MAKING, file_sha256, remove_entry, sync

SNAPSHOTS = "snapshots"  # their folder in the cache
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)


class DamagedError(Exception):
    """A snapshot is not what was stored."""


class SnapshotFacts(Plain):
    """The document about.json."""

    name: str  # of the cell that it was made for
    made: AwareDatetime
    argv: tuple[str, ...]  # of the qemu that was saved, without its name
    folder: str  # of the guest that was saved
    state_sha256: Sha256
    ram_bytes: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Snapshot(CacheEntry):
    """One that is complete. Its memory has holes, which take nothing on the disk."""

    folder: Path
    about: SnapshotFacts

    @property
    def ram(self) -> Path:
        return self.folder / "ram"

    @property
    def state(self) -> Path:
        return self.folder / "state"


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Those in one folder."""

    root: Path

    def find(self, key: str) -> Snapshot | None:
        """The snapshot, which counts as used now; None when there is none.

        Raises DamagedError, and removes it, when it is not what was stored.
        """
        found = self._read(key)
        if found is None:
            return None
        try:
            if (
                file_sha256(found.state) == found.about.state_sha256
                and found.ram.stat().st_size == found.about.ram_bytes
            ):
                os.utime(found.folder / "about.json")
                return found
        except OSError:
            pass
        self.remove(key)
        raise DamagedError(f"the snapshot of {found.about.name} is damaged")

    def _read(self, key: str) -> Snapshot | None:
        folder = self.root / key
        try:
            about = SnapshotFacts.model_validate_json((folder / "about.json").read_bytes())
            size = sum(file.stat().st_blocks * 512 for file in folder.iterdir())
            return Snapshot(key, (folder / "about.json").stat().st_mtime, size, folder, about)
        except (OSError, ValidationError):
            return None

    def __iter__(self) -> Iterator[Snapshot]:
        """All of them, the most recently used first."""
        names = [path.parent.name for path in self.root.glob("*/about.json")]
        found = [it for name in names if not name.startswith(".") and (it := self._read(name))]
        yield from sorted(found, key=lambda it: it.used_s, reverse=True)

    def remove(self, key: str) -> None:
        """If there is one."""
        remove_entry(self.root, key)

    @contextmanager
    def making(self, *, end_s: float) -> Iterator[Path]:
        """A folder for the files of a new one; gone at the end. Raises OSError and InfraError."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with own_folder(self.root, MAKING, end_s=end_s) as own:
            folder = own.path / "entry"
            folder.mkdir(mode=0o700)
            yield folder

    def publish(self, key: str, folder: Path, about: SnapshotFacts) -> None:
        """`folder` becomes the snapshot, unless another process has made the same meanwhile. Raises OSError."""
        (folder / "about.json").write_text(about.model_dump_json())
        for path in folder.iterdir():
            path.chmod(0o600)
            sync(path)
        if self._read(key) is None:
            self.remove(key)  # what cannot be read
            try:
                folder.rename(self.root / key)
            except OSError as error:  # another process was a moment earlier
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                    raise
            sync(self.root)
        self.prune(MAX_BYTES, spare=key)

    def prune(self, most_bytes: int, *, spare: str = "") -> list[Snapshot]:
        """Remove the least recently used ones until all together take no more than `most_bytes`; those removed."""
        removed = outgrown(self, most_bytes, spare=spare)
        for it in removed:
            self.remove(it.key)
        return removed


def copy_sparse(source: Path, target: Path) -> None:
    """Copy what is not zero; the rest becomes holes. Raises OSError."""
    with source.open("rb", buffering=0) as read, target.open("xb", buffering=0) as write:
        size, at = os.fstat(read.fileno()).st_size, 0
        write.truncate(size)
        while at < size:
            try:
                at = os.lseek(read.fileno(), at, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            end = os.lseek(read.fileno(), at, os.SEEK_HOLE)
            while at < end:
                block = os.pread(read.fileno(), min(_BLOCK, end - at), at)
                if not block:
                    return
                if block != _ZEROS[: len(block)] and os.pwrite(write.fileno(), block, at) < len(block):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                at += len(block)
