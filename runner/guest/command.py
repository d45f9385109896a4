"""The vng command line of a guest. Pure."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from runner.errors import InfraError
from runner.guest.interface import BootOrder

# vng joins its values into a shell line, most of them unquoted, and qemu splits options at commas.
_SAFE = re.compile(r"[A-Za-z0-9._/=:+-]+")

GUEST_ADDRESS = "10.0.2.15"  # where qemu's user network expects its first guest
KEYS_IN_GUEST = "/run/key"
GDB_SOCKET = "gdb"  # beside the folder of the keys
_SOCKET_PATH_MAX = 107  # of a UNIX socket, unix(7)
# `-v` is what sends the kernel's console to us, and it asks for everything, which costs a second on an emulated
# serial port. Warnings and worse are what a post-mortem needs.
_LOGLEVEL = 5


def vng_argv(order: BootOrder, *, vng: Path, qemu: Path, port: int, keys: Path, host_uname: str) -> list[str]:
    """The command that boots `order`, with ssh on 127.0.0.1:`port` and the folder `keys` shown to the guest.

    `host_uname` is the host's `uname -m`. Raises InfraError for a path that a shell could misread.
    """
    row = order.architecture
    netdev = f"user,id=ssh,restrict=on,hostfwd=tcp:127.0.0.1:{port}-{GUEST_ADDRESS}:22"
    options = f"-netdev {netdev} -device {row.net_device},netdev=ssh"
    if order.accel == "tcg":  # for some vng names none, and qemu's own default depends on its version
        options += f" -cpu {row.cpu}"
    if not row.overlays:  # the root is writable then, and what is written goes where qemu throws it away
        options += " -snapshot"
    argv = [
        os.fspath(vng),
        "--run", _safe(order.kernel.image),
        "--qemu", _safe(qemu),
        "--root-disk", _safe(order.image.disk),
        "--root-fstype", "ext4",  # the driver; the disk is ext2
        "--busybox", _safe(order.image.busybox),
        "--rodir", f"{KEYS_IN_GUEST}={_safe(keys)}",
        "--cpus", str(order.size.cpus),
        "--memory", f"{order.size.memory_mib}M",
        "--user", "root",
        "--force-9p",  # the search for virtiofsd costs 3 s per shared folder where only qemu's old one is there
        "--disable-monitor",
        "--verbose",
        "--append", f"loglevel={_LOGLEVEL}",
        *(f"--append={word}" for word in row.kernel_args),
        "--exec", "/usr/sbin/guest-start",  # --exec also sets panic=-1 and -no-reboot
        f"--qemu-opts={options}",
    ]  # fmt: skip
    if not row.overlays:
        argv.append("--rw")
    if row.uname != host_uname:  # vng refuses the name of its own architecture
        argv += ["--arch", row.vng]
    if order.accel == "tcg":  # vng takes KVM whenever the device opens, which does not mean that it works
        argv.append("--disable-kvm")
    if order.gdb:
        argv += ["--append", "nokaslr"]  # so that symbols are where vmlinux has them
        argv.append(f"--qemu-opts={_gdb_options(keys.with_name(GDB_SOCKET))}")
    return argv


def _gdb_options(path: Path) -> str:
    """A socket in a folder of the user's own instead of a port: whoever reaches it owns the guest, and ports race."""
    if len(os.fsencode(path)) > _SOCKET_PATH_MAX:
        raise InfraError(f"{path} is too long for a socket", hint="set RUNNER_CACHE to a folder with a shorter path")
    return f"-chardev socket,id=gdb,path={_safe(path)},server=on,wait=off -gdb chardev:gdb"


def _safe(path: PurePath) -> str:
    text = os.fspath(path)
    if not _SAFE.fullmatch(text):
        raise InfraError(
            f"{text!r} has characters that virtme-ng would hand to a shell",
            hint="set RUNNER_CACHE to a folder named with letters, digits and ._/=:+- only",
        )
    return text
