"""A kernel's parts, wherever they lie -> what a guest needs of them, in the layout that virtme-ng expects.

    boot/IMAGE-RELEASE  boot/config-RELEASE  lib/modules/RELEASE/

Modules are decompressed (virtme-ng's initramfs cannot) and `depmod` has run. Old packages keep the image in /boot and
the modules in /lib; newer ones keep everything in /usr/lib/modules/RELEASE, spread over several packages.
"""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runner.caches import need_space
from runner.errors import InfraError
from runner.kernels.needs import MODULES
from runner.model import Pin
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import run

log = logging.getLogger(__name__)

_UNPACKED_FACTOR = 9  # bytes on disk while unpacking, for each byte of the packages: 7 measured with 6.1 on x86_64
# A daemon's PATH often lacks these, and a normal user's does on Debian.
_PATH = {"PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}
_IMAGES = ("vmlinuz", "vmlinux")
DEPMOD_INPUT = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of one kernel lie. `modules` are all that it has, by name, somewhere below `base`."""

    release: str
    image: Path
    config: Path
    lists: tuple[Path, ...]  # what depmod reads beside the modules
    base: Path
    modules: Mapping[str, Path]


def unpack_packages(pin: Pin, tree: Path, download: Callable[[Path], Iterable[Path]], *, deadline: Deadline) -> None:
    """Fill the empty folder `tree`. `download` puts the packages into a folder, checked, and names the files.

    Raises InfraError when a part is not there.
    """
    start = time.monotonic()
    need_space(tree.parent, _UNPACKED_FACTOR * pin.size_bytes, f"kernel {pin.release}")
    folder, root = tree.parent / "debs", tree.parent / "unpacked"
    folder.mkdir()
    files = tuple(download(folder))
    fetched = time.monotonic()
    for file in files:
        run(["dpkg-deb", "--extract", file, root], deadline=deadline)
    lay_out(needed_of(find_parts(root, pin.release), deadline=deadline), pin.arch, tree, deadline=deadline)
    log.info(
        "kernel %s: %d MiB fetched in %.1f s, unpacked in %.1f s",
        pin.release,
        pin.size_bytes >> 20,
        fetched - start,
        time.monotonic() - fetched,
    )


def find_parts(root: Path, release: str) -> Parts:
    """The parts of a kernel that is installed below `root`. Raises InfraError when one is missing."""
    folders = [root / "usr/lib/modules" / release, root / "lib/modules" / release]
    images = [root / f"boot/{name}-{release}" for name in _IMAGES]
    images += [folder / name for folder in folders for name in _IMAGES]
    configs = [root / f"boot/config-{release}", *(folder / "config" for folder in folders)]
    base = _first(folder / "kernel" for folder in folders)
    return Parts(
        release=release,
        image=_first(images),
        config=_first(configs),
        lists=tuple(_first(folder / file for folder in folders) for file in DEPMOD_INPUT),
        base=base,
        modules=available(base.rglob("*.ko*")),
    )


def parts_of(image: Path, modules: Path, config: Path | None = None) -> Parts:
    """A kernel's parts at these paths. `modules` is named after the release. Raises InfraError when one is missing."""
    release = modules.name
    return Parts(
        release=release,
        image=_first([image]),
        config=_first([config] if config else [image.parent / f"config-{release}", modules / "config"]),
        lists=tuple(_first([modules / file]) for file in DEPMOD_INPUT),
        base=_first([modules / "kernel"]),
        modules=available((modules / "kernel").rglob("*.ko*")),
    )


def needed_of(parts: Parts, *, deadline: Deadline) -> Parts:
    """The kernel with no more modules than those that guests and probes need, and what they depend on."""
    files = set(closure(parts.modules, MODULES, deadline=deadline))
    return replace(parts, modules={name: path for name, path in parts.modules.items() if path in files})


def lay_out(parts: Parts, arch: str, tree: Path, *, deadline: Deadline) -> None:
    """Fill the empty folder `tree` with all of a kernel."""
    boot = tree / "boot"
    boot.mkdir()
    shutil.copyfile(parts.image, boot / f"{architecture(arch).image}-{parts.release}")
    shutil.copyfile(parts.config, boot / f"config-{parts.release}")
    modules = tree / "lib/modules" / parts.release
    modules.mkdir(parents=True)
    for file in parts.lists:
        shutil.copyfile(file, modules / file.name)
    for path in sorted(parts.modules.values()):
        _decompress(path, modules / "kernel" / path.relative_to(parts.base))
    if packed := sorted(modules.rglob("*.zst")):  # Python reads these from 3.14 on
        run(["zstd", "--decompress", "--rm", "--quiet", *packed], deadline=deadline)
    run(["depmod", "--basedir", tree, parts.release], deadline=deadline, env=_PATH)


def releases_in(root: Path) -> list[str]:
    """The releases that have modules below a root folder."""
    folders = [*root.glob("usr/lib/modules/*/kernel"), *root.glob("lib/modules/*/kernel")]
    return sorted({folder.parent.name for folder in folders})


def available(files: Iterable[Path]) -> dict[str, Path]:
    """Module name -> file. The kernel does not tell `-` from `_` in names; neither does this."""
    return {_name(path.name.partition(".ko")[0]): path for path in files if path.is_file()}


def closure(modules: Mapping[str, Path], wanted: Iterable[str], *, deadline: Deadline) -> tuple[Path, ...]:
    """The files of the wanted modules that exist, with all that they depend on, softly or not."""
    found: dict[str, Path] = {}
    queue = {_name(name) for name in wanted} & modules.keys()
    while queue:
        found |= {name: modules[name] for name in queue}
        queue = set(_dependencies([modules[name] for name in queue], deadline)) & modules.keys() - found.keys()
    return tuple(sorted(found.values()))


def _dependencies(files: Iterable[Path], deadline: Deadline) -> Iterator[str]:
    """What modinfo says. depmod would say the same, but reads all 4000 modules of a kernel first: 9 s."""
    for line in run(["modinfo", *files], deadline=deadline, env=_PATH).stdout.splitlines():
        field, _, words = line.partition(":")
        if field in {"depends", "softdep"}:
            # softdep: "pre: crc32c post: ..."
            yield from (_name(word) for word in words.replace(",", " ").split() if not word.endswith(":"))


def _decompress(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in {".ko", ".zst"}:
        shutil.copyfile(source, target)
    elif source.suffix == ".xz":
        target.with_suffix("").write_bytes(lzma.decompress(source.read_bytes()))
    else:
        raise InfraError(f"{source.name}: modules compressed with {source.suffix} cannot be unpacked")


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
