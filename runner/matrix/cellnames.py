# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kernels and cells are called. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from runner.model import Pin, Settings, Wanted

Named = tuple[str, Pin, Settings]


def kernel_names(wanted: Wanted, pins: Sequence[Pin]) -> Iterator[tuple[str, Pin]]:
    """What the matrix calls each kernel: NAME, and of a range NAME-SERIES or NAME-VERSION.

    A name stays the same when a newer point release takes the place of an older one: runs are compared by it.
    """
    for kernel in pins:
        match wanted.which:
            case None:
                yield wanted.name, kernel
            case "all":
                yield f"{wanted.name}-{kernel.version}", kernel
            case "newest-of-series":
                yield f"{wanted.name}-{'.'.join(map(str, kernel.upstream.series))}", kernel


def cell_ids(kernels: Iterable[Named]) -> tuple[tuple[str, str, Pin, Settings], ...]:
    """(id, name, kernel, settings) of each kernel, those that are there twice, byte for byte, once.

    An id is VERSION[-VARIANT]-ARCH. Where several kernels have that, the name goes before ARCH; where several have that
    as well, so does the beginning of a digest.
    """
    there: dict[object, Named] = {}
    for number, named in enumerate(kernels):
        _, kernel, settings = named
        # without digests (old pins, tests) nothing is known to be the same
        there.setdefault((kernel.arch, kernel.release, kernel.digests or number, settings), named)
    once = list(there.values())
    short = [cell_id(kernel) for _, kernel, _ in once]
    longer = _told_apart(short, [cell_id(kernel, name) for name, kernel, _ in once])
    longest = [cell_id(kernel, f"{name}-{(kernel.digests or ('0',))[0][:8]}") for name, kernel, _ in once]
    return tuple((one, *named) for one, named in zip(_told_apart(longer, longest), once, strict=True))


def _told_apart(ids: list[str], longer: list[str]) -> list[str]:
    """The longer one in the place of each id that is not the only one of its kind."""
    count = Counter(ids)
    return [long if count[short] > 1 else short for short, long in zip(ids, longer, strict=True)]


def cell_id(kernel: Pin, name: str = "") -> str:
    """6.12.107-x86_64, 6.12.107-rt-x86_64, or with a name 6.12.107-NAME-x86_64; only [a-z0-9._-]."""
    parts = filter(None, (kernel.version, kernel.variant, name, kernel.arch))
    return re.sub(r"[^a-z0-9._-]", "-", "-".join(parts).lower())
