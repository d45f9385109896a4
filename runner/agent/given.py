# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What claims need and a guest does not have by itself: things of cgroups, a shared buffer, a key."""

from __future__ import annotations

import binascii
import ctypes
import fcntl
import os
import struct

from .guest import LIBC, checked, write
from .mounts import FILE_SYSTEMS, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ROOT = "/sys/fs/cgroup"
_BELOW = f"{_ROOT}/charged"
_HIERARCHY = "/run/hierarchy"
_UDMABUF = "/dev/udmabuf"
_UDMABUF_CREATE = 0x187542  # without the bits that say that it is written
_ADD_KEY = {"x86_64": 248, "aarch64": 217, "riscv64": 217, "s390x": 278, "ppc64le": 269}  # system calls
_USER_KEYRING = ctypes.c_int(-4)  # KEY_SPEC_USER_KEYRING
_held: list[int] = []  # file descriptors: what they hold is freed with them


def hierarchy(name: str) -> None:
    """Mount a hierarchy of version 1 that has no controllers. Raises OSError."""
    os.makedirs(_HIERARCHY, exist_ok=True)
    mount("cgroup", _HIERARCHY, "cgroup", options=f"none,name={name}")


def attribute(words: str) -> None:
    """Set an attribute, NAME=VALUE, of the cgroup at the root. Raises OSError."""
    name, _, value = words.partition("=")
    _mount_root()
    os.setxattr(_ROOT, name, value.encode())


def charge(size: str) -> None:
    """Take so many bytes for a cgroup below the root, and leave it. Raises OSError."""
    _mount_root()
    write(f"{_ROOT}/cgroup.subtree_control", "+memory")
    os.makedirs(_BELOW, exist_ok=True)
    write(f"{_BELOW}/cgroup.procs", str(os.getpid()))
    try:
        _held.append(os.memfd_create("charged"))
        os.write(_held[-1], bytes(int(size)))
    finally:
        write(f"{_ROOT}/cgroup.procs", str(os.getpid()))


def dmabuf(size: str) -> None:
    """Make a buffer that devices may share, of so many bytes. Raises OSError."""
    memory = os.memfd_create("dmabuf", os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, int(size))
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    written = 1 << (31 if os.uname().machine.startswith("ppc") else 30)
    # struct udmabuf_create of <linux/udmabuf.h>
    wanted = bytearray(struct.pack("=IIQQ", memory, 0, 0, int(size)))  # of bytes, the call would be answered with bytes
    try:
        device = os.open(_UDMABUF, os.O_RDWR)
    except FileNotFoundError:
        raise OSError(f"no {_UDMABUF}: the kernel has no CONFIG_UDMABUF, or its module did not load") from None
    try:
        _held.append(fcntl.ioctl(device, written | _UDMABUF_CREATE, wanted))
    finally:
        os.close(device)
        os.close(memory)


def certificate(text: str) -> None:
    """Put an X.509 certificate, in base64, into root's keyring. Raises OSError."""
    number, content = _ADD_KEY[os.uname().machine], binascii.a2b_base64(text)
    size = ctypes.c_size_t(len(content))
    checked(LIBC.syscall(number, b"asymmetric", b"", content, size, _USER_KEYRING), "add_key")


def _mount_root() -> None:
    if not os.path.exists(f"{_ROOT}/cgroup.procs"):
        mount("cgroup2", _ROOT, FILE_SYSTEMS[_ROOT])


COMMANDS: Mapping[str, Callable[[str], None]] = {
    "hierarchy": hierarchy,
    "attribute": attribute,
    "charge": charge,
    "dmabuf": dmabuf,
    "certificate": certificate,
}
