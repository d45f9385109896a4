# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A content-addressed store: folders that are complete or not there, verified whenever they are used.

An entry is named by a key over all that it is made from. It is made in a temporary folder beside, under a lock, and
published by a rename: however a maker ends, nobody sees a part of an entry, and two processes make it once.

    ROOT/<key>/manifest.json      every file's path, size and sha256
    ROOT/<key>/tree/...           what the maker made
    ROOT/<key>.lock, ROOT/.making-<key>-*
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock
from pydantic import Field, ValidationError

from runner.caches import CacheEntry, disk_fault
from runner.errors import InfraError
from runner.model import Plain, Sha256
from runner.model.deadline import Deadline

log = logging.getLogger(__name__)

MAKING = ".making-"  # begins the names of what is made, or removed
_MANIFEST = "manifest.json"


class StoredFile(Plain):
    """One file of an entry; `path` is relative to its tree."""

    path: PurePosixPath
    size_bytes: int = Field(ge=0)
    sha256: Sha256


class TreeManifest(Plain):
    """The document manifest.json."""

    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class StoredTree:
    """An entry. `sha256` is the manifest's: the same for the same content, on every machine."""

    tree: Path
    sha256: str
    files: dict[PurePosixPath, StoredFile]


@dataclass(frozen=True, slots=True)
class StoredEntry(CacheEntry):
    """What is known of an entry without reading its files. To be made is to be used."""

    tree: Path


def key_of(**parts: object) -> str:
    """A key over everything that an entry is made from. `parts` must be JSON; name a recipe version among them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Store:
    """The entries of one kind, in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, key: str) -> bool:
        """Is there an entry? Does not verify it."""
        return (self._root / key / _MANIFEST).is_file()

    def sealed(self, key: str) -> StoredTree | None:
        """What an entry was when it was made; None when there is none. Does not verify it."""
        try:
            return _sealed(self._root / key)
        except (OSError, _DamagedError):
            return None

    def tree(self, key: str) -> Path:
        """Where an entry's files are, if there is one."""
        return self._root / key / "tree"

    def get(self, key: str) -> StoredTree | None:
        """The entry, verified; None when there is none, or when it is damaged, which is reported."""
        try:
            return _verified(self._root / key)
        except FileNotFoundError:  # there is none, or it was removed meanwhile
            return None
        except _DamagedError as fault:
            log.warning("%s is damaged and will not be used: %s", self._root / key, fault)
            return None

    def __iter__(self) -> Iterator[StoredEntry]:
        for path in self._root.glob(f"*/{_MANIFEST}"):
            key = path.parent.name
            with suppress(OSError):  # removed meanwhile
                used_s = path.stat().st_mtime
                if not key.startswith(MAKING) and (sealed := self.sealed(key)):
                    yield StoredEntry(key, used_s, sum(it.size_bytes for it in sealed.files.values()), sealed.tree)

    def mark_used(self, key: str) -> None:
        """The entry counts as used now."""
        with suppress(OSError):
            os.utime(self._root / key / _MANIFEST)

    def remove(self, key: str) -> None:
        """If there is one."""
        remove_entry(self._root, key)

    def ensure(self, key: str, make: Callable[[Path], None], *, deadline: Deadline) -> StoredTree:
        """The entry, verified; `make` fills an empty folder when there is none.

        Raises what `make` raises; InfraError for an OSError, as when the disk is full.
        """
        if found := self.get(key):
            return found
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(key, deadline):
            self._sweep(key)
            if found := self.get(key):  # another process made it while this one waited
                return found
            folder = Path(tempfile.mkdtemp(prefix=f"{MAKING}{key}-", dir=self._root))
            try:
                tree = folder / "tree"
                tree.mkdir()
                make(tree)
                _seal(folder)
                self._publish(folder, key)
                return _verified(self._root / key)
            except OSError as error:
                raise disk_fault(error, f"{self._root / key} could not be made") from error
            except _DamagedError as fault:
                raise InfraError(
                    f"{self._root / key} was damaged while it was made: {fault}", hint="check the disk and the memory"
                ) from fault
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _locked(self, key: str, deadline: Deadline) -> Iterator[None]:
        try:
            with filelock.FileLock(self._root / f"{key}.lock", timeout=deadline.remaining_s):
                yield
        except filelock.Timeout:
            raise InfraError(
                f"another process held {self._root / key}.lock for {deadline.what}",
                hint="repeat the command when that other run of runner has ended",
            ) from None

    def _publish(self, folder: Path, key: str) -> None:
        """A damaged entry steps aside under a name that the next sweep removes."""
        target = self._root / key
        if target.exists():
            target.rename(folder / "replaced")
            sync(self._root)
        (folder / "entry").mkdir()
        for part in ("tree", _MANIFEST):
            (folder / part).rename(folder / "entry" / part)
        sync(folder / "entry")
        (folder / "entry").rename(target)
        sync(self._root)

    def _sweep(self, held: str) -> None:
        """Remove what killed makers left: only the holder of a key's lock makes, and `held` is held by this one."""
        for folder in self._root.glob(f"{MAKING}*"):
            key = folder.name.removeprefix(MAKING).partition("-")[0]
            with suppress(filelock.Timeout):
                lock = nullcontext() if key == held else filelock.FileLock(self._root / f"{key}.lock", timeout=0)
                with lock:
                    log.info("removing what a killed process left: %s", folder)
                    shutil.rmtree(folder, ignore_errors=True)


def remove_entry(root: Path, key: str) -> None:
    """Under another name first, so that nobody finds a part of it; who has its files open keeps them."""
    gone = root / f"{MAKING}{key}-gone-{os.getpid()}"
    with suppress(OSError):
        (root / key).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


class _DamagedError(Exception):
    """Names the file."""


def _sealed(folder: Path) -> StoredTree:
    text = (folder / _MANIFEST).read_bytes()
    try:
        manifest = TreeManifest.model_validate_json(text)
    except ValidationError:
        raise _DamagedError("manifest.json cannot be read") from None
    return StoredTree(folder / "tree", hashlib.sha256(text).hexdigest(), {file.path: file for file in manifest.files})


def _verified(folder: Path) -> StoredTree:
    entry = _sealed(folder)
    tree, files = entry.tree, entry.files
    present = {PurePosixPath(path.relative_to(tree)) for path in _walk(tree)}
    for path in sorted(files.keys() ^ present):
        raise _DamagedError(f"{path} {'is missing' if path in files else 'does not belong there'}")
    for path, file in files.items():
        if _digest(tree, path) != file:
            raise _DamagedError(f"{path} is not what was stored")
    return entry


def _seal(folder: Path) -> None:
    """Make every file read-only, flush it, and write the manifest."""
    tree = folder / "tree"
    for path in sorted(_walk(tree)):
        path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        sync(path)
    for inner in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        sync(inner)
    write_atomically(folder / _MANIFEST, _manifest(tree))


def _manifest(tree: Path) -> bytes:
    files = (_digest(tree, PurePosixPath(path.relative_to(tree))) for path in sorted(_walk(tree)))
    return TreeManifest(files=tuple(files)).model_dump_json(indent=1).encode() + b"\n"


def tree_sha256(tree: Path) -> str:
    """What the entry's `sha256` will be that holds this tree."""
    return hashlib.sha256(_manifest(tree)).hexdigest()


def _walk(tree: Path) -> Iterator[Path]:
    """Every file. A link or a device in an entry could lead outside of it: an error."""
    for path in tree.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise _DamagedError(f"{path.relative_to(tree)} is not a plain file")
        if path.is_file():
            yield path


def _digest(tree: Path, path: PurePosixPath) -> StoredFile:
    return StoredFile(path=path, size_bytes=(tree / path).stat().st_size, sha256=file_sha256(tree / path))


def file_sha256(path: Path) -> Sha256:
    """The digest of a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """What was written to a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either the old one or the new one, also after a crash of the machine."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)
