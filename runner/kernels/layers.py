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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, cast

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
    """A file of a layer. `target` is where a symbolic link leads, below the root; empty: none.

    A hard link is the member that it leads to.
    """

    layer: Path
    info: tarfile.TarInfo
    target: str = ""


class Layers:
    """What the image has, by path without a leading slash. Later layers hide and remove what earlier ones had.

    A path leads through no link: what a layer brings in a folder that is a link lies where the link leads.
    """

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
            shutil.copyfileobj(cast("IO[bytes]", archive.extractfile(member.info)), out)

    def pack(self, archive: tarfile.TarFile, below: str, *, limit_bytes: int) -> None:
        """Add all folders, files and links to an archive, below one of its folders; no devices, pipes or sockets.

        Every folder comes before what is in it. Raises InfraError when the files have more than `limit_bytes`.
        """
        every = sorted(self._members.items())
        kept = {path: it for path, it in every if it.info.isdir() or it.info.isreg() or it.info.issym()}
        if sum({id(it.info): it.info.size for it in kept.values()}.values()) > limit_bytes:
            raise InfraError(f"the files of the image have more than {limit_bytes >> 20} MiB")
        folders = _parents(kept)
        first: dict[int, str] = {}  # paths of files, by their members
        with ExitStack() as stack:
            layers = {it.layer for it in kept.values()}
            sources = {layer: stack.enter_context(tarfile.open(layer)) for layer in layers}
            for path in sorted({*kept, *folders}):
                member = kept.get(path)
                info = _plain(f"{below}/{path}", member.info if member else None)
                if member is None or not info.isreg():
                    archive.addfile(info)
                elif first.setdefault(id(member.info), info.name) != info.name:
                    info.type, info.size, info.linkname = tarfile.LNKTYPE, 0, first[id(member.info)]
                    archive.addfile(info)
                else:
                    archive.addfile(info, sources[member.layer].extractfile(member.info))

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
                gone.append((self._real(folder), True))
            elif name.startswith(_WHITEOUT):
                gone.append((posixpath.join(self._real(folder), name.removeprefix(_WHITEOUT)), False))
            elif path:
                real = self._real(folder, mine)
                if "\0" in real:
                    raise InfraError(f"layer {layer.name} names {info.name!r}, whose folder is a loop of links")
                place = posixpath.join(real, name)
                mine[place] = self._member(layer, info, place, mine)
        for path, only_inside in gone:
            self._remove([path], only_inside=only_inside)
        self._remove([path for path, member in mine.items() if not member.info.isdir()], only_inside=False)
        for folder in _parents(mine):  # a file in the place of which there is a folder now
            if not mine.get(folder, self._members.get(folder, _FOLDER)).info.isdir():
                self._members.pop(folder, None)
                mine.pop(folder, None)
        self._members |= mine

    def _member(self, layer: Path, info: tarfile.TarInfo, path: str, mine: Mapping[str, _Member]) -> _Member:
        if info.islnk():
            target = _inside(info.linkname, layer)
            folder, _, name = target.rpartition("/")
            real = posixpath.join(self._real(folder, mine), name)
            found = mine.get(real) or self._members.get(real)
            if found is None or found.info.isdir():
                raise InfraError(f"layer {layer.name} links {info.name!r} to {target!r}, which is no file")
            return found
        return _Member(layer, info, _target(path, info) if info.issym() else "")

    def _remove(self, paths: Iterable[str], *, only_inside: bool) -> None:
        """Files, or folders with all that is in them."""
        folders = _parents(self._members)
        for path in paths:
            if not only_inside:
                self._members.pop(path, None)
            if path in folders or not path:
                inside = f"{path}/" if path else ""
                for there in [one for one in self._members if one.startswith(inside)]:
                    del self._members[there]

    def _real(self, path: str, mine: Mapping[str, _Member] = MappingProxyType({})) -> str:
        """The path without links; what a layer brings, `mine`, comes first. A loop leads nowhere."""
        links = 0
        done: list[str] = []
        left = [part for part in path.split("/") if part]
        while left:
            done.append(left.pop(0))
            here = "/".join(done)
            member = mine.get(here) or self._members.get(here)
            if member and member.target:
                links += 1
                if links > _MOST_LINKS:
                    return "\0"
                left = [*(part for part in member.target.split("/") if part != "."), *left]
                done = []
        return "/".join(done)


_FOLDER = _Member(Path(), tarfile.TarInfo())
_FOLDER.info.type = tarfile.DIRTYPE


def _parents(paths: Iterable[str]) -> set[str]:
    """All folders in which these lie, but for the root."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _plain(name: str, info: tarfile.TarInfo | None) -> tarfile.TarInfo:
    """A member of that name with what counts of another one; without one a folder."""
    plain = tarfile.TarInfo(name)
    if info is None:
        plain.type, plain.mode = tarfile.DIRTYPE, 0o755
        return plain
    plain.type = tarfile.REGTYPE if info.isreg() else info.type
    plain.mode, plain.uid, plain.gid = info.mode & 0o7777, info.uid, info.gid
    plain.mtime = min(max(0, int(info.mtime)), (1 << 31) - 1)
    plain.size, plain.linkname = info.size if info.isreg() else 0, info.linkname if info.issym() else ""
    return plain


def _inside(name: str, layer: Path) -> str:
    """A member's path without what says nothing. Raises InfraError when it leads out of the image."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or name.startswith("/"):
        raise InfraError(f"layer {layer.name} names {name!r}, which leads out of the image: it is refused")
    return "/".join(parts)


def _target(path: str, info: tarfile.TarInfo) -> str:
    """Where a link leads: below the root of the image, which is the root of absolute ones too."""
    start = "/" if info.linkname.startswith("/") else f"/{posixpath.dirname(path)}"
    return posixpath.normpath(posixpath.join(start, info.linkname)).lstrip("/") or "."


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
