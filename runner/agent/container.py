# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A user's container image as the root of a command: its disk, with what is written in a layer of its own.

runner/images/container.py makes the disk. The agent itself never runs in it.
"""

from __future__ import annotations

import codecs
import os

from .fastjson import scan
from .guest import read
from .mounts import BIND, CONFIG, NETWORK, READ_ONLY, mount, overlay

_SERIAL = "container"  # of the disk: CONTAINER_SERIAL of runner/guest/command.py
_HOME = "/run/container"
_MOUNTS = {"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}  # noqa: S108
_HOSTS, _RESOLVER = "/etc/hosts", "/etc/resolv.conf"


def device() -> str:
    """The disk with the image; empty where there is none."""
    for name in sorted(os.listdir("/sys/block")):
        try:
            if read(f"/sys/block/{name}/serial").strip() == _SERIAL:
                return f"/dev/{name}"
        except OSError:  # no disk of virtio
            continue
    return ""


def mounted(disk: str) -> tuple[str, dict[str, str]]:
    """The folder in which the image's files are, and its variables. In a mount namespace of the caller's own.

    Raises OSError.
    """
    disk_at, root = f"{_HOME}/disk", f"{_HOME}/root"
    for path in (disk_at, root):
        os.makedirs(path, exist_ok=True)
    mount(disk, disk_at, "ext4", READ_ONLY)
    below = f"{disk_at}/root"
    try:
        overlay(below, root, f"{_HOME}/layers")
    except OSError:  # a kernel without it: what the command writes is in /payload, /run or /tmp
        mount(below, root, "", BIND)
        mount("tmpfs", f"{root}/run", "tmpfs")
    variables: dict[str, str] = scan(read(f"{disk_at}/environment"), 0)[0]
    return root, variables


def enter(root: str) -> None:
    """Change this process to the image as its root. Raises OSError."""
    import glob  # noqa: F401, PLC0415  what is imported from now on would be the image's

    codecs.lookup("ascii")
    release = os.uname().release
    modules = os.open(f"/lib/modules/{release}", os.O_RDONLY | os.O_DIRECTORY)
    sources = {f"/boot/config-{release}": CONFIG, _HOSTS: _HOSTS}
    if os.path.exists(NETWORK):
        sources[_RESOLVER] = _RESOLVER
    texts = {path: read(source) for path, source in sources.items() if os.path.exists(source)}
    os.chroot(root)
    os.chdir("/")
    for path, kind in _MOUNTS.items():
        os.makedirs(path, exist_ok=True)
        mount(kind, path, kind)
    place = f"/lib/modules/{release}"
    if _made(place):
        mount(f"/proc/self/fd/{modules}", place, "", BIND)
    os.close(modules)
    for path, text in texts.items():
        if not (os.path.exists(path) and os.path.getsize(path)):
            _put(path, text)


def _made(folder: str) -> bool:
    """An image whose root cannot be written to may not have it."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return True


def _put(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):  # to a file that a service would write
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return
