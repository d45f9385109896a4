# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Small kernels on the disk: images that are text, modules that modinfo and depmod can read."""

from __future__ import annotations

import struct
from pathlib import Path

CONFIG = """\
#
# Linux/x86 6.12.10 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT="gcc-14 (Debian 14.2.0-19) 14.2.0"
CONFIG_PAHOLE_VERSION=130
CONFIG_X86_64=y
CONFIG_MODULES=y
CONFIG_BPF_SYSCALL=y
CONFIG_BPF_JIT=y
CONFIG_DEBUG_INFO_BTF=y
CONFIG_DEBUG_INFO_BTF_MODULES=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_PCI=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_CONSOLE=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_INOTIFY_USER=y
CONFIG_BINFMT_ELF=y
CONFIG_BINFMT_SCRIPT=y
CONFIG_DEVTMPFS=y
CONFIG_PROC_FS=y
CONFIG_SYSFS=y
CONFIG_UNIX=y
CONFIG_FUTEX=y
CONFIG_MULTIUSER=y
CONFIG_TMPFS=y
CONFIG_INET=y
CONFIG_OVERLAY_FS=y
CONFIG_VIRTIO_BLK=m
CONFIG_EXT4_FS=y
CONFIG_VIRTIO_NET=y
CONFIG_NET_9P_VIRTIO=y
CONFIG_9P_FS=y
CONFIG_NF_CONNTRACK=m
CONFIG_NF_NAT=m
CONFIG_NET_SCH_INGRESS=m
CONFIG_NET_CLS_BPF=m
CONFIG_VETH=m
CONFIG_NF_TABLES=m
CONFIG_BPF_EVENTS=y
"""
RELEASE = "6.12.10-custom"
LISTS = ("modules.builtin", "modules.builtin.modinfo")
MODULES = {
    "drivers/block/virtio_blk": "",
    "net/netfilter/nf_conntrack": "nf_defrag_ipv4",
    "net/ipv4/netfilter/nf_defrag_ipv4": "",
    "net/unneeded": "",
}


def module(depends: str) -> bytes:
    """An ELF file with the one section that says what a module depends on."""
    info = f"license=GPL\0depends={depends}\0name=x\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, 64 + len(info) + len(names), 0, 64, 0, 0, 64, 3, 2
    )

    def section(name: int, kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 2 if kind == 1 else 0, 0, offset, size, 0, 0, 1, 0)

    sections = bytes(64) + section(1, 1, 64, len(info)) + section(10, 3, 64 + len(info), len(names))
    return header + info + names + sections


def installed(root: Path, release: str = RELEASE, config: str = CONFIG) -> Path:
    """A kernel as packages install it below `root`."""
    folder = root / "lib/modules" / release
    (root / "boot").mkdir(parents=True, exist_ok=True)
    (root / f"boot/vmlinuz-{release}").write_text(f"the image of {release}\n")
    (root / f"boot/config-{release}").write_text(config)
    for name, depends in MODULES.items():
        path = folder / f"kernel/{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(depends))
    for name in (*LISTS, "modules.order"):
        (folder / name).touch()
    return root


def built(tree: Path, *, suffix: str = ".o", config: str = CONFIG) -> Path:
    """A kernel as `make` leaves it in its folder."""
    for name, text in {
        "include/config/kernel.release": f"{RELEASE}\n",
        "arch/x86/boot/bzImage": "the image\n",
        ".config": config,
        "modules.order": "".join(f"{name}{suffix}\n" for name in MODULES),
        **dict.fromkeys(LISTS, ""),
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    for name, depends in MODULES.items():
        path = tree / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(depends))
    return tree
