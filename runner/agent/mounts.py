# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a loader expects of a machine, and a guest lacks: file systems, memory to lock, /boot/config-RELEASE.

Where the guest's root is read-only and has no /boot, this process and what it starts get another one: the same files
below a tmpfs.
"""

from __future__ import annotations

import ctypes
import os
import resource

from .guest import LIBC, Sysctls, checked, no_modprobe

CONFIG = "/run/key/config"  # the kernel's; KEYS_IN_GUEST of runner/guest/command.py
NETWORK = "/run/key/network"  # there when the guest may use its network
_BOOT, _LAYERS, _ROOT = "/boot", "/run/layers", "/run/root"
FILE_SYSTEMS = {
    "/sys/fs/bpf": "bpf",
    "/sys/fs/cgroup": "cgroup2",
    "/sys/kernel/debug": "debugfs",
    "/sys/kernel/tracing": "tracefs",
}
READ_ONLY, BIND, _WITH_ALL_BELOW = 1, 4096, 16384  # MS_RDONLY, MS_BIND, MS_REC


def prepare() -> None:
    """Mount what can be mounted, and allow memory to be locked. Call it once: it may change this process' root."""
    there = set(_mounted())
    mounting = [lambda path=path: mount_known(path) for path in FILE_SYSTEMS if path not in there]
    for step in (*mounting, _allow_locked_memory, _show_config):
        try:
            step()
        except (OSError, ValueError):  # the latter of setrlimit
            continue


def _allow_locked_memory() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


def mount_known(path: str) -> None:
    """Mount what FILE_SYSTEMS has for it. Raises OSError.

    For each new bpffs the kernel looks for its module bpf_preload (kernel/bpf/inode.c, populate_bpffs): where there is
    none, modprobe alone takes as long as a command's other mounts together.
    """
    kind = FILE_SYSTEMS[path]
    preload = f"/lib/modules/{os.uname().release}/kernel/kernel/bpf/preload"
    with Sysctls(no_modprobe() if kind == "bpf" and not os.path.isdir(preload) else {}):
        mount(kind, path, kind)


def _show_config() -> None:
    """Put the kernel's configuration where libbpf and others look for it."""
    name = f"{_BOOT}/config-{os.uname().release}"
    if os.path.exists(name):
        return
    try:
        os.makedirs(_BOOT, exist_ok=True)
    except OSError:
        _change_root()
        os.makedirs(_BOOT, exist_ok=True)
    mount("tmpfs", _BOOT, "tmpfs")
    os.symlink(CONFIG, name)


def _change_root() -> None:
    """Change to a root that can be written to, with everything that is mounted below the old one."""
    points = _mounted()
    os.makedirs(_ROOT, exist_ok=True)
    overlay("/", _ROOT, _LAYERS)
    for path in points:
        if path != "/" and not any(path.startswith(f"{it}/") for it in points if it != "/"):
            mount(path, _ROOT + path, "", BIND | _WITH_ALL_BELOW)
    folder = os.getcwd()
    os.chroot(_ROOT)
    os.chdir(folder)


def _mounted() -> list[str]:
    """The folders on which something is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return list(dict.fromkeys(line.split(" ")[4] for line in file))


def overlay(below: str, target: str, layers: str) -> None:
    """Mount a folder where it can be written to; what is written is in a tmpfs at `layers`.

    Raises OSError where the kernel has no overlay; then the tmpfs is there, with the empty folder `upper`.
    """
    os.makedirs(layers, exist_ok=True)
    mount("tmpfs", layers, "tmpfs")
    upper, work = f"{layers}/upper", f"{layers}/work"
    os.mkdir(upper)
    os.mkdir(work)
    mount("overlay", target, "overlay", options=f"lowerdir={below},upperdir={upper},workdir={work}")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError."""
    words = (os.fsencode(it) or None for it in (source, target, kind))
    checked(LIBC.mount(*words, ctypes.c_ulong(flags), options.encode() or None), f"mounting {target}")
