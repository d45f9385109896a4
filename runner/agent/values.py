# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The globals of a BPF object as bytes: written before a run, read after it."""

from __future__ import annotations

import ctypes
from sys import byteorder

from .btf import BtfError, Slot


class Section:
    """A writable section: its map, what it contains at first, and a buffer of its size."""

    __slots__ = ("buffer", "fd", "first", "view")

    def __init__(self, fd: int, first: bytes) -> None:
        self.fd = fd
        self.first = first
        self.buffer = ctypes.create_string_buffer(len(first))
        self.view = memoryview(self.buffer).cast("B")


def number(content: memoryview | bytearray, slot: Slot) -> int:
    return int.from_bytes(content[slot.offset : slot.offset + slot.size], byteorder, signed=slot.signed)


def store(content: bytearray | memoryview, path: str, slot: Slot, value: int) -> None:
    """Write a number. -1 may be stored in an unsigned slot. Raises BtfError when it does not fit."""
    bits = 8 * slot.size
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise BtfError(f"{path} has {bits} bits: {value} does not fit")
    content[slot.offset : slot.offset + slot.size] = (value % (1 << bits)).to_bytes(slot.size, byteorder)
