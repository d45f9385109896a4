# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Takes files that a command left: regular ones, whose whole path has no link, as far as there is room."""

from __future__ import annotations

import os
import stat
import zlib

MOST_BYTES, MOST_FILES = 16 << 20, 1000


def bring(patterns: list[str], folder: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files by their paths below `folder`, or whole, packed by zlib; and why others were not brought, by path."""
    found: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    room = MOST_BYTES
    for path in dict.fromkeys(path for pattern in patterns for path in _matching(os.path.join(folder, pattern))):
        name = os.path.relpath(path, folder) if path.startswith(f"{folder}/") else path.lstrip("/")
        try:
            content = _read(path, room) if len(found) < MOST_FILES else None
        except OSError as error:
            refused[name] = str(error.strerror)
            continue
        if content is None:
            refused[name] = f"more than {MOST_BYTES >> 20} MiB, or {MOST_FILES} files, in all"
            continue
        room -= len(content)
        found[name] = zlib.compress(content, 1)
    return found, dict(list(refused.items())[:MOST_FILES])


def _matching(pattern: str) -> list[str]:
    """Files that match, and those below folders that match. Links are not followed."""
    import glob  # noqa: PLC0415  dear under emulation, and most bring nothing

    found = []
    for path in map(os.path.normpath, sorted(glob.glob(pattern, recursive=True))):  # ".." is no part of a name
        if os.path.isdir(path) and not os.path.islink(path):
            found += [os.path.join(at, name) for at, _, names in os.walk(path) for name in sorted(names)]
        else:
            found.append(path)
    return found


def _read(path: str, room: int) -> bytes | None:
    """None: it does not fit. Raises OSError for what is no regular file, or lies behind a link."""
    if os.path.realpath(path) != os.path.normpath(path):
        raise OSError(0, "a link, which is not followed")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "no regular file")
        content = file.read(room + 1)
    return content if len(content) <= room else None
