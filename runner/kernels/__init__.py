"""Where kernels come from: `runner/kernels/source.py` says what a source is, `sources.py` lists them.

A source pins what it names (`lock_kernels`), and what is pinned is fetched, unpacked and kept (`ensure_kernel`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from runner.errors import InfraError
from runner.kernels import modules
from runner.kernels.archive import Archive
from runner.kernels.needs import read_build
from runner.kernels.source import Means, Offer
from runner.kernels.sources import SOURCES, source_of
from runner.model import Build, Kernel, Pin, Wanted
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.store import Store, key_of

__all__ = ["Means", "Offer", "ensure_kernel", "have_kernel", "kept_build", "lock_kernels", "offered", "stored_kernel"]

_RECIPE = 1  # raise it when unpacking changes: every stored kernel is then made again


def offered(
    named: Sequence[str], archs: Sequence[str], means: Means, *, words: Sequence[str] = ()
) -> tuple[Offer, ...]:
    """Every kernel that the sources can give, oldest first; of these sources alone when `words` has any.

    `named` are the texts in the matrix: some sources can list no more than what they are told of, and servers that not
    everybody uses (`Source.VARIABLE`) are asked only where there is a reason to. InfraError.
    """
    found: list[Offer] = []
    for source in SOURCES:
        mine = [text for text in named if source_of(text) is source]
        if source.WORD in words if words else mine or not source.VARIABLE or os.environ.get(source.VARIABLE):
            found += source.offers(mine, archs, means)
    return tuple(sorted(found))


def lock_kernels(wanted: Wanted, means: Means) -> tuple[Pin, ...]:
    """Pin what `wanted` stands for: one kernel, or each of a range, the oldest first.

    UserError when there is none, InfraError without network.
    """
    found = source_of(wanted.source).lock(wanted.source, wanted.arch, means)
    return tuple(sorted(found, key=lambda pin: (pin.upstream, pin.release)))


def have_kernel(pin: Pin, cache: Path) -> bool:
    """Is it in the cache? Does not verify it."""
    return _store(cache).has(_key(pin))


def kept_build(pin: Pin, cache: Path) -> Build | None:
    """How a kernel in the cache was built; None when it is not there. Does not verify it."""
    if not have_kernel(pin, cache):
        return None
    return read_build(_store(cache).tree(_key(pin)) / f"boot/config-{pin.release}")


def ensure_kernel(pin: Pin, cache: Path, *, deadline: Deadline, offline: bool = False) -> Kernel:
    """The kernel, verified; fetched and unpacked first when the cache has none. InfraError."""

    def make(tree: Path) -> None:
        source = source_of(pin.source)
        if offline and not source.LOCAL:
            raise InfraError(
                f"kernel {pin.release} is not in the cache, or is damaged there",
                hint="`runner kernels fetch` gets it, with network",
            )
        source.fetch(pin, tree, Means(Archive(cache), cache, deadline))

    entry = _store(cache).ensure(_key(pin), make, deadline=deadline)
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
    return _store(cache), _key(pin)


def _store(cache: Path) -> Store:
    return Store(cache / "kernels")


def _key(pin: Pin) -> str:
    # files are named only where there are any: what was stored before there were files keeps its key
    files = {"files": sorted(file.sha256 for file in pin.files)} if pin.files else {}
    return key_of(
        recipe=_RECIPE,
        release=pin.release,
        packages=sorted(package.sha256 for package in pin.packages),
        modules=sorted(modules.WANTED),
        **files,
    )
