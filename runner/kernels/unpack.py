# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel's parts, wherever they lie -> what a guest needs of them, in the layout that virtme-ng expects.

    boot/IMAGE-RELEASE  boot/config-RELEASE  lib/modules/RELEASE/

Modules are decompressed (virtme-ng's initramfs cannot) and `depmod` has run. Old packages keep the image in /boot and
the modules in /lib; newer ones keep everything in /usr/lib/modules/RELEASE, spread over several packages.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner import userfile
from runner.errors import InfraError
from runner.kernels.config import built_for, config_of, decompressed, image_head, machine_of, read_image, release_of
from runner.kernels.needs import MODULES
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import run

# A daemon's PATH often lacks these, and a normal user's does on Debian.
_PATH = {"PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}
_IMAGES = ("vmlinuz", "vmlinux", "bzImage", "Image")
_MODINFO = re.compile(rb"(?<![A-Za-z0-9_])(?:depends|softdep)=([^\0]*)\0")
DEPMOD_INPUT = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of one kernel lie. `modules` are all that it has, by name, somewhere below `base`."""

    release: str
    image: Path
    config: Path | None  # None: only what is built into the image, if anything is
    lists: tuple[Path, ...]  # what depmod reads beside the modules
    base: Path
    modules: Mapping[str, Path]

    def options(self) -> str:
        """Its .config; empty where it is not known."""
        return userfile.read(self.config).decode(errors="replace") if self.config else config_of(read_image(self.image))

    def architecture(self) -> str:
        """What it runs on; empty where neither its .config nor its image tells."""
        return built_for(self.options()) or machine_of(image_head(self.image))


def find_parts(root: Path, release: str) -> Parts:
    """The parts of a kernel that is installed below `root`. Raises InfraError when one is missing."""
    folders = [root / "usr/lib/modules" / release, root / "lib/modules" / release]
    images = [root / f"boot/{name}-{release}" for name in _IMAGES]
    images += [folder / name for folder in (*folders, root) for name in _IMAGES]
    return _parts(images, folders, [root / f"boot/config-{release}"])


def parts_of(image: Path, modules: Path, config: Path | None = None) -> Parts:
    """A kernel's parts at these paths. `modules` is named after the release. Raises InfraError when one is missing."""
    parts = _parts([image], [modules], [image.parent / f"config-{modules.name}"])
    return replace(parts, config=_first([config])) if config else parts


def _parts(images: Iterable[Path], folders: Sequence[Path], configs: Sequence[Path]) -> Parts:
    """What is there of these. The folders are named after the release."""
    image, base = _first(images), _first(folder / "kernel" for folder in folders)
    configs = [*configs, *(folder / "config" for folder in folders)]
    # depmod can do without any of its lists
    lists = (next(filter(Path.is_file, (folder / name for folder in folders)), None) for name in DEPMOD_INPUT)
    return Parts(
        release=folders[0].name,
        image=image,
        config=next(filter(Path.is_file, configs), None),
        lists=tuple(path for path in lists if path),
        base=base,
        modules=available(base.rglob("*.ko*")),
    )


def image_alone(image: Path, config: Path | None = None) -> Parts:
    """A kernel with no modules: what it has is built in. Raises InfraError when the image does not tell its release."""
    release = release_of(read_image(image))
    if not release:
        raise InfraError(f"{image} does not tell its release", hint="is it what qemu boots: bzImage, Image, vmlinux?")
    config = _first([config]) if config else image.parent / f"config-{release}"
    return Parts(release, image, config if config.is_file() else None, (), image.parent, {})


def needed_of(parts: Parts) -> Parts:
    """The kernel with no more modules than those that guests and probes need, and what they depend on."""
    files = set(closure(parts.modules, MODULES))
    return replace(parts, modules={name: path for name, path in parts.modules.items() if path in files})


def lay_out(parts: Parts, arch: str, tree: Path, *, deadline: Deadline) -> None:
    """Fill the empty folder `tree` with all of a kernel."""
    boot = tree / "boot"
    boot.mkdir()
    shutil.copyfile(parts.image, boot / f"{architecture(arch).image}-{parts.release}")
    if options := parts.options():
        (boot / f"config-{parts.release}").write_text(options)
    modules = tree / "lib/modules" / parts.release
    modules.mkdir(parents=True)
    for file in parts.lists:
        shutil.copyfile(file, modules / file.name)
    for path in sorted(parts.modules.values()):
        target = modules / "kernel" / path.relative_to(parts.base)
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / f"{path.name.partition('.ko')[0]}.ko").write_bytes(_content(path))
    run(["depmod", "--basedir", tree, parts.release], deadline=deadline, env=_PATH)


def releases_in(root: Path) -> list[str]:
    """The releases that have modules below a root folder."""
    folders = [*root.glob("usr/lib/modules/*/kernel"), *root.glob("lib/modules/*/kernel")]
    return sorted({folder.parent.name for folder in folders})


def available(files: Iterable[Path]) -> dict[str, Path]:
    """Module name -> file. The kernel does not tell `-` from `_` in names; neither does this."""
    return {_name(path.name.partition(".ko")[0]): path for path in files if path.is_file()}


def closure(modules: Mapping[str, Path], wanted: Iterable[str]) -> tuple[Path, ...]:
    """The files of the wanted modules that exist, with all that they depend on, softly or not."""
    found: dict[str, Path] = {}
    queue = {_name(name) for name in wanted} & modules.keys()
    while queue:
        found |= {name: modules[name] for name in queue}
        queue = set(_dependencies([modules[name] for name in queue])) & modules.keys() - found.keys()
    return tuple(sorted(found.values()))


def _dependencies(files: Iterable[Path]) -> Iterator[str]:
    """As modinfo has it, which does not read every compression. depmod would read all 4000 modules first: 9 s."""
    for file in files:
        for words in _MODINFO.findall(_content(file)):
            text = words.decode(errors="replace").replace(",", " ")
            yield from (_name(word) for word in text.split() if not word.endswith(":"))  # softdep: "pre: a b post: c"


def _content(module: Path) -> bytes:
    """Not compressed."""
    try:
        return decompressed(module.read_bytes())
    except ValueError as error:
        raise InfraError(f"{module} cannot be unpacked: {error}") from None


def _name(text: str) -> str:
    return text.replace("-", "_")


def _first(paths: Iterable[Path]) -> Path:
    """The one that exists."""
    candidates = list(paths)
    for path in candidates:
        if path.exists():
            return path
    raise InfraError(
        f"the kernel has no {candidates[0].name}",
        hint=f"looked for {', '.join(map(str, candidates))}",
    )
