# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is compressed in kernels: what an image unpacks when it starts, the .config in it, modules."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import zstandard

LARGEST = 256 << 20  # bytes of an image, and of memory for unpacking it
_STEP = 4096  # bytes that are unpacked at once: few, as they may become thirty thousand times as many
_TRIED = 64  # places that look like the start of something compressed
_LEAST = 1 << 20  # a kernel has more; what is smaller is a chance match
_FAULTS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, IndexError, struct.error)


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
