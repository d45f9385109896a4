# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel says of itself: its .config, beside the image or (CONFIG_IKCONFIG) in it, and its release.

Everything here is read from bytes that nobody has to have meant well: what cannot be made out is empty. Much of it is
compressed: what an image unpacks when it starts, the .config in it, modules.
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import zstandard

from runner import userfile
from runner.errors import UserError

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

LARGEST = 256 << 20  # bytes of an image, and of memory for unpacking it
_STEP = 4096  # bytes that are unpacked at once: few, as they may become thirty thousand times as many
_TRIED = 64  # places that look like the start of something compressed
_LEAST = 1 << 20  # a kernel has more; what is smaller is a chance match
_FAULTS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, IndexError, struct.error)


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


# --- what is compressed -------------------------------------------------------------------------------------------


def decompressed(data: bytes) -> bytes:
    """What is compressed at the start of `data`, whatever follows; `data` itself where nothing is.

    Raises ValueError when it cannot be read.
    """
    for magic, unpack in _WAYS.items():
        if data.startswith(magic):
            try:
                return unpack(memoryview(data))
            except _FAULTS as error:
                raise ValueError(str(error)) from None
    return data


def kernels_in(image: bytes) -> Iterator[bytes]:
    """The image, and what is compressed in it, as far as it can be read."""
    yield image
    for magic, unpack in _WAYS.items():
        place, tries = image.find(magic), 0
        while place >= 0 and tries < _TRIED:
            try:
                part = unpack(memoryview(image)[place:])
            except _FAULTS:
                part = b""
            if len(part) >= _LEAST:
                yield part
            place, tries = image.find(magic, place + 1), tries + 1


class _Unpacker(Protocol):
    """A decompressor, with the interface of bz2, lzma and zstandard."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: memoryview, /) -> bytes: ...


def _by(make: Callable[[], _Unpacker]) -> Callable[[memoryview], bytes]:
    def unpack(data: memoryview) -> bytes:
        unpacker, whole = make(), bytearray()
        for at in range(0, len(data), _STEP):
            whole += unpacker.decompress(data[at : at + _STEP])
            if unpacker.eof:
                return bytes(whole)
            if len(whole) > LARGEST:
                raise EOFError(f"it has more than {LARGEST >> 20} MiB")
        raise EOFError("it is cut short")

    return unpack


def _unlz4(data: memoryview) -> bytes:
    """Unpack LZ4's legacy frame, which is what kernels use: blocks, each with its size before it."""
    whole, at = bytearray(), 4
    while at + 4 <= len(data) and len(whole) < LARGEST:
        (size,) = struct.unpack_from("<I", data, at)
        if not 0 < size <= len(data) - at - 4:  # what follows the last block is its length, unpacked
            break
        whole += _lz4_block(data[at + 4 : at + 4 + size])
        at += 4 + size
    return bytes(whole)


def _lz4_block(block: memoryview) -> bytes:
    out, at = bytearray(), 0

    def length(nibble: int) -> int:
        nonlocal at
        total, more = nibble, nibble == 15
        while more:
            total, more, at = total + block[at], block[at] == 255, at + 1
        return total

    while True:
        token, at = block[at], at + 1
        count = length(token >> 4)
        out += block[at : at + count]
        at += count
        if at >= len(block):  # the last one has nothing to repeat
            return bytes(out)
        distance, at = block[at] | block[at + 1] << 8, at + 2
        count = length(token & 15) + 4
        if not 0 < distance <= len(out):
            raise IndexError("the block repeats what was not there")
        piece = out[-distance:][:count]
        out += (piece * (count // len(piece) + 1))[:count]


_WAYS: Mapping[bytes, Callable[[memoryview], bytes]] = {
    b"\x1f\x8b\x08": _by(lambda: zlib.decompressobj(wbits=31)),
    b"\xfd7zXZ\0": _by(lambda: lzma.LZMADecompressor(memlimit=LARGEST)),
    b"\x5d\0\0": _by(lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LARGEST)),
    b"BZh": _by(bz2.BZ2Decompressor),
    b"\x28\xb5\x2f\xfd": _by(lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()),
    b"\x02\x21\x4c\x18": _unlz4,
}
