# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What guests and probes need of a kernel, and what its .config and files say before it is booted.

What is not known is not missing: without a .config only the files speak.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runner.kernels.config import image_head, machine_of, read_config
from runner.model import Build, Kernel, Root, Share
from runner.model.architecture import Architecture, architecture
from runner.probes.kind import Need
from runner.probes.kinds import KINDS

# What the guest itself stands on; what probes need besides is said by their kinds.
_GUEST = (
    Need("VIRTIO_PCI", "the guest's devices", "virtio_pci", vital=True),
    Need("VIRTIO_NET", "the connection to the guest", "virtio_net", vital=True),
    Need("BINFMT_ELF", "the guest's programs", vital=True),
    Need("BINFMT_SCRIPT", "what starts the guest's programs is a script", vital=True),
    Need("DEVTMPFS", "the guest's devices", vital=True),
    Need("PROC_FS", "virtme-ng reads the command line and the mounts there", vital=True),
    Need("SYSFS", "virtme-ng finds the guest's devices there", vital=True),
    Need("UNIX", "sockets of the guest's programs", vital=True),
    Need("FUTEX", "the guest's programs", vital=True),
    Need("MULTIUSER", "the ssh server's user", vital=True),
    Need("TMPFS", "what the guest writes", vital=True),
    Need("INET", "the connection to the guest", vital=True),
)
_FOLDER = (  # of a guest whose root is a folder of the host
    Need("VIRTIO_CONSOLE", "virtme-ng starts the guest's programs through it", "virtio_console"),
    Need("INOTIFY_USER", "virtme-ng waits for the guest's devices with it"),
)
_PCI = Need("PCI", "the guest's devices", vital=True)
_CONSOLES = {
    "ttyS0": "SERIAL_8250_CONSOLE",
    "ttyAMA0": "SERIAL_AMBA_PL011_CONSOLE",
    "ttysclp0": "SCLP_CONSOLE",
    "hvc0": "HVC_CONSOLE",
}
_HOSTS = "the host's folders come through it, or through VIRTIO_FS"
_SHARES: Mapping[Share, tuple[Need, ...]] = {  # the first that a kernel has
    "9p": (Need("NET_9P_VIRTIO", _HOSTS, "9pnet_virtio"), Need("9P_FS", _HOSTS, "9p")),
    "virtiofs": (Need("VIRTIO_FS", "the host's folders come through it", "virtiofs"),),
}
_INITRD = Need("BLK_DEV_INITRD", "what the guest starts from are modules")
_DISK = (
    Need("VIRTIO_BLK", "the guest's root as a disk", "virtio_blk"),
    Need("EXT4_FS", "the guest's root as a disk", "ext4"),
)
_OVERLAY = Need("OVERLAY_FS", "folders that the guest writes to", "overlay")
# With these a kernel does not do what it is told, or does not take what it is given.
_FORCED = ("CMDLINE_OVERRIDE", "CMDLINE_FORCE")
SIGNED = b"~Module signature appended~\n"  # ends a module: kernel/module/signing.c

_OF_KINDS = tuple(need for kind in KINDS.values() for need in kind.needs)
# What guests load before their root is mounted, in this order, as far as it is there. ext4 asks for crc32c by the names
# of algorithms at run time, which no dependency shows.
FIRST = (
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net"),
    *("crc32c_generic", "crc32c_cryptoapi", "crc32c_intel", "ext4", "overlay"),
)
# The modules that are taken from a kernel, with their dependencies; what a kernel lacks is skipped.
MODULES = frozenset(FIRST).union(
    ("virtio_console", "virtio_rng", "virtiofs", "9p", "9pnet_virtio", "libcrc32c"),
    *(kind.unpacked for kind in KINDS.values()),
)
_ABOUT = ("CC_VERSION_TEXT", "PAHOLE_VERSION")


def needs_of(row: Architecture) -> tuple[Need, ...]:
    """What guests and probes need of a kernel for this architecture."""
    every = (*_guest(row), *_FOLDER, *_SHARES["9p"], *_DISK, _OVERLAY, _INITRD, *_OF_KINDS)
    return tuple({need.option: need for need in every}.values())


def _guest(row: Architecture) -> tuple[Need, ...]:
    """What no guest of this architecture is without."""
    console = Need(_CONSOLES[row.console], "the guest's console", vital=True)
    if row.net_device.startswith("virtio-net-pci"):
        return (_PCI, *_GUEST, console)
    return (*(need for need in _GUEST if need.option != "VIRTIO_PCI"), console)


def read_build(config: Path, arch: str) -> Build:
    """How a kernel was built, and which options it lacks. Empty when the .config cannot be read."""
    needs = needs_of(architecture(arch))
    found = read_config(config, (*_ABOUT, *_options(needs)))
    if not found:
        return Build()
    return Build(
        compiler=_compiler(found["CC_VERSION_TEXT"]),
        pahole=_pahole(found["PAHOLE_VERSION"]),
        lacks=tuple(need.option for need in needs if _unset(found, need)),
    )


def build_of(kernel: Kernel) -> Build:
    """What is known of a kernel before it is booted."""
    known = {"version": kernel.pin.version, "release": kernel.pin.release, "sha256": kernel.sha256}
    build = read_build(Path(kernel.config), kernel.pin.arch)
    return build.model_copy(update=known | {"arch": kernel.pin.arch})


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a kernel can do, as far as it tells before it is booted."""

    row: Architecture
    machine: str  # whose code its image is; empty: not known
    options: Mapping[str, str]  # of its .config; empty: not known
    modules: Mapping[str, Path]  # by name
    builtin: frozenset[str]  # names of what would be modules

    @classmethod
    def of(cls, kernel: Kernel) -> Self:
        row = architecture(kernel.pin.arch)
        needs = (*needs_of(row), *_SHARES["virtiofs"])
        names = (*_options(needs), *_FORCED, "CPU_BIG_ENDIAN", "MODULE_SIG_FORCE")
        folder = Path(kernel.root) / "lib/modules" / kernel.pin.release
        listed = folder / "modules.builtin"
        return cls(
            row=row,
            machine=machine_of(image_head(Path(kernel.image))),
            options=read_config(Path(kernel.config), names),
            modules={_name(path): path for path in folder.rglob("*.ko")},
            builtin=frozenset(map(_name, map(Path, listed.read_text().split()))) if listed.is_file() else frozenset(),
        )

    @property
    def share(self) -> Share:
        """How its guests have folders of their host. 9p where it has neither way, or nothing is known."""
        return next((way for way, needs in _SHARES.items() if all(map(self._has, needs))), "9p")

    @property
    def shares(self) -> bool:
        """Can its guests be shown a folder of their host?"""
        return self.root != "disk" or all(map(self._has, _SHARES["9p"]))

    @property
    def root(self) -> Root:
        """What its guests have as their root."""
        disk = all(map(self._has, _DISK)) and not self.missing(_INITRD)
        return "disk" if disk else self.share

    @property
    def overlays(self) -> bool:
        """Can folders that are not to be changed be written to?"""
        return not self.missing(_OVERLAY)

    def missing(self, need: Need) -> str:
        """Which part of it is not there, for people; empty when all is, or nothing is known."""
        if self.options and _unset(self.options, need):
            return f"CONFIG_{need.option} ({need.why})"
        gone = self.options.get(need.option) == "m" and need.module and need.module not in self.modules
        return f"its module {need.module} ({need.why})" if gone else ""

    def _has(self, need: Need) -> bool:
        if self.options:
            return not self.missing(need)
        return need.module in self.builtin or need.module in self.modules

    def cannot_boot(self) -> str:
        """Why it makes no sense to boot it, for people; empty when it does."""
        if self.machine not in ("", self.row.name):
            return f"the kernel cannot boot: its image is for {self.machine}, not for {self.row.name}"
        if self.row.byte_order == "little" and self.options.get("CPU_BIG_ENDIAN") == "y":
            return f"the kernel cannot boot: CONFIG_CPU_BIG_ENDIAN is set, and guests for {self.row.name} are not"
        for option in _FORCED:
            if self.options.get(option) == "y":
                return f"the kernel cannot boot: CONFIG_{option} is set: it takes no command line from virtme-ng"
        ways = _DISK if self.root == "disk" else (*_FOLDER, *_SHARES[self.share])
        first = (*_guest(self.row), *ways)
        if lacking := list(filter(None, map(self.missing, first))):
            return f"the kernel cannot boot: it is without {', '.join(lacking)}"
        modular = [need.module for need in first if self.options.get(need.option) != "y"]
        loaded = [self.modules[name] for name in modular if name in self.modules]
        if loaded and (without := self.missing(_INITRD)):
            return f"the kernel cannot boot: it is without {without}"
        if self.options.get("MODULE_SIG_FORCE") == "y" and not all(map(_signed, loaded)):
            names = ", ".join(path.stem for path in loaded if not _signed(path))
            return f"the kernel cannot boot: modules are not signed and CONFIG_MODULE_SIG_FORCE demands it: {names}"
        return ""

    def cannot_mount(self) -> str:
        """Why its guests cannot have a container image on a disk, for people; empty when they can."""
        lacking = list(filter(None, map(self.missing, _DISK)))
        why = f": it is without {', '.join(lacking)}" if lacking else ""
        return "" if self.root == "disk" else f"the kernel cannot have a container image on a disk{why}"

    def cannot_answer(self, kinds: Iterable[str]) -> dict[str, str]:
        """The kinds of probe that it makes no sense to ask, each with the reason, for people."""
        found = {}
        for kind in sorted(kinds):
            if lacking := list(filter(None, (self.missing(need) for need in KINDS[kind].needs if need.vital))):
                found[kind] = f"the kernel is without {', '.join(lacking)}"
        return found


def _options(needs: Iterable[Need]) -> tuple[str, ...]:
    return tuple(name for need in needs for name in (need.option, need.where) if name)


def _unset(found: Mapping[str, str], need: Need) -> bool:
    return found[need.option] not in {"y", "m"} and (not need.where or found[need.where] == "y")


def _name(path: Path) -> str:
    return path.stem.replace("-", "_")


def _signed(path: Path) -> bool:
    return path.read_bytes().endswith(SIGNED)


def _compiler(text: str) -> str:
    """`gcc-12 (Debian 12.2.0-14) 12.2.0`: whoever built the kernel wrote it."""
    return "" if text == "n" else re.sub(r"[^ -~]", "?", text.strip('"'))[:200]


def _pahole(text: str) -> str:
    """130 is 1.30; 0 is none."""
    return f"{int(text) // 100}.{int(text) % 100:02}" if re.fullmatch(r"[1-9]\d{2,3}", text, re.ASCII) else ""
