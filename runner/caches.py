# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where downloaded and built things are kept between runs."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import platformdirs

from runner.errors import InfraError, UserError

CACHE_VARIABLE = "RUNNER_CACHE"
FULL_DISK_HINT = f"free some space where it lies; {CACHE_VARIABLE} names another folder for the caches"
SCRATCH = "scratch"  # in the cache: folders of what runs now
MAX_BYTES = 8 << 30  # of what is kept of one kind, as long as nobody deletes it
# vng joins paths into shell lines unquoted, and apt.conf knows no escapes: refuse what either would misread
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/=:+-]+")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a cache keeps for as long as there is room."""

    key: str
    used_s: float  # when it was last used, since the epoch
    size_bytes: int  # what it takes on the disk


_Entry = TypeVar("_Entry", bound=CacheEntry)


def outgrown(found: Iterable[_Entry], most_bytes: int, *, spare: str = "") -> list[_Entry]:
    """The least recently used ones, without which the others take no more than `most_bytes`. Never the key `spare`."""
    gone, total = [], 0
    for it in sorted(found, key=lambda it: it.used_s, reverse=True):
        total += it.size_bytes
        if total > most_bytes and it.key != spare:
            gone.append(it)
    return gone


def cache_root() -> Path:
    """The cache folder, private to the user: $RUNNER_CACHE, else the user's cache folder (XDG_CACHE_HOME).

    Raises UserError on a path that could not be handed to other programs, InfraError when it cannot be written.
    """
    named = os.environ.get(CACHE_VARIABLE)
    root = Path(named or platformdirs.user_cache_dir("kfunc-runner")).expanduser().absolute()
    if not _PLAIN_PATH.fullmatch(str(root)):
        raise UserError(
            f"the cache folder {str(root)!r} has characters that cannot be passed on safely",
            hint=f"set {CACHE_VARIABLE} to a path of letters, digits and ._/=:+-",
        )
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InfraError(
            f"cannot make the cache folder {root}: {error.strerror}", hint=f"set {CACHE_VARIABLE} to a folder of yours"
        ) from error
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        raise InfraError(
            f"the cache folder {root} is not readable and writable", hint=f"set {CACHE_VARIABLE} to a folder of yours"
        )
    return root


def disk_fault(error: OSError, what: str) -> InfraError:
    """What a user is told of a file that could not be written or read."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    hint = FULL_DISK_HINT if full else "is the disk in order, and the folder writable?"
    return InfraError(f"{what}: {error.strerror or error}", hint=hint)


def not_cached(what: str) -> InfraError:
    """Of something that is needed offline."""
    hint = "`runner kernels fetch` fetches it, with network"
    return InfraError(f"{what} is not in the cache, or is damaged there", hint=hint)


def need_space(folder: Path, size_bytes: int, what: str) -> None:
    """Raises InfraError unless the file system of `folder` has `size_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise InfraError(
            f"{what} needs {size_bytes >> 20} MiB in {folder}, only {free >> 20} MiB are free",
            hint=f"free some space, or set {CACHE_VARIABLE} to a folder on a larger disk",
        )
