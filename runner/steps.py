# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How far something is that takes long: what takes long says so, and whoever shows it listens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

EVERY_S = 0.5  # how often a step says how far it is
_NEARLY = 0.99  # of a step that has more to do than it announced; 1.0 is its end

Hear = Callable[[str, float | None], None]  # the name of a step, and the part that is done: 0 to 1, None: unknown
Reach = Callable[[int], None]  # how much is done, in the unit of the step's total

_listening: list[Hear] = []


@contextmanager
def heard(by: Hear) -> Iterator[None]:
    """Inside, `by` alone is told of the steps of this process: when one begins, how far it is, and 1.0 at its end."""
    _listening.append(by)
    try:
        yield
    finally:
        _listening.remove(by)


@contextmanager
def step(name: str, total: int = 0) -> Iterator[Reach]:
    """A step that takes long. The function that it gives takes how much of `total` is done; 0: nobody knows."""
    if not _listening:
        yield lambda _: None
        return
    hear, said_s = _listening[-1], time.monotonic()

    def reach(done: int) -> None:
        nonlocal said_s
        if total and time.monotonic() - said_s >= EVERY_S:
            said_s = time.monotonic()
            hear(name, min(_NEARLY, done / total))

    hear(name, 0.0 if total else None)
    try:
        yield reach
    finally:
        hear(name, 1.0)


@contextmanager
def filling(folder: Path, name: str, size_bytes: int) -> Iterator[None]:
    """A step that another program does: the bytes of the files that appear in `folder` say how far it is."""
    if not _listening:
        yield
        return
    over, before = threading.Event(), _bytes_in(folder)

    def look() -> None:
        most = 0  # it also deletes
        while not over.wait(EVERY_S):
            most = max(most, _bytes_in(folder) - before)
            reach(most)

    with step(name, size_bytes) as reach:
        watch = threading.Thread(target=look, name="steps", daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # renamed meanwhile
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  thousands, twice a second
    return total
