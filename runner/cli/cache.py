# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner cache`: what this machine keeps to start guests sooner: what there is, and how much room it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.caches import MAX_BYTES, CacheEntry, cache_root, outgrown
from runner.cli.options import Shown, command, emit, group
from runner.guest.snapshots import SNAPSHOTS, Snapshots
from runner.images.bootfiles import boot_files
from runner.images.container import containers
from runner.reports.drawing import columns
from runner.text import counted

app = group(
    "List and delete what guests start from: snapshots of saved guests, boot files of kernels, container images.",
    "cache list",
)


_OF = {"snapshot": "cell", "boot files": "release", "container": "image"}  # kind -> what its name is in JSON


@dataclass(frozen=True, slots=True)
class _Kept(CacheEntry):
    """A snapshot, the boot files of a kernel, or a container image."""

    kind: str
    name: str
    made: datetime
    remove: Callable[[str], None]


def _kept() -> Iterator[_Kept]:
    """Disks come before the snapshots of the same second, which need them."""
    cache = cache_root()
    snapshots = Snapshots(cache / SNAPSHOTS)
    for kind, store in (("boot files", boot_files(cache)), ("container", containers(cache))):
        for it in store:
            made = datetime.fromtimestamp(it.tree.stat().st_mtime, UTC)
            yield _Kept(it.key, it.used_s, it.size_bytes, kind, store.name_of(it.tree), made, store.remove)
    for one in snapshots:
        yield _Kept(one.key, one.used_s, one.size_bytes, "snapshot", one.about.name, one.about.made, snapshots.remove)


@command(app, "list", "cache list")
def list_kept() -> Shown:
    """List the snapshots, boot files and container images on this machine, the most recently used first."""
    rows, document = [], []
    for it in sorted(_kept(), key=lambda it: it.used_s, reverse=True):
        used = datetime.fromtimestamp(it.used_s, UTC)
        rows.append((it.kind, it.name, f"{it.size_bytes >> 20} MiB", f"{it.made:%F %H:%M}", f"{used:%F %H:%M}"))
        document.append({
            "kind": it.kind, _OF[it.kind]: it.name, "key": it.key,
            "size_bytes": it.size_bytes, "made": it.made.isoformat(), "used": used.isoformat(),
        })  # fmt: skip
    head = ("kind", "of", "size", "made", "last used")
    return Shown(lambda: columns(rows, *head) if rows else "no snapshots, no boot files, no container images", document)


@command(app, "prune", "cache prune --keep-mib 2000")
def prune(
    keep_mib: Annotated[
        int, typer.Option("--keep-mib", min=0, help="How much room all of them may take together.")
    ] = len(_OF) * MAX_BYTES >> 20,
) -> None:
    """Delete the least recently used snapshots, boot files and container images. Guests that run are not disturbed."""
    removed = outgrown(_kept(), keep_mib << 20)
    for it in removed:
        it.remove(it.key)
    count = Counter(it.kind for it in removed)
    kernels, images = counted(count["boot files"], "kernel"), counted(count["container"], "container image")
    emit(f"{counted(count['snapshot'], 'snapshot')}, the boot files of {kernels} and {images} deleted")
