"""What a kernel's image says of itself: its release, and its .config where CONFIG_IKCONFIG put it there.

For images that come without a config beside them. Everything here is read from bytes that nobody has to have meant
well: what cannot be made out is empty.
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_BANNER = re.compile(rb"Linux version (\d[0-9A-Za-z.+~_-]{2,63}) \(")
_RELEASE = re.compile(rb"(\d[0-9A-Za-z.+~_-]{2,63})[ \0]")
_CONFIG_START = b"IKCFG_ST"  # kernel/configs.c
_GZIP, _XZ = b"\x1f\x8b\x08", b"\xfd7zXZ\0"
_LARGEST = 256 << 20  # bytes of an unpacked kernel
_TRIED = 64  # places that look like the start of something compressed


def release_of(image: bytes) -> str:
    """`uname -r`; empty when the image does not tell."""
    if image[0x202:0x206] == b"HdrS":  # x86: Documentation/arch/x86/boot.rst, kernel_version
        pointer = struct.unpack_from("<H", image, 0x20E)[0] + 0x200
        if found := _RELEASE.match(image, pointer):
            return found[1].decode()
    for part in _unpacked(image):
        if found := _BANNER.search(part):
            return found[1].decode()
    return ""


def config_of(image: bytes) -> str:
    """The .config that was built in; empty when there is none, or none that can be read."""
    for part in _unpacked(image):
        start = part.find(_CONFIG_START)
        if start >= 0:
            return _inflated(part[start + len(_CONFIG_START) :]).decode(errors="replace")
    return ""


def read(path: Path) -> bytes:
    """The image. Larger ones than any kernel's are cut."""
    with path.open("rb") as stream:
        return stream.read(_LARGEST)


def _unpacked(image: bytes) -> Iterator[bytes]:
    """The image, and what is compressed in it, as far as Python can read it."""
    yield image
    for magic, unpack in ((_GZIP, _inflated), (_XZ, _unxz)):
        place, tries = image.find(magic), 0
        while place >= 0 and tries < _TRIED:
            part = unpack(memoryview(image)[place:])
            if len(part) > 1 << 20:  # a kernel, and no chance match
                yield part
            place, tries = image.find(magic, place + 1), tries + 1


def _inflated(data: bytes | memoryview) -> bytes:
    with suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(data, _LARGEST)
    return b""


def _unxz(data: bytes | memoryview) -> bytes:
    with suppress(lzma.LZMAError):
        return lzma.LZMADecompressor(memlimit=_LARGEST).decompress(data, _LARGEST)
    return b""
