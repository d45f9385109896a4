"""What guests and probes need of a kernel, and what its .config and files say before it is booted.

What is not known is not missing: without a .config, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.kernels.config import read_config
from runner.model import Build, Kernel
from runner.probes.kind import Need
from runner.probes.kinds import KINDS

# What the guest itself stands on; what probes need besides is said by their kinds.
_GUEST = (
    Need("BLK_DEV_INITRD", "guests start from an initramfs", vital=True),
    Need("VIRTIO_BLK", "the guest's disk", "virtio_blk", vital=True),
    Need("EXT4_FS", "the guest's root file system", "ext4", vital=True),
    Need("VIRTIO_NET", "the connection to the guest", "virtio_net", vital=True),
    Need("NET_9P_VIRTIO", "the keys of the guest come through it", "9pnet_virtio", vital=True),
    Need("9P_FS", "the keys of the guest come through it", "9p", vital=True),
)
NEEDS = tuple({need.option: need for need in (*_GUEST, *(it for kind in KINDS.values() for it in kind.needs))}.values())
# The modules that are taken from a kernel, with their dependencies; what a kernel lacks is skipped.
MODULES = frozenset(
    {
        # its disk, its network, the host's folders, its console
        "virtio_pci",
        "virtio_mmio",
        "virtio_blk",
        "virtio_net",
        "virtio_console",
        "virtio_rng",
        "virtiofs",
        "9p",
        "9pnet_virtio",
        "overlay",
        "ext4",
        # ext4 asks for them by the names of algorithms at run time, which no dependency shows
        "crc32c_generic",
        "crc32c_cryptoapi",
        "crc32c_intel",
        "libcrc32c",
    }.union(*(kind.unpacked for kind in KINDS.values()))
)
_ABOUT = ("CC_VERSION_TEXT", "PAHOLE_VERSION")
_OPTIONS = (*_ABOUT, *(need.option for need in NEEDS), *(need.where for need in NEEDS if need.where))


def read_build(config: Path) -> Build:
    """How a kernel was built, and which of `NEEDS` it lacks. Empty when the .config cannot be read."""
    found = read_config(config, _OPTIONS)
    if not found:
        return Build()
    return Build(
        compiler=_compiler(found["CC_VERSION_TEXT"]),
        pahole=_pahole(found["PAHOLE_VERSION"]),
        lacks=tuple(need.option for need in NEEDS if _lacks(found, need)),
    )


def build_of(kernel: Kernel) -> Build:
    """What is known of a kernel before it is booted."""
    known = {"version": kernel.pin.version, "release": kernel.pin.release, "sha256": kernel.sha256}
    return read_build(Path(kernel.config)).model_copy(update=known | {"arch": kernel.pin.arch})


def cannot_answer(kernel: Kernel, build: Build, kinds: Iterable[str]) -> str:
    """Why it makes no sense to boot this kernel for probes of these kinds, for people; empty when it does."""
    needs = (*_GUEST, *(need for kind in sorted(kinds) for need in KINDS[kind].needs))
    vital = {need.option: need for need in needs if need.vital}.values()
    lacking = [f"CONFIG_{need.option} ({need.why})" for need in vital if need.option in build.lacks]
    if lacking:
        return f"the kernel cannot answer: it was built without {', '.join(lacking)}"
    modular = read_config(Path(kernel.config), [need.option for need in vital])
    folder = Path(kernel.root) / "lib/modules" / kernel.pin.release
    there = {path.stem.replace("-", "_") for path in folder.rglob("*.ko")}
    gone = [need for need in vital if modular.get(need.option) == "m" and need.module not in there]
    if gone:
        return f"the kernel cannot answer: without its module {', '.join(f'{one.module} ({one.why})' for one in gone)}"
    return ""


def _lacks(found: Mapping[str, str], need: Need) -> bool:
    return found[need.option] not in {"y", "m"} and (not need.where or found[need.where] == "y")


def _compiler(text: str) -> str:
    """`gcc-12 (Debian 12.2.0-14) 12.2.0`: whoever built the kernel wrote it."""
    return "" if text == "n" else re.sub(r"[^ -~]", "?", text.strip('"'))[:200]


def _pahole(text: str) -> str:
    """130 is 1.30; 0 is none."""
    return f"{int(text) // 100}.{int(text) % 100:02}" if re.fullmatch(r"[1-9]\d{2,3}", text, re.ASCII) else ""
