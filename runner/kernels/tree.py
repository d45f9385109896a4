# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that was built in a folder on this machine: `tree:FOLDER`. Nothing needs to be installed from it.

FOLDER is what `make` built in (with O=, that one): the image below arch/, .config, include/config/kernel.release and
the modules where the build left them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from runner.errors import UserError
from runner.kernels.config import built_for, options_in
from runner.kernels.fields import AbsolutePath
from runner.kernels.local import LocalSource
from runner.kernels.unpack import Parts, available

# What qemu boots, as the kernel's own makefiles call it; the first one that is there.
_IMAGES = {
    "x86_64": ("arch/x86/boot/bzImage",),
    "arm64": ("arch/arm64/boot/Image", "arch/arm64/boot/Image.gz"),
    "riscv64": ("arch/riscv/boot/Image",),
    "s390x": ("arch/s390/boot/bzImage",),
    "ppc64le": ("vmlinux",),
}
_LISTS = ("modules.builtin", "modules.builtin.modinfo")


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
