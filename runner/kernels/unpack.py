"""Debian's kernel packages -> what a guest needs of them, in the layout that virtme-ng expects.

    boot/vmlinuz-RELEASE  boot/config-RELEASE  lib/modules/RELEASE/

Modules are decompressed (virtme-ng's initramfs cannot) and `depmod` has run. Old packages keep the image in /boot and
the modules in /lib; newer ones keep everything in /usr/lib/modules/RELEASE, spread over several packages.
"""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.deadline import Deadline
from runner.errors import InfraError
from runner.process import run

# A daemon's PATH often lacks these, and a normal user's does on Debian.
_PATH = {"PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}
_IMAGES = ("vmlinuz", "vmlinux")
_DEPMOD_INPUT = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


def unpack_kernel(
    debs: Iterable[Path], release: str, image: str, wanted: Iterable[str], tree: Path, *, deadline: Deadline
) -> None:
    """Fill the empty folder `tree`. Takes some 500 MiB beside it for a while. InfraError when a part is not there."""
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=tree.parent) as name:
        root = Path(name)
        for deb in debs:
            run(["dpkg-deb", "--extract", deb, root], deadline=deadline)
        folders = [root / "usr/lib/modules" / release, root / "lib/modules" / release]
        boot = tree / "boot"
        boot.mkdir()
        images = [root / f"boot/{name}-{release}" for name in _IMAGES]
        images += [folder / name for folder in folders for name in _IMAGES]
        shutil.copyfile(_first(images), boot / f"{image}-{release}")
        configs = [root / f"boot/config-{release}", *(folder / "config" for folder in folders)]
        shutil.copyfile(_first(configs), boot / f"config-{release}")
        modules = tree / "lib/modules" / release
        modules.mkdir(parents=True)
        for file in _DEPMOD_INPUT:
            shutil.copyfile(_first(folder / file for folder in folders), modules / file)
        source = _first(folder / "kernel" for folder in folders).parent
        for path in closure(available(source / "kernel"), wanted, deadline=deadline):
            _decompress(path, modules / path.relative_to(source))
        run(["depmod", "--basedir", tree, release], deadline=deadline, env=_PATH)


def available(kernel: Path) -> dict[str, Path]:
    """Module name -> file. The kernel does not tell `-` from `_` in names; neither does this."""
    paths = (path for path in kernel.rglob("*.ko*") if path.is_file())
    return {_name(path.name.partition(".ko")[0]): path for path in paths}


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
    for field in ("depends", "softdep"):
        out = run(["modinfo", "--field", field, *files], deadline=deadline, env=_PATH).stdout
        for word in out.replace(",", " ").split():
            if not word.endswith(":"):  # softdep: "pre: crc32c post: ..."
                yield _name(word)


def _decompress(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".ko":
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
        f"the kernel's packages hold no {candidates[0].name}",
        hint="a new package layout? runner/kernels/unpack.py knows where the parts lie",
    )
