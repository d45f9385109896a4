# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The globals of a BPF object as bytes: written before a run, read after it."""

from __future__ import annotations

import ctypes
import struct
from sys import byteorder

from .btf import BtfError, Slot

_FORMATS = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q"}
_FORMATS |= {(size, True): letter.lower() for (size, _), letter in _FORMATS.items()}


class Section:
    """A writable section: its map, what it contains at first, and a buffer of its size."""

    __slots__ = ("buffer", "fd", "first", "view")

    def __init__(self, fd: int, first: bytes) -> None:
        self.fd = fd
        self.first = first
        self.buffer = ctypes.create_string_buffer(len(first))
        self.view = memoryview(self.buffer).cast("B")


class Numbers:
    """Where the numbers of a structure are. Those that overlap (members of unions) are read by further formats."""

    def __init__(self, slots: dict[str, Slot]) -> None:
        self._layers: list[tuple[tuple[str, ...], struct.Struct]] = []
        left = sorted(slots.items(), key=lambda item: item[1].offset)
        while left:
            names, form, end, rest = [], "=", 0, []
            for name, slot in left:
                if slot.offset < end:
                    rest.append((name, slot))
                    continue
                if (letter := _FORMATS.get((slot.size, slot.signed))) is None:
                    raise BtfError(f"{name} has {8 * slot.size} bits, and not at most 64")
                form += f"{slot.offset - end}x{letter}"
                end = slot.offset + slot.size
                names.append(name)
            self._layers.append((tuple(names), struct.Struct(form)))
            left = rest

    def of(self, content: memoryview | bytearray | bytes) -> dict[str, int]:
        found: dict[str, int] = {}
        for names, form in self._layers:
            found.update(zip(names, form.unpack_from(content), strict=True))
        return found


def store(content: bytearray | memoryview, path: str, slot: Slot, value: int) -> None:
    """Write a number. -1 may be stored in an unsigned slot. Raises BtfError when it does not fit."""
    bits = 8 * slot.size
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise BtfError(f"{path} has {bits} bits: {value} does not fit")
    content[slot.offset : slot.offset + slot.size] = (value % (1 << bits)).to_bytes(slot.size, byteorder)
