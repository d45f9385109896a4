# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where a command runs: in namespaces and file systems of its own, with the user's files below /payload.

Its root is the guest's, or a user's container image: a disk, of which runner/images/container.py tells how it is made.
What a command writes to its root or its files is in a layer of its own. The agent itself never runs in an image.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import stat
import sys
import zlib

from . import scan
from .cgroups import ROOT as CGROUPS
from .guest import LIBC, NEWNET, load_modules, read, unshare
from .mounts import BIND, CONFIG, FILE_SYSTEMS, NETWORK, READ_ONLY, mount, mount_known, overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
_NEWNS, _PRIVATE = 0x00020000, 1 << 18 | 16384  # CLONE_NEWNS; MS_PRIVATE, MS_REC
_AF_INET, _SOCK_DGRAM, _SIOCSIFFLAGS, _UP, _IFNAMSIZ, _IFREQ_BYTES = 2, 2, 0x8914, 1, 16, 40
_FRESH = ("/tmp", "/run/netns")  # noqa: S108
CONTAINER_SERIAL = "container"  # of the disk with the image: that of runner/guest/command.py
_HOME = "/run/container"
_MOUNTS = {"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}  # noqa: S108
_HOSTS, _RESOLVER = "/etc/hosts", "/etc/resolv.conf"
MOST_BYTES, MOST_FILES = 16 << 20, 1000  # that are brought


def enter(files: list[Entry], folder: str, tree: str) -> dict[str, str]:
    """Enter new namespaces, with these files. Returns the variables of the image. Raises OSError.

    `folder` has the pushed files, `tree` tells these from others.
    """
    own_network = not os.path.exists(NETWORK)
    unshare(_NEWNS | (NEWNET if own_network else 0))
    mount("none", "/", "", _PRIVATE)
    if own_network:
        _start_loopback()
    disk = _disk()
    root, variables = _show_image(disk) if disk else ("", {})
    _lay(files, folder, tree, root)
    if root:
        _change_root(root)
    _mount_own(new_sys=own_network and not root)
    return variables


def _start_loopback() -> None:
    """As `ip link set lo up` does, netdevice(7), without another process. Raises OSError."""
    request = b"lo".ljust(_IFNAMSIZ, b"\0") + _UP.to_bytes(2, sys.byteorder)
    endpoint = LIBC.socket(_AF_INET, _SOCK_DGRAM, 0)  # Python's module of sockets is dear
    try:
        fcntl.ioctl(endpoint, _SIOCSIFFLAGS, request.ljust(_IFREQ_BYTES, b"\0"))
    finally:
        os.close(endpoint)


def _mount_own(*, new_sys: bool) -> None:
    """File systems of the command's own. Raises OSError."""
    if new_sys:
        mount("sysfs", "/sys", "sysfs")  # shows the network of whoever mounts it
    else:
        LIBC.umount2(CGROUPS.encode(), 2)  # MNT_DETACH: the same is not mounted twice in one place
    for path in FILE_SYSTEMS:
        if path == CGROUPS:  # the command mounts its own
            continue
        try:
            mount_known(path)
        except OSError:  # the kernel was built without it
            continue
    for path in _FRESH:
        os.makedirs(path, exist_ok=True)
        mount("tmpfs", path, "tmpfs")


# --- the user's files -------------------------------------------------------------------------------------------------


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


def _lay(files: list[Entry], folder: str, tree: str, root: str) -> None:
    """`root` is what the command will have as its root. Raises OSError."""
    target = root + PAYLOAD
    below = os.path.join(SHARE, tree)
    if not os.path.isdir(below):
        below = os.path.join(folder, f"tree-{tree}")
    os.makedirs(target, exist_ok=True)
    if not os.path.isdir(below):  # pushed files are not pushed again for the next command: hard links cost nothing
        os.makedirs(below)
        _place(files, below, lambda entry, path: os.link(os.path.join(folder, entry["content"]), path))
    try:
        overlay(below, target, _LAYERS)
    except OSError:  # a kernel without it: a copy
        mount(f"{_LAYERS}/upper", target, "", BIND)
        _place(files, target, lambda entry, path: _copy(os.path.join(below, entry["path"]), path))


def _place(files: list[Entry], target: str, put: Callable[[Entry, str], None]) -> None:
    for entry in files:
        path = os.path.join(target, entry["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if entry["link"]:
            os.symlink(entry["link"], path)
        else:
            put(entry, path)
            os.chmod(path, entry["mode"])


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as file, open(target, "wb") as copy:
        while chunk := file.read(1 << 20):
            copy.write(chunk)


# --- a container image ------------------------------------------------------------------------------------------------


def _disk() -> str:
    """The disk with the image; empty where there is none."""
    for name in sorted(os.listdir("/sys/block")):
        if read(f"/sys/block/{name}/serial") == CONTAINER_SERIAL:
            return f"/dev/{name}"
    return ""


def _show_image(disk: str) -> tuple[str, dict[str, str]]:
    """The folder in which the image's files are, and its variables. Raises OSError."""
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


def _change_root(root: str) -> None:
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
    try:
        os.makedirs(place, exist_ok=True)
    except OSError:  # an image whose root cannot be written to may not have it
        pass
    else:
        mount(f"/proc/self/fd/{modules}", place, "", BIND)
    os.close(modules)
    for path, text in texts.items():
        if not (os.path.exists(path) and os.path.getsize(path)):
            _put(path, text)


def _put(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):  # to a file that a service would write
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return


# --- what a command left ----------------------------------------------------------------------------------------------


def bring(patterns: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Regular files whose whole path has no link, as far as there is room; and why others were not brought.

    By their paths below /payload, or whole; packed by zlib.
    """
    found: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    room = MOST_BYTES
    for path in dict.fromkeys(path for pattern in patterns for path in _matching(os.path.join(PAYLOAD, pattern))):
        name = os.path.relpath(path, PAYLOAD) if path.startswith(f"{PAYLOAD}/") else path.lstrip("/")
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
