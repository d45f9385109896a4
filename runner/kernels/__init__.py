"""Where kernels come from. Each kind of source is a module: `debian:...` is runner/kernels/debian.py.

A source pins what it names (`lock_kernel`), and what is pinned is fetched, unpacked and kept (`ensure_kernel`).
"""

from __future__ import annotations

import logging
import time
from pathlib import Path, PurePosixPath

from runner.archive import Archive
from runner.caches import need_space
from runner.deadline import Deadline
from runner.errors import InfraError
from runner.kernels import debian, modules
from runner.kernels.debian import Offer
from runner.kernels.unpack import unpack_kernel
from runner.model import Kernel, LockedKernel, Wanted
from runner.store import Store, key_of

__all__ = ["Offer", "ensure_kernel", "have_kernel", "lock_kernel", "offered", "stored_kernel"]

log = logging.getLogger(__name__)

_RECIPE = 1  # raise it when unpacking changes: every stored kernel is then made again
_UNPACKED_FACTOR = 9  # bytes on disk while unpacking, for each byte of the packages: 7 measured with 6.1 on x86_64

offered = debian.offered


def lock_kernel(wanted: Wanted, archive: Archive, *, deadline: Deadline) -> LockedKernel:
    """Pin the newest kernel that `wanted` names. MatrixError when there is none, InfraError without network."""
    return debian.lock(wanted.source, wanted.arch, archive, deadline=deadline)


def have_kernel(locked: LockedKernel, cache: Path) -> bool:
    """Is it in the cache? Does not verify it."""
    return _store(cache).has(_key(locked))


def ensure_kernel(locked: LockedKernel, cache: Path, *, deadline: Deadline, offline: bool = False) -> Kernel:
    """The kernel, verified; fetched and unpacked first when the cache has none. InfraError."""

    def make(tree: Path) -> None:
        if offline:
            raise InfraError(
                f"kernel {locked.release} is not in the cache, or is damaged there",
                hint="`runner kernels fetch` gets it, with network",
            )
        start = time.monotonic()
        size = sum(package.size_bytes for package in locked.packages)
        need_space(tree.parent, _UNPACKED_FACTOR * size, f"kernel {locked.release}")
        debs = tree.parent / "debs"
        debs.mkdir()
        files = Archive(cache).download(locked.packages, locked.arch, debs, deadline=deadline)
        fetched = time.monotonic()
        unpack_kernel(files.values(), locked.release, modules.WANTED, tree, deadline=deadline)
        log.info(
            "kernel %s: %d MiB fetched in %.1f s, unpacked in %.1f s",
            locked.release,
            size >> 20,
            fetched - start,
            time.monotonic() - fetched,
        )

    entry = _store(cache).ensure(_key(locked), make, deadline=deadline)
    root = PurePosixPath(entry.tree)
    boot = root / "boot"
    return Kernel(
        locked=locked,
        sha256=entry.sha256,
        root=root,
        image=boot / f"vmlinuz-{locked.release}",
        config=boot / f"config-{locked.release}",
    )


def stored_kernel(locked: LockedKernel, cache: Path) -> tuple[Store, str]:
    """Where the cache keeps it, and under which key."""
    return _store(cache), _key(locked)


def _store(cache: Path) -> Store:
    return Store(cache / "kernels")


def _key(locked: LockedKernel) -> str:
    return key_of(
        recipe=_RECIPE,
        release=locked.release,
        packages=sorted(package.sha256 for package in locked.packages),
        modules=sorted(modules.WANTED),
    )
