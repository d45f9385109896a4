# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The guest's root disk: one per architecture, read-only, built from pinned packages and kept."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runner.caches import need_space, not_cached
from runner.errors import InfraError, UserError
from runner.images.container import DISK as CONTAINER_DISK
from runner.images.container import ensure_container, stored_container
from runner.images.disk import ROOTS, Interpreter, build_image, host_parts, parts, recipe
from runner.kernels.archive import Archive
from runner.kernels.registry import ContainerImage
from runner.model import Image, ImagePin, Package, WantedImage
from runner.model.architecture import ARCHITECTURES, architecture
from runner.model.deadline import Deadline
from runner.steps import filling
from runner.store import Store, StoredTree, key_of

log = logging.getLogger(__name__)

PACKAGES = (
    "busybox-static",  # the shell and the small tools; vng boots with it too
    "bash-static",  # virtme-init; a fork of it costs less under emulation than one of the dynamic bash
    "dropbear-bin",  # the ssh server
    "kmod",
    "iproute2",
    "libbpf1",  # the agent calls it
    "bpftool",
    "libc6",
    *ROOTS,  # Python: the agent's language
)
_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate")
_DISK = PurePosixPath("disk.ext2")  # in its entry
_WRITTEN_FACTOR = 8  # bytes that a build writes, for each byte of the packages: measured
_UNPACKED_FACTOR = 12  # bytes on disk while building, for each byte of the packages


def lock_image(wanted: WantedImage, arch: str, archive: Archive, *, deadline: Deadline) -> ImagePin:
    """Pin the newest packages of a suite; also the Python that compiles its bytecode on a host of another kind.

    Raises UserError when the suite has no such package, or there is no such container image; InfraError.
    """
    suite = wanted.suite
    files = (ContainerImage.named(wanted.oci).pinned(arch, deadline),) if wanted.oci else ()
    try:
        packages = set(archive.closure((*PACKAGES, *wanted.added), suite, arch, deadline=deadline))
    except InfraError as error:
        if not (found := _UNKNOWN.search(error.what)):
            raise
        hint = "packages are named as in Debian's archive, section main"
        raise UserError(f"{suite} has no package {found[1] or found[2]} for {arch}", hint=hint) from None
    for other, row in ARCHITECTURES.items():
        if row.host and other != arch:
            packages.update(parts(archive.closure(ROOTS, suite, other, deadline=deadline)))
    return ImagePin(
        suite=suite,
        added=wanted.added,
        oci=wanted.oci,
        files=files,
        arch=arch,
        packages=tuple(sorted(packages, key=lambda package: (package.architecture, package.name))),
    )


def image_packages(pin: ImagePin) -> Iterator[Package]:
    """Those that are in the image."""
    return (package for package in pin.packages if package.architecture in (architecture(pin.arch).debian, "all"))


def have_image(pin: ImagePin, cache: Path) -> bool:
    """Is it in the cache? Does not verify it."""
    return all(store.has(key) for store, key in _places(pin, cache))


def stored_image_sha256(pin: ImagePin, cache: Path) -> str:
    """Of the Image in the cache; empty when there is none. Does not verify it."""
    entries = [store.sealed(key) for store, key in _places(pin, cache)]
    disks = [it.sha256 for one in entries if one for path, it in one.files.items() if path in {_DISK, CONTAINER_DISK}]
    return _sha256(*disks) if all(entries) else ""


def ensure_image(pin: ImagePin, cache: Path, *, deadline: Deadline, offline: bool = False) -> Image:
    """The image, verified; its packages fetched and the disk built first when the cache has none. Raises InfraError."""
    packages = tuple(image_packages(pin))

    def make(tree: Path) -> None:
        if offline:
            raise not_cached(f"the image {pin.suite} for {pin.arch}")
        start = time.monotonic()
        size = sum(package.size_bytes for package in packages)
        need_space(tree.parent, _UNPACKED_FACTOR * size, f"the image {pin.suite} for {pin.arch}")
        debs = tree.parent / "debs"
        debs.mkdir()
        files = Archive(cache).download(packages, pin.arch, debs, deadline=deadline)
        interpreter = Interpreter.of(pin, cache, deadline=deadline)
        fetched = time.monotonic()
        with filling(tree.parent, f"building the image {pin.suite} for {pin.arch}", _WRITTEN_FACTOR * size):
            build_image(pin, files, interpreter, tree, deadline=deadline)
        log.info(
            "image %s for %s: fetched in %.1f s, built in %.1f s",
            pin.suite,
            pin.arch,
            fetched - start,
            time.monotonic() - fetched,
        )

    store, key = stored_image(pin.system, cache)
    entry = store.ensure(key, make, deadline=deadline)
    other = ensure_container(pin, cache, deadline=deadline, offline=offline) if pin.oci else None
    return Image(
        arch=pin.arch,
        sha256=_sha256(entry.files[_DISK].sha256, *((other.files[CONTAINER_DISK].sha256,) if other else ())),
        disk=PurePosixPath(entry.tree) / _DISK,
        busybox=PurePosixPath(entry.tree) / "busybox/busybox",
        container=PurePosixPath(other.tree) / CONTAINER_DISK if other else None,
    )


def _sha256(disk: str, *others: str) -> str:
    return hashlib.sha256(" ".join((disk, *others)).encode()).hexdigest() if others else disk


def ensure_bytecode(
    source: Path, pin: ImagePin, cache: Path, *, deadline: Deadline, offline: bool = False
) -> StoredTree:
    """`source`, a folder of Python files, compiled for the image's Python: an entry of .pyc files, no sources.

    Where the folder is `.../agent`, the entry's tree holds `agent/x.pyc`: a guest imports it beside.
    Raises InfraError, also on a syntax error.
    """
    texts = {str(path.relative_to(source)): path.read_text() for path in sorted(source.rglob("*.py"))}
    python = key_of(packages=sorted(package.sha256 for package in host_parts(pin)))

    def make(tree: Path) -> None:
        # a copy: the sources are those that the key was made of, whatever their editor does meanwhile
        copy = tree.parent / "source" / source.name
        for name, text in texts.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(text)
        interpreter = Interpreter.of(pin, cache, deadline=deadline, offline=offline)
        interpreter.compile(copy.parent, tree, prefix="", layout="beside", deadline=deadline)

    key = key_of(recipe=recipe(pin)["compile_tree.py"], python=python, name=source.name, texts=texts)
    return Store(cache / "bytecode").ensure(key, make, deadline=deadline)


def _places(pin: ImagePin, cache: Path) -> Iterator[tuple[Store, str]]:
    """Of all its disks."""
    yield from (stored_image(it, cache) for it in dict.fromkeys((pin.system, pin)))


def stored_image(pin: ImagePin, cache: Path) -> tuple[Store, str]:
    """Where the cache keeps the disk of a pin, and under which key: its root's, or its container image's."""
    if pin.oci:
        return stored_container(pin, cache)
    packages = sorted(package.sha256 for package in image_packages(pin))
    key = key_of(recipe=recipe(pin), suite=pin.suite, arch=pin.arch, packages=packages, added=pin.added)
    return Store(cache / "images"), key
