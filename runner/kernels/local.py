# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that lie on this machine: the sources `installed`, `path` and `tree`.

Such a kernel is pinned by the digests of its image, its config and the modules that guests need, and copied into the
cache when it is first used. What changed since it was pinned is noticed. Nothing is changed where it lies.

`installed:all`, `installed:newest` or `installed:RELEASE` lies in /boot and /lib/modules, or whole in
/usr/lib/modules/RELEASE.

`path:FOLDER` is laid out as packages and images of systems are: boot/vmlinuz-RELEASE, boot/config-RELEASE and
(usr/)lib/modules/RELEASE, or all of it in the last of them. `path:IMAGE[,[MODULES][,CONFIG]]` names the parts: MODULES
is a folder called after the release. An image alone tells its release; where there is no .config, the one that is built
into the image counts.

`tree:FOLDER` is what `make` built in (with O=, that one): the image below arch/, .config, include/config/kernel.release
and the modules where the build left them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError

from runner import userfile
from runner.errors import InfraError, RunnerError, UserError
from runner.kernels.config import built_for, options_in, upstream_version
from runner.kernels.fields import AbsolutePath, Matches
from runner.kernels.source import KernelSource, Means
from runner.kernels.unpack import Parts, available, find_parts, image_alone, lay_out, needed_of, parts_of, releases_in
from runner.model import Pin, PinnedFile, Wanted, Which
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion

log = logging.getLogger(__name__)

ALL, NEWEST = "all", "newest"
ROOT = Path("/")
_RELEASE = r"(all|newest|[0-9][A-Za-z0-9._+~-]{0,100})"
# What qemu boots, as the kernel's own makefiles call it; the first one that is there.
_IMAGES = {
    "x86_64": ("arch/x86/boot/bzImage",),
    "arm64": ("arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"),
    "riscv64": ("arch/riscv/boot/Image",),
    "s390x": ("arch/s390/boot/bzImage",),
    "ppc64le": ("vmlinux",),
}
_LISTS = ("modules.builtin", "modules.builtin.modinfo")

Release = Annotated[str, Matches("a release", _RELEASE, 'like "6.1.0-56-amd64" (`uname -r`), or all, or newest')]


class LocalSource(KernelSource):
    """A kernel of this machine. A subclass says where it lies."""

    local: ClassVar[bool] = True

    @property
    def default_name(self) -> str:
        last = Path(getattr(self, self.word)).name
        return re.sub(r"[^A-Za-z0-9._-]", "-", last).lstrip("._-")[:64] or self.word

    def kernels(self) -> Sequence[Parts]:
        """The kernels that it names, as they are now. Raises UserError when there is none, or a part is missing."""
        raise NotImplementedError

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:  # noqa: ARG003
        """Those that the matrix names, as far as they are there."""
        for source in named:
            try:
                kernels = [(arch, parts) for parts in source.kernels() if (arch := parts.architecture()) in archs]
                yield from [pin_of(source.text, arch, parts) for arch, parts in kernels]
            except RunnerError as error:
                log.warning("%s", error.what)

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:  # noqa: ARG002
        return [pin_of(self.text, arch, parts) for parts in self.kernels()]

    def lost(self, pin: Pin, means: Means) -> str:  # noqa: ARG002
        """What changed."""
        try:
            return _difference(pin, needed_of(self._find(pin)))
        except RunnerError as error:
            return error.what

    def fetch(self, pin: Pin, tree: Path, means: Means) -> None:
        """Copy it. What is unpacked is a copy that was checked, since a build may be running in the source folder.

        Raises InfraError when it is gone, cannot be read, or is not what was pinned.
        """
        try:
            staged = _staged(needed_of(self._find(pin)), tree.parent / "staged")
        except UserError as error:  # it was there when it was pinned
            raise InfraError(error.what, hint="it is needed on each machine that boots it") from None
        except OSError as error:
            raise InfraError(f"{pin.source}: {error.filename}: {error.strerror}") from None
        if fault := _difference(pin, staged):
            raise InfraError(f"{pin.source}: {fault}", hint="`runner kernels lock` pins what is there now")
        lay_out(staged, pin.arch, tree, deadline=means.deadline)

    def _find(self, pin: Pin) -> Parts:
        for parts in self.kernels():
            if parts.release == pin.release:
                return parts
        raise UserError(f"{pin.release} is not there any more", hint="`runner kernels lock` pins what is there now")


class InstalledSource(LocalSource):
    """Kernels that are installed on this machine."""

    word: ClassVar[str] = "installed"
    example: ClassVar[str] = "installed:newest, installed:all"

    installed: Annotated[Release, Field(description="a release, as `uname -r` has it; or newest; or all")]

    @property
    def default_name(self) -> str:
        chosen = self.installed in {ALL, NEWEST}
        return self.word if chosen else re.sub(r"[^A-Za-z0-9._-]", "-", self.installed)[:64]

    def wanted(self, arch: str) -> Iterator[Wanted]:
        which: Which | None = "all" if self.installed == ALL else None
        yield Wanted(name=self.called, source=self.text, arch=arch, which=which)

    @classmethod
    def offers(cls, named: Sequence[Self], archs: Sequence[str], means: Means) -> Iterator[Pin]:  # noqa: ARG003
        """Every one that is whole."""
        return super().offers([cls(installed=parts.release) for parts in _whole()], archs, means)

    def kernels(self) -> Sequence[Parts]:
        """Every one that is whole where the text is no release."""
        return [parts for parts in _whole() if self.installed in {ALL, NEWEST, parts.release}]

    def pins(self, arch: str, means: Means) -> Sequence[Pin]:  # noqa: ARG002
        """Raises UserError, naming what there is, when it is not installed."""
        there = self.kernels()
        if self.installed in {ALL, NEWEST}:
            there = [parts for parts in there if parts.architecture() == arch]
        found = [pin_of(self.text, arch, parts) for parts in there]
        if not found:
            names = ", ".join(f"{parts.release} ({parts.architecture() or 'unknown'})" for parts in _whole())
            raise UserError(
                f"{self.text}: no such kernel for {arch} is installed on this machine",
                hint=f"there are {names}" if names else f"there is none with its modules below {ROOT}",
            )
        return [max(found, key=lambda pin: (pin.upstream, pin.release))] if self.installed == NEWEST else found


def _whole() -> tuple[Parts, ...]:
    found = []
    for release in releases_in(ROOT):
        try:
            found.append(find_parts(ROOT, release))
        except InfraError as error:
            log.info("the installed kernel %s is left out: %s", release, error.what)
    return tuple(found)


class PathSource(LocalSource):
    """One kernel that lies on this machine."""

    word: ClassVar[str] = "path"
    example: ClassVar[str] = "path:/srv/kernel, with a whole path"

    path: Annotated[AbsolutePath, Field(description="a folder with boot/ and lib/modules/, or the kernel's image")]
    modules: Annotated[
        AbsolutePath | None, Field(description="where path is an image: its folder of modules, called as the release")
    ] = None
    config: Annotated[
        AbsolutePath | None,
        Field(description="where path is an image: its .config; by default the one beside, or the one built in"),
    ] = None

    @classmethod
    def fields_of(cls, rest: str) -> dict[str, object]:
        parts = rest.split(",")
        if len(parts) > 3:
            raise ValueError("more than three paths")
        return {key: part for key, part in zip(("path", "modules", "config"), parts, strict=False) if part}

    @property
    def text(self) -> str:
        return f"{self.word}:{self.path},{self.modules or ''},{self.config or ''}".rstrip(",")

    def kernels(self) -> Sequence[Parts]:
        """One. Raises UserError when there is none, or several: it is the matrix that says there is one."""
        first, config = Path(self.path), Path(self.config) if self.config else None
        try:
            if self.modules:
                return [parts_of(first, Path(self.modules), config)]
            if first.is_file():
                return [image_alone(first, config)]
            releases = releases_in(first)
            if len(releases) == 1:
                return [find_parts(first, releases[0])]
        except InfraError as error:
            raise UserError(f"{self.text}: {error.what}", hint=error.hint) from None
        except OSError as error:
            raise UserError(f"{self.text}: cannot be read: {error.strerror}") from None
        if not first.exists():
            raise UserError(f"{self.text}: there is no such file or folder")
        if releases:
            raise UserError(
                f"{self.text}: {first} has several kernels: {', '.join(releases)}",
                hint="name the image, and its `modules` folder",
            )
        raise UserError(
            f"{self.text}: no kernel in {first}: no folder lib/modules/RELEASE/kernel in it",
            hint="name the image itself, and its `modules` folder where it has one",
        )


class TreeSource(LocalSource):
    """A kernel that was built in a folder on this machine."""

    word: ClassVar[str] = "tree"
    example: ClassVar[str] = "tree:/home/me/linux, with a whole path"

    tree: Annotated[AbsolutePath, Field(description="the folder that `make` built the kernel in")]

    def kernels(self) -> Sequence[Parts]:
        """One. Raises UserError when it is not built, or only in part: it is the matrix that says it is."""
        folder = Path(self.tree)
        if not folder.is_dir():
            raise UserError(f"{self.text}: there is no such folder")
        config = folder / ".config"
        text = config.read_text(errors="replace") if config.is_file() else ""
        images = _IMAGES.get(built_for(text), ("arch/*/boot/*Image",))
        needed = {
            "the release": folder / "include/config/kernel.release",
            "the configuration": config,
            "the image": next((folder / name for name in images if (folder / name).is_file()), folder / images[0]),
        }
        # `vng --build --skip-modules` makes none, and what a kernel without modules finds there is from before
        modular = options_in(text, ("MODULES",)).get("MODULES") == "y" and (folder / "modules.order").is_file()
        missing = [f"{what} ({path.relative_to(folder)})" for what, path in needed.items() if not path.is_file()]
        if missing:
            raise UserError(f"{self.text}: not built: missing {', '.join(missing)}", hint=f"make -C {folder}")
        parts = Parts(
            release=needed["the release"].read_text(errors="replace").strip(),
            image=needed["the image"],
            config=config,
            # modules.order has other names here than depmod expects, and it can do without
            lists=tuple(filter(Path.is_file, (folder / name for name in _LISTS))) if modular else (),
            base=folder,
            modules=_modules(folder) if modular else {},
        )
        return [parts]


def _modules(folder: Path) -> dict[str, Path]:
    """Those that the build lists: `net/x/y.ko`, since v6.3 `y.o`, long ago with kernel/ before it."""
    lines = (folder / "modules.order").read_text(errors="replace").split()
    names = (re.sub(r"\.k?o$", ".ko", line.removeprefix("kernel/")) for line in lines if ".." not in line)
    return available(path for name in names if (path := folder / name).is_file())


def pin_of(source: str, arch: str, parts: Parts) -> Pin:
    """Pin a kernel as it is now.

    Raises UserError when it is not one for this architecture or has no version, InfraError when it cannot be read.
    """
    found = parts.architecture()
    if found != arch:
        raise UserError(
            f"{source}: {parts.image} is a kernel for {found or 'an unknown architecture'}, wanted for {arch}",
            hint=f"give it `architectures: [{found}]` in the matrix" if found in ARCHITECTURES else "",
        )
    try:
        version = str(KernelVersion.parse(upstream_version(parts.options(), parts.release)))
    except ValueError:
        raise UserError(f"{source}: neither its .config nor {parts.release!r} tells a kernel version") from None
    try:
        files = tuple(_pinned(needed_of(parts)))
        return Pin(source=source, arch=arch, version=version, release=parts.release, files=files)
    except ValidationError as error:
        raise UserError(f"{source}: release {parts.release!r}: {error.errors()[0]['msg']}") from None
    except OSError as error:
        raise InfraError(
            f"{source}: {error.filename}: {error.strerror}", hint="this user must be able to read it"
        ) from None


def _difference(pin: Pin, needed: Parts) -> str:
    """Which part is not what was pinned; empty when all are."""
    try:
        there = {file.name: file for file in _pinned(needed)}
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    names = [file.name for file in pin.files if there.get(file.name) != file]
    return f"{' and '.join(names)} changed since it was pinned" if names else ""


def _pinned(parts: Parts) -> Iterator[PinnedFile]:
    yield _file("image", parts.image)
    if parts.config:
        yield _file("config", parts.config)
    whole, size = hashlib.sha256(), 0
    names = [(str(path.relative_to(parts.base)), path) for path in parts.modules.values()]
    for name, path in sorted(names + [(path.name, path) for path in parts.lists]):
        one = _file("module", path)
        whole.update(f"{one.sha256}  {name}\n".encode())
        size += one.size_bytes
    yield PinnedFile(name="modules", sha256=whole.hexdigest(), size_bytes=size)


def _file(name: str, path: Path) -> PinnedFile:
    with userfile.opened(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return PinnedFile(name=name, sha256=digest, size_bytes=path.stat().st_size)


def _staged(parts: Parts, folder: Path) -> Parts:
    """A copy of the parts."""
    base = folder / "modules"
    base.mkdir(parents=True)
    copies = {}
    for name, path in parts.modules.items():
        copies[name] = base / path.relative_to(parts.base)
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copies[name])
    lists = tuple(Path(shutil.copyfile(path, folder / path.name)) for path in parts.lists)
    image = Path(shutil.copyfile(parts.image, folder / "image"))
    config = Path(shutil.copyfile(parts.config, folder / "config")) if parts.config else None
    return replace(parts, image=image, config=config, lists=lists, base=base, modules=copies)
