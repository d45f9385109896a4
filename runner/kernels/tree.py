"""A kernel that was built in a folder on this machine: `tree:FOLDER`. Nothing needs to be installed from it.

FOLDER is what `make` built in (with O=, that one): the image below arch/, .config, include/config/kernel.release and
the modules where the build left them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from runner.errors import UserError
from runner.kernels import local
from runner.kernels.config import built_for, read_config
from runner.kernels.entries import AbsolutePath, KernelEntry
from runner.kernels.source import Means, Offer
from runner.kernels.unpack import Parts, available
from runner.model import Pin, Wanted

WORD = "tree"
LOCAL = True
VARIABLE = ""
_SOURCE = re.compile(rf"{WORD}:(/[^,]*)")
# What qemu boots, as the kernel's own makefiles call it; the first one that is there.
_IMAGES = {
    "x86_64": ("arch/x86/boot/bzImage",),
    "arm64": ("arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"),
    "riscv64": ("arch/riscv/boot/Image",),
    "s390x": ("arch/s390/boot/bzImage",),
    "ppc64le": ("vmlinux",),
}
_LISTS = ("modules.builtin", "modules.builtin.modinfo")


class TreeEntry(KernelEntry):
    """A kernel that was built in a folder on this machine."""

    tree: Annotated[AbsolutePath, Field(description="the folder that `make` built the kernel in")]

    @property
    def default_name(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]", "-", Path(self.tree).name).lstrip("._-")[:64] or WORD

    @property
    def key(self) -> str:
        return WORD

    def wanted(self, arch: str) -> Iterator[Wanted]:
        yield Wanted(name=self.called, source=f"{WORD}:{self.tree}", arch=arch)


ENTRY = TreeEntry


def check(source: str) -> None:
    """UserError unless the text can be understood."""
    _folder(source)


def offers(named: Sequence[str], archs: Sequence[str], means: Means) -> Iterator[Offer]:  # noqa: ARG001
    """Those that the matrix names."""
    return local.offers(named, archs, _parts, _folder)


def lock(source: str, arch: str, means: Means) -> tuple[Pin, ...]:
    """Pin what is built now. UserError when it is not built."""
    return (local.pin(source, arch, _parts(source), deadline=means.deadline),)


def lost(pin: Pin, means: Means) -> str:
    """What was built again."""
    return local.lost(pin, _parts, means)


def fetch(pin: Pin, tree: Path, means: Means) -> None:
    """Copy it."""
    local.fetch(pin, _parts, tree, means)


def _folder(source: str) -> Path:
    found = _SOURCE.fullmatch(source)
    if not found:
        raise UserError(f"{source!r} is not a kernel source", hint=f"like {WORD}:/home/me/linux, with a whole path")
    return Path(found[1])


def _parts(source: str) -> Parts:
    """UserError when it is not built, or only in part: it is the matrix that says it is."""
    folder = _folder(source)
    config = folder / ".config"
    images = _IMAGES.get(built_for(config), ("arch/*/boot/*Image",))
    needed = {
        "the release": folder / "include/config/kernel.release",
        "the configuration": config,
        "the image": next((folder / name for name in images if (folder / name).is_file()), folder / images[0]),
    }
    modular = read_config(config, ("MODULES",)).get("MODULES") == "y"
    if modular:
        needed |= {"a list of modules": folder / "modules.order"} | {f"the list {one}": folder / one for one in _LISTS}
    missing = [f"{what} ({path.relative_to(folder)})" for what, path in needed.items() if not path.is_file()]
    if missing:
        raise UserError(f"{source}: not built: there is not {', '.join(missing)}", hint=f"make -C {folder}")
    return Parts(
        release=needed["the release"].read_text(errors="replace").strip(),
        image=needed["the image"],
        config=config,
        # modules.order has other names here than depmod expects, and it can do without
        lists=tuple(folder / name for name in _LISTS) if modular else (),
        base=folder,
        modules=_modules(folder) if modular else {},
    )


def _modules(folder: Path) -> dict[str, Path]:
    """Those that the build lists: `net/x/y.ko`, since v6.3 `y.o`, long ago with kernel/ before it."""
    lines = (folder / "modules.order").read_text(errors="replace").split()
    names = (re.sub(r"\.k?o$", ".ko", line.removeprefix("kernel/")) for line in lines if ".." not in line)
    return available(path for name in names if (path := folder / name).is_file())
