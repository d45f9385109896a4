# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Picks cells: `arch=arm64,kernel=6.*`.

A comma is "and", `|` is "or" between values: `kernel=6.12*|7.*,arch=x86_64`. In a value, * stands for anything. Of
several expressions each picks its cells.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Sequence

from runner.errors import UserError
from runner.model import Cell
from runner.text import nearest

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
