# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reads the files that users name. A pipe or a device may never end, and a disk image does not fit into memory."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from runner.errors import UserError

LARGEST = 16 << 20  # bytes


def opened(path: Path, *, absent: str = "") -> BufferedReader:
    """A regular file, to be read and closed. `absent` says what to do when there is no such file.

    Raises UserError when it is none, or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not wait for a pipe's other end
    except OSError as error:
        hint = absent if isinstance(error, FileNotFoundError) else ""
        raise UserError(f"{path}: cannot be read: {error.strerror}", hint=hint) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise UserError(f"{path} is a folder", hint="a file is needed")
    raise UserError(f"{path} is no regular file", hint="copy it into one")


def read(path: Path, *, most: int = LARGEST, absent: str = "", too_large: str = "") -> bytes:
    """The content of a regular file. `too_large` says what to do when it has more than `most` bytes, whole MiB.

    Raises UserError when it has, when it is no regular file, or cannot be read.
    """
    with opened(path, absent=absent) as stream:
        try:
            content = stream.read(most + 1)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UserError(f"{path}: larger than {most >> 20} MiB", hint=too_large)
    return content
