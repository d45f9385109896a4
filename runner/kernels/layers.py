# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Archives of files, such as the layers of a container image, seen as one tree; and the kernel that lies in it.

Nothing is unpacked but the regular files that are asked for. A kernel lies in any folder of the tree, laid out as in
the root of a system: boot/vmlinuz[-RELEASE] or (usr/)lib/modules/RELEASE/vmlinuz, and its modules in the latter.
ci-kernels have it at the top, the images of LVH in data/kernels/VERSION.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InfraError, UserError
from runner.kernels.config import read_image, release_of
from runner.kernels.unpack import DEPMOD_INPUT, Parts, parts_of

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MOST_MEMBERS = 500_000
_MOST_LINKS = 32
_LARGEST_FILE = 512 << 20
_IMAGE = re.compile(
    r"(?P<root>(?:.*?/)??)(?:boot/vmlinuz(?:-(?P<named>[^/]+))?|(?:usr/)?lib/modules/(?P<folder>[^/]+)/vmlinuz)"
)
_FOLDERS = ("usr/lib/modules", "lib/modules")


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a layer. `target` is where a link leads, below the root; empty: a regular file, or a folder."""

    layer: Path
    info: tarfile.TarInfo
    target: str = ""


class Layers:
    """What the image has, by path without a leading slash. Later layers hide and remove what earlier ones had."""

    def __init__(self, layers: Iterable[Path]) -> None:
        """Raises InfraError when a layer is no archive, or names something outside of the image."""
        self._members: dict[str, _Member] = {}
        for layer in layers:
            try:
                with tarfile.open(layer) as archive:
                    self._apply(layer, archive)
            except (tarfile.TarError, OSError, EOFError) as error:
                raise InfraError(f"layer {layer.name} cannot be read: {error}") from None

    def below(self, folder: str) -> tuple[str, ...]:
        """The regular files below a folder, which may be reached through links, as paths below the root."""
        real = self._real(folder)
        return tuple(
            path
            for path, member in sorted(self._members.items())
            if path.startswith(f"{real}/") and not member.target and member.info.isfile()
        )

    def names(self, folder: str) -> tuple[str, ...]:
        """What is directly in a folder."""
        real = self._real(folder)
        start = len(real) + 1 if real else 0
        inside = (path[start:] for path in self._members if not real or path.startswith(f"{real}/"))
        return tuple(sorted({path.partition("/")[0] for path in inside if path}))

    def __iter__(self) -> Iterator[str]:
        """All paths, sorted, of links too."""
        return iter(sorted(self._members))

    def has(self, path: str) -> bool:
        """Is it a regular file, perhaps through links?"""
        member = self._members.get(self._real(path))
        return member is not None and member.info.isfile()

    def extract(self, path: str, target: Path, *, limit_bytes: int) -> None:
        """Copy a regular file. `target` is the caller's; nothing of the image decides where it lies."""
        member = self._members.get(self._real(path))
        if member is None or not member.info.isfile():
            raise InfraError(f"the image has no regular file {path}")
        if member.info.size > limit_bytes:
            raise InfraError(f"{path} in the image has {member.info.size} bytes, more than {limit_bytes}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(member.layer) as archive, target.open("wb") as out:
            source = archive.extractfile(member.info)
            if source is None:
                raise InfraError(f"the image has no regular file {path}")
            shutil.copyfileobj(source, out)

    def _apply(self, layer: Path, archive: tarfile.TarFile) -> None:
        """A whiteout removes what the layers below had, not what its own layer brings, wherever it stands in it."""
        mine: dict[str, _Member] = {}
        gone: list[tuple[str, bool]] = []  # path, only what is in it
        for number, info in enumerate(archive):
            if number > _MOST_MEMBERS:
                raise InfraError(f"layer {layer.name} has more than {_MOST_MEMBERS} members")
            path = _inside(info.name, layer)
            folder, _, name = path.rpartition("/")
            if name == _OPAQUE:
                gone.append((folder, True))
            elif name.startswith(_WHITEOUT):
                gone.append((posixpath.join(folder, name.removeprefix(_WHITEOUT)), False))
            elif path:
                mine[path] = _Member(layer, info, _target(path, info, layer))
        for path, only_inside in gone:
            self._remove(path, only_inside=only_inside)
        for path, member in mine.items():
            if not member.info.isdir():
                self._remove(path, only_inside=False)
        self._members |= mine

    def _remove(self, path: str, *, only_inside: bool) -> None:
        inside = f"{path}/" if path else ""
        for there in [one for one in self._members if one.startswith(inside) or (one == path and not only_inside)]:
            del self._members[there]

    def _real(self, path: str) -> str:
        """The path without links. A loop leads nowhere."""
        links = 0
        done: list[str] = []
        left = [part for part in path.split("/") if part]
        while left:
            done.append(left.pop(0))
            member = self._members.get("/".join(done))
            if member and member.target:
                links += 1
                if links > _MOST_LINKS:
                    return "\0"
                left = [*member.target.split("/"), *left]
                done = []
        return "/".join(done)


def _inside(name: str, layer: Path) -> str:
    """A member's path without what says nothing. Raises InfraError when it leads out of the image."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or name.startswith("/"):
        raise InfraError(f"layer {layer.name} names {name!r}, which leads out of the image: it is refused")
    return "/".join(parts)


def _target(path: str, info: tarfile.TarInfo, layer: Path) -> str:
    """Where a link leads: below the root of the image, which is the root of absolute ones too."""
    if info.islnk():
        return _inside(info.linkname, layer)
    if not info.issym():
        return ""
    start = "/" if info.linkname.startswith("/") else f"/{posixpath.dirname(path)}"
    return posixpath.normpath(posixpath.join(start, info.linkname)).lstrip("/")  # `..` at the root is the root


def taken(source: str, layers: Layers, target: Path) -> Parts:
    """The kernel's files, taken out of the tree into the new folder `target`. Raises UserError: not one kernel."""
    path, root, release = _one_image(source, layers)
    bases = {name: f"{root}{base}/{name}" for base in _FOLDERS for name in layers.names(f"{root}{base}")}
    image = target / "image"
    layers.extract(path, image, limit_bytes=_LARGEST_FILE)
    content = read_image(image)
    release = release or release_of(content)
    if not release and len(bases) == 1:
        (release,) = bases
    if not release:
        raise UserError(f"{source}: {path} does not tell its release", hint="name it boot/vmlinuz-RELEASE")
    base = bases.get(release, "")
    configs = (f"{root}boot/config-{release}", f"{root}boot/config", f"{base}/config")
    if config := next(filter(layers.has, configs), ""):
        layers.extract(config, target / "config", limit_bytes=_LARGEST_FILE)
    modules = target / "modules" / release
    (modules / "kernel").mkdir(parents=True)
    for file in layers.below(base) if base else ():
        place = file.partition(f"modules/{release}/")[2]
        if ".ko" in file:
            place = f"kernel/{place.removeprefix('kernel/')}"
        elif place not in DEPMOD_INPUT:
            continue
        layers.extract(file, modules / place, limit_bytes=_LARGEST_FILE)
    return parts_of(image, modules, target / "config" if config else None)


def _one_image(source: str, layers: Layers) -> tuple[str, str, str]:
    """(path, folder that it lies in as in a root, release or nothing). Raises UserError unless there is one kernel.

    Several paths may lead to it, like boot/vmlinuz -> vmlinuz-6.6; the one with a release is taken.
    """
    there = [found for path in layers if (found := _IMAGE.fullmatch(path)) and layers.has(path)]
    kernels = {(found["root"], found["named"] or found["folder"] or ""): found[0] for found in there}
    named = {key: path for key, path in kernels.items() if key[1]} or kernels
    if len(named) != 1:
        what = ", ".join(named.values()) or "no boot/vmlinuz and no lib/modules/RELEASE/vmlinuz"
        raise UserError(f"{source} has {what}", hint="it must hold one kernel")
    (((root, release), path),) = named.items()
    return path, root, release
