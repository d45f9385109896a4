# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Disks that the cache keeps for as long as there is room: boot files of kernels, and container images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.caches import MAX_BYTES, outgrown
from runner.guest.snapshots import SNAPSHOTS, Snapshots
from runner.model.deadline import Deadline
from runner.store import Store, StoredTree


@dataclass(frozen=True, slots=True)
class KeptDisks:
    """Those of one kernel, or of one image."""

    key: str
    name: str  # for people
    made_s: float
    used_s: float  # last, by a boot or by a start from a snapshot
    size_bytes: int


def ensure_kept(
    store: Store, key: str, make: Callable[[Path], None], kept: Iterable[KeptDisks], *, deadline: Deadline
) -> StoredTree:
    """The entry, used now; made where there is none, and then others are removed for which there is no room."""
    new = not store.has(key)
    entry = store.ensure(key, make, deadline=deadline)
    store.mark_used(key)
    for it in outgrown(kept, MAX_BYTES, spare=key) if new else ():
        store.remove(it.key)
    return entry


def kept_disks(store: Store, cache: Path, name_of: Callable[[Path], str]) -> Iterator[KeptDisks]:
    """All that are in the store. A snapshot needs those that its guest was booted with: it opens the same disks."""
    started = [(it.used_s, " ".join(it.about.argv)) for it in Snapshots(cache / SNAPSHOTS)]
    for entry in store:
        used_s = max((used_s for used_s, words in started if entry.key in words), default=0)
        made_s = entry.tree.stat().st_mtime
        yield KeptDisks(entry.key, name_of(entry.tree), made_s, max(entry.used_s, used_s), entry.size_bytes)
