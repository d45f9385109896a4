# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel says of itself: its .config, beside the image or (CONFIG_IKCONFIG) in it, and its release.

Everything here is read from bytes that nobody has to have meant well: what cannot be made out is empty.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from runner import userfile
from runner.errors import UserError
from runner.kernels.compressed import LARGEST, decompressed, kernels_in

_LINE = re.compile(r"^(?:CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set)$", re.MULTILINE)
# Where a kernel's own .config says what it was built for: the options that are set, and the architecture that means.
_ARCHITECTURES = {
    "X86_64": "x86_64",
    "ARM64": "arm64",
    "S390": "s390x",
    "PPC64": "ppc64le",
    "RISCV": "riscv64",
}
_HEADER = re.compile(r"^# Linux/\S+ (\S+) Kernel Configuration$", re.MULTILINE)
_BANNER = re.compile(rb"Linux version (\d[0-9A-Za-z.+~_-]{2,63}) \(")
_RELEASE = re.compile(rb"(\d[0-9A-Za-z.+~_-]{2,63})[ \0]")
_CONFIG = re.compile(rb"IKCFG_ST(?=\x1f\x8b)")  # kernel/configs.c
_HEAD = 0x10010  # bytes
_ORDERS = {b"\1": "<", b"\2": ">"}
_ELF = {  # include/uapi/linux/elf-em.h, by byte order
    (1, 21): "ppc64le", (2, 21): "big-endian ppc64", (1, 62): "x86_64", (1, 183): "arm64", (1, 243): "riscv64",
    (2, 22): "s390x",
}  # fmt: skip


def read_config(path: Path, names: Iterable[str]) -> dict[str, str]:
    """The values of options named without CONFIG_: `y`, `m`, or another value; `n` for what the file does not set.

    Empty when the file cannot be read: then nothing is known, which is not the same as `n`.
    """
    try:
        return options_in(path.read_text(errors="replace"), names)
    except OSError:
        return {}


def options_in(text: str, names: Iterable[str]) -> dict[str, str]:
    """As `read_config`, of a .config's text."""
    found = {name: value for name, value, _ in _LINE.findall(text) if name}
    if not found:
        return {}
    return {name: found.get(name, "n") for name in names}


def built_for(text: str) -> str:
    """The architecture that the kernel of this .config runs on; empty when it is none of ours, or there is no text."""
    found = options_in(text, _ARCHITECTURES)
    return next((arch for option, arch in _ARCHITECTURES.items() if found.get(option) == "y"), "")


def upstream_version(text: str, release: str) -> str:
    """The version in the title of the .config `text`, else what the release begins with; empty when neither tells.

    Debian's release 6.1.0-56 is upstream's 6.1.192: only the title says so.
    """
    title = _HEADER.search(text[:4096])
    for word in (title[1] if title else "", release):
        if found := re.match(r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?", word):
            return found[0]
    return ""


def release_of(image: bytes) -> str:
    """`uname -r`; empty when the image does not tell."""
    if image[0x202:0x206] == b"HdrS":  # x86: Documentation/arch/x86/boot.rst, kernel_version
        pointer = struct.unpack_from("<H", image, 0x20E)[0] + 0x200
        if found := _RELEASE.match(image, pointer):
            return found[1].decode()
    for part in kernels_in(image):
        if found := _BANNER.search(part):
            return found[1].decode()
    return ""


def config_of(image: bytes) -> str:
    """The .config that was built in; empty when there is none, or none that can be read."""
    for part in kernels_in(image):
        if found := _CONFIG.search(part):
            with suppress(ValueError):
                return decompressed(part[found.end() :]).decode(errors="replace")
    return ""


def read_image(path: Path) -> bytes:
    """The image. Larger ones than any kernel's are cut."""
    with userfile.opened(path) as stream:
        return stream.read(LARGEST)


def image_head(path: Path) -> bytes:
    """As much of an image as `machine_of` looks at. Empty when it cannot be read."""
    with suppress(OSError, UserError), userfile.opened(path) as stream:
        return stream.read(_HEAD)
    return b""


def machine_of(image: bytes) -> str:
    """The architecture whose code an image begins with, one of ours or another one; empty when it does not tell."""
    if image[0x202:0x206] == b"HdrS":
        return "x86_64" if image[0x236:0x237] and image[0x236] & 1 else "x86 with 32 bits"  # XLF_KERNEL_64
    if image[0x38:0x3C] == b"ARM\x64":  # Documentation/arch/arm64/booting.rst
        return "big-endian arm64" if image[0x18] & 1 else "arm64"
    if image[0x38:0x3C] == b"RSC\x05":  # Documentation/arch/riscv/boot-image-header.rst
        return "riscv64"
    if image[0x10008:0x1000E] == b"S390EP":
        return "s390x"
    if image[:4] == b"\x7fELF" and image[5:6] in _ORDERS:
        (machine,) = struct.unpack_from(f"{_ORDERS[image[5:6]]}H", image, 18)
        return _ELF.get((image[5], machine), f"ELF machine {machine}")
    return ""
