# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel says of itself: its .config, in a file or built into an image, whatever compresses that."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from runner.kernels.config import config_of, decompressed, read_config, release_of

TEXT = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_NF_NAT=m
# CONFIG_NET_FOU is not set
CONFIG_BPF_JIT=y
CONFIG_HZ=250
CONFIG_NF_NAT_OLD=y
"""
KERNEL = b"\0Linux version 6.6.58 (me)\0IKCFG_ST" + gzip.compress(TEXT.encode()) + b"IKCFG_ED" + bytes(1 << 20)


def test_values(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(TEXT)
    found = read_config(path, ("NF_NAT", "NET_FOU", "BPF_JIT", "HZ", "NF", "UNHEARD_OF"))
    assert found == {"NF_NAT": "m", "NET_FOU": "n", "BPF_JIT": "y", "HZ": "250", "NF": "n", "UNHEARD_OF": "n"}


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_config(tmp_path / "none", ("NF_NAT",)) == {}
    (tmp_path / "empty").write_text("not a config\n")
    assert read_config(tmp_path / "empty", ("NF_NAT",)) == {}


def old_lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def lz4(data: bytes) -> bytes:
    """Blocks of literals alone, as the legacy frame has them."""
    frame = b"\x02\x21\x4c\x18"
    for at in range(0, len(data), 1 << 19):
        part = data[at : at + (1 << 19)]
        more, rest = divmod(len(part) - 15, 255)
        block = b"\xf0" + b"\xff" * more + bytes([rest]) + part
        frame += struct.pack("<I", len(block)) + block
    return frame


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, old_lzma, bz2.compress, zstandard.compress, lz4])
def test_what_is_built_in_is_read_whatever_compresses_the_kernel(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(KERNEL)
    image = b"what starts it" + packed + struct.pack("<I", len(KERNEL))  # the makefiles append its length
    assert config_of(image) == TEXT
    assert release_of(image) == "6.6.58"
    assert config_of(image[: len(packed) // 2]) in ("", TEXT), "half an image is no reason to stop"


def test_a_block_of_lz4_repeats_what_it_had() -> None:
    frame = bytes.fromhex(
        "02214c18570000007f6b65726e656c200700ffffffffffffffffffffe0f031000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
    )
    assert decompressed(frame) == b"kernel " * 400 + bytes(range(64))
    with pytest.raises(ValueError, match="was not there"):
        decompressed(b"\x02\x21\x4c\x18\x05\0\0\0\x10a\x09\0\0")


@pytest.mark.parametrize("image", [b"", b"\x1f\x8b\x08 no gzip", b"\x28\xb5\x2f\xfd nor this", b"IKCFG_ST not packed"])
def test_an_image_that_does_not_tell_says_nothing(image: bytes) -> None:
    assert (config_of(image), release_of(image)) == ("", "")
