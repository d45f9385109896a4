# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Lays a user's files below /payload: as they were pushed, with what the command writes in a layer of its own."""

from __future__ import annotations

import os

from .guest import load_modules
from .mounts import BIND, READ_ONLY, mount, overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Entry(TypedDict):
        """A file: its `path` below /payload, and its `content`, a pushed file's name. Or a symbolic link to `link`."""

        path: str
        mode: int
        content: str
        link: str


PAYLOAD = "/payload"
_LAYERS = "/run/payload"
_TAG, SHARE = "shared", "/run/shared"  # SHARE of runner/guest/command.py


def show() -> None:
    """Mount what the host shows, if it shows something and the guest does not have it yet."""
    if os.path.isdir(SHARE) and os.listdir(SHARE):
        return
    os.makedirs(SHARE, exist_ok=True)
    load_modules(["9pnet_virtio", "9p"])
    try:
        mount(_TAG, SHARE, "9p", READ_ONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose")
    except OSError:  # it shows nothing: the files were pushed
        return


def lay(files: list[Entry], folder: str, tree: str, root: str = "") -> None:
    """In a mount namespace of the caller's own. `folder` has the pushed files, `tree` tells these from others.

    `root` is what the command will have as its root. Raises OSError.
    """
    target = root + PAYLOAD
    below = os.path.join(SHARE, tree)
    if not os.path.isdir(below):
        below = os.path.join(folder, f"tree-{tree}")
    os.makedirs(target, exist_ok=True)
    if not os.path.isdir(below):
        _link(files, folder, below)
    try:
        overlay(below, target, _LAYERS)
    except OSError:  # a kernel without it: a copy
        mount(f"{_LAYERS}/upper", target, "", BIND)
        _copy(files, below, target)


def _link(files: list[Entry], folder: str, target: str) -> None:
    """Files that were pushed are not pushed again for the next command: hard links cost nothing."""
    os.makedirs(target)
    for entry in files:
        path = _made(entry, target)
        if entry["link"]:
            os.symlink(entry["link"], path)
        else:
            os.link(os.path.join(folder, entry["content"]), path)
            os.chmod(path, entry["mode"])


def _copy(files: list[Entry], below: str, target: str) -> None:
    for entry in files:
        path = _made(entry, target)
        if entry["link"]:
            os.symlink(entry["link"], path)
            continue
        with open(os.path.join(below, entry["path"]), "rb") as source, open(path, "wb") as copy:
            while chunk := source.read(1 << 20):
                copy.write(chunk)
        os.chmod(path, entry["mode"])


def _made(entry: Entry, target: str) -> str:
    path = os.path.join(target, entry["path"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path
