# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kernels and cells are called, and how some of them are picked. Pure."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from runner.errors import UserError
from runner.model import Cell, Pin, Settings, Wanted
from runner.text import nearest

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


# --- which of them are meant ------------------------------------------------------------------------------------------
# `arch=arm64,kernel=6.*`: a comma is "and", `|` is "or" between values: `kernel=6.12*|7.*,arch=x86_64`. In a value, *
# stands for anything. Of several expressions each picks its cells.

_KEYS: dict[str, Callable[[Cell], tuple[str, ...]]] = {
    "arch": lambda cell: (cell.arch,),
    "kernel": lambda cell: (cell.name, cell.kernel.version),
    "id": lambda cell: (cell.id,),
}


def select(cells: Sequence[Cell], *expressions: str) -> tuple[Cell, ...]:
    """The cells that match any of `expressions`, in their order; all of them without one, and for an empty one.

    Raises UserError when one cannot be read, and when one or a pattern in it matches nothing.
    """
    chosen = {cell.id for expression in expressions for cell in _matching(cells, expression)}
    return tuple(cell for cell in cells if cell.id in chosen or not expressions)


def _matching(cells: Sequence[Cell], expression: str) -> Sequence[Cell]:
    chosen = cells
    for term in filter(None, (part.strip() for part in expression.split(","))):
        key, equals, values = term.partition("=")
        names = _KEYS.get(key.strip())
        patterns = [value.strip() for value in values.split("|") if value.strip()]
        if names is None:
            raise UserError(f"--only {expression!r}: unknown key {key.strip()!r}; {nearest(key, _KEYS)}")
        if not equals or not patterns:
            raise UserError(f"--only {expression!r}: {term!r} is not KEY=VALUE", hint="such as kernel=6.*|7.*")
        before = chosen
        chosen = [cell for cell in chosen if any(_matches(cell, names, pattern) for pattern in patterns)]
        if not chosen:
            there = dict.fromkeys(name for cell in before for name in names(cell))
            raise UserError(
                f"--only {expression!r} selects nothing: {term!r} matches none",
                hint=f"{key.strip()}: {', '.join(there) or 'no cells at all'}",
            )
        if typo := next((it for it in patterns if not any(_matches(cell, names, it) for cell in cells)), ""):
            there = dict.fromkeys(name for cell in cells for name in names(cell))
            raise UserError(f"--only {expression!r}: {typo!r} matches none", hint=f"{key.strip()}: {', '.join(there)}")
    return chosen


def _matches(cell: Cell, names: Callable[[Cell], tuple[str, ...]], pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names(cell))


def shard(cells: Sequence[Cell], word: str) -> tuple[Cell, ...]:
    """`2/8`: the second of eight parts, in which every cell is once; the same on every machine, as ids decide.

    Raises UserError when it cannot be read, and when the part is empty.
    """
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", word)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise UserError(f"--shard {word}: expected K/N, such as 2/8 for the second of eight parts")
    # by digest: in the order of the ids, every second cell would be of one architecture
    dealt = sorted(cells, key=lambda cell: hashlib.sha256(cell.id.encode()).digest())[number - 1 :: of]
    if not dealt:
        raise UserError(f"--shard {word} is empty: there are {len(cells)} cells", hint=f"use 1/{len(cells)} at most")
    return tuple(cell for cell in cells if cell in dealt)
