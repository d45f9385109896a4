# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Nothing of ours is left: no process, no file, no lock that is held."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest

_OURS = ("guest-", "tiny-guest-", "kfunc-image-", "virtme", "unpacked-")  # of temporary folders
DRAFTS = ".*-????????"  # what store.write_atomically writes before it is whole
WITHIN_S = 15.0  # a supervisor that lost its parent has a grace of its own to keep


def mentioning(mark: str) -> dict[int, str]:
    """The processes on whose command line or in whose environment `mark` is, but for this one."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            environ = (folder / "environ").read_bytes()
            zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not zombie and mark.encode() in command + environ and folder.name != "self":
            found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace")[:100]
    return found


@dataclass(frozen=True)
class Place:
    """Where a test works: whatever it starts names `folder`; guests live in `scratch`, locks lie below `folder`."""

    folder: Path
    scratch: Path

    def processes(self) -> dict[int, str]:
        return mentioning(str(self.folder))

    def leavings(self) -> list[str]:
        """What is left at this moment, in words."""
        found = [f"process {pid}: {command}" for pid, command in self.processes().items()]
        found += [f"scratch: {path}" for path in self.scratch.glob("*")]
        found += [f"draft: {path}" for path in self.folder.rglob(DRAFTS)]
        found += [f"half made: {path}" for path in self.folder.rglob(".making-*")]
        found += [f"lock is held: {path}" for path in self.folder.rglob("*.lock") if _is_held(path)]
        return found


def _is_held(path: Path) -> bool:
    if path.name == "matrix.lock":  # no lock, but what is pinned
        return False
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    lock.release()
    return False


def _temporary(folder: Path) -> list[str]:
    return [f"temporary: {path}" for path in folder.iterdir() if path.name.startswith(_OURS)]


@contextlib.contextmanager
def nothing_left(place: Place) -> Iterator[None]:
    """After the block, and a short while, nothing of it is there any more.

    What is temporary goes into a folder of the block's own: other tests make such things at the same time.
    """
    temporary = place.folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        yield
        end = time.monotonic() + WITHIN_S
        while left := [*place.leavings(), *_temporary(temporary)]:
            assert time.monotonic() < end, left
            time.sleep(0.05)
