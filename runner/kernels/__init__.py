# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where kernels come from. source.py defines what a source is; the table of sources is here.

A source pins what it names (`lock_kernels`), and what is pinned is fetched, unpacked and kept (`ensure_kernel`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from runner.caches import not_cached
from runner.errors import UserError
from runner.kernels import needs
from runner.kernels.apt import AptSource
from runner.kernels.archive import Archive
from runner.kernels.debian import DebianSource, UbuntuSource
from runner.kernels.local import InstalledSource, PathSource, TreeSource
from runner.kernels.oci import OciSource
from runner.kernels.rpm import RpmSource
from runner.kernels.served import MainlineSource
from runner.kernels.snapshot import SnapshotSource
from runner.kernels.source import KernelSource, Means, age
from runner.model import Build, Kernel, Pin, Wanted
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.store import Store, key_of
from runner.text import nearest

__all__ = ["KernelSource", "Means"]  # of others

SOURCES: tuple[type[KernelSource], ...] = (
    DebianSource,
    UbuntuSource,
    AptSource,
    RpmSource,
    MainlineSource,
    SnapshotSource,
    OciSource,
    InstalledSource,
    PathSource,
    TreeSource,
)
BY_WORD = {source.word: source for source in SOURCES}

_RECIPE = 1  # raise it when unpacking changes: every stored kernel is then made again


def source_of(text: str) -> KernelSource:
    """The source that a text names. Raises UserError when there is no such source, or its part of the text is wrong."""
    word, colon, _ = text.partition(":")
    if not colon or word not in BY_WORD:
        raise UserError(f"{text!r} is not a kernel source", hint=nearest(word, BY_WORD))
    return BY_WORD[word].parse(text)


def offered(named: Iterable[str], archs: Sequence[str], means: Means, *, words: Sequence[str] = ()) -> tuple[Pin, ...]:
    """Every kernel that the sources can fetch, oldest first; only of the sources in `words` where there are any.

    `named` are the texts in the matrix: some sources have no list. Where a source lists only versions, a kernel has
    neither a release nor digests. Raises InfraError.
    """
    sources = [source_of(text) for text in named]
    found: list[Pin] = []
    for kind in SOURCES:
        mine = [source for source in sources if isinstance(source, kind)]
        if kind.word in words if words else mine or not kind.variable or os.environ.get(kind.variable):
            found += kind.offers(mine, archs, means)
    return tuple(sorted(found, key=age))


def lock_kernels(wanted: Wanted, means: Means) -> tuple[Pin, ...]:
    """Pin what `wanted` stands for: one kernel, or each of a range, the oldest first.

    Raises UserError when there is none, InfraError without network.
    """
    found = source_of(wanted.source).pins(wanted.arch, means)
    return tuple(sorted(found, key=lambda pin: (pin.upstream, pin.release)))


def have_kernel(pin: Pin, cache: Path) -> bool:
    """Is it in the cache? Does not verify it."""
    store, key = stored_kernel(pin, cache)
    return store.has(key)


def stored_kernel_sha256(pin: Pin, cache: Path) -> str:
    """Of the Kernel in the cache; empty when there is none. Does not verify it."""
    store, key = stored_kernel(pin, cache)
    sealed = store.sealed(key)
    return sealed.sha256 if sealed else ""


def kept_build(pin: Pin, cache: Path) -> Build | None:
    """How a kernel in the cache was built; None when it is not there. Does not verify it."""
    store, key = stored_kernel(pin, cache)
    return needs.read_build(store.tree(key) / f"boot/config-{pin.release}", pin.arch) if store.has(key) else None


def ensure_kernel(pin: Pin, cache: Path, *, deadline: Deadline, offline: bool = False) -> Kernel:
    """The kernel, verified; fetched and unpacked first when the cache has none. Raises InfraError."""

    def make(tree: Path) -> None:
        source = source_of(pin.source)
        if offline and not source.local:
            raise not_cached(f"kernel {pin.release}")
        source.fetch(pin, tree, Means(Archive(cache), cache, deadline))

    store, key = stored_kernel(pin, cache)
    entry = store.ensure(key, make, deadline=deadline)
    root = PurePosixPath(entry.tree)
    boot = root / "boot"
    return Kernel(
        pin=pin,
        sha256=entry.sha256,
        root=root,
        image=boot / f"{architecture(pin.arch).image}-{pin.release}",
        config=boot / f"config-{pin.release}",
    )


def stored_kernel(pin: Pin, cache: Path) -> tuple[Store, str]:
    """Where the cache keeps it, and under which key."""
    # files are named only where there are any: what was stored before there were files keeps its key
    files = {"files": sorted(file.sha256 for file in pin.files)} if pin.files else {}
    key = key_of(
        recipe=_RECIPE,
        release=pin.release,
        packages=sorted(package.sha256 for package in pin.packages),
        modules=sorted(needs.MODULES),
        **files,
    )
    return Store(cache / "kernels"), key
