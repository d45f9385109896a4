"""What guests and probes need of a kernel, and what its .config and files say before it is booted.

What is not known is not missing: without a .config, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.kernels.config import read_config
from runner.model import Build, Kernel

# The modules that are taken from a kernel, with their dependencies; what a kernel lacks is skipped.
_GUEST = (
    # what the guest itself stands on: its disk, its network, the host's folders, its console
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
)

_PROBES = (
    # the modules whose kfuncs TC and XDP programs may call
    "nf_conntrack",
    "nf_nat",
    "nf_flow_table",
    "nf_flow_table_inet",
    "xfrm_interface",
    "fou",
    "fou6",
    # traffic, and a look at what it did
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_ct",
    "nft_nat",
    "nft_chain_nat",
    "xfrm_user",
    "veth",
    "dummy",
    "ipip",
    "sit",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
)

MODULES = _GUEST + _PROBES


@dataclass(frozen=True, slots=True)
class Need:
    """An option that the probes or the guest need. Without a `vital` one there is nothing to boot for."""

    option: str
    why: str
    module: str = ""  # what it is where it is built as a module
    vital: bool = False
    where: str = ""  # needed only where this option is set


NEEDS = (
    Need("BPF_SYSCALL", "every question is a bpf(2) call", vital=True),
    Need("DEBUG_INFO_BTF", "kfuncs are found by the kernel's BTF", vital=True),
    Need("BLK_DEV_INITRD", "guests start from an initramfs", vital=True),
    Need("VIRTIO_BLK", "the guest's disk", "virtio_blk", vital=True),
    Need("EXT4_FS", "the guest's root file system", "ext4", vital=True),
    Need("VIRTIO_NET", "the connection to the guest", "virtio_net", vital=True),
    Need("NET_9P_VIRTIO", "the keys of the guest come through it", "9pnet_virtio", vital=True),
    Need("9P_FS", "the keys of the guest come through it", "9p", vital=True),
    # without these some kfuncs are not there or cannot be called, and the kernel says so itself
    Need("BPF_JIT", "calls of kfuncs"),
    Need("DEBUG_INFO_BTF_MODULES", "kfuncs of modules", where="MODULES"),
    Need("BPF_EVENTS", "programs of the tracing types"),
    Need("NF_CONNTRACK", "the conntrack kfuncs"),
    Need("NF_NAT", "bpf_ct_set_nat_info"),
    Need("NET_SCH_INGRESS", "TC programs on a device"),
    Need("NET_CLS_BPF", "TC programs on a device"),
    Need("VETH", "traffic"),
    Need("NF_TABLES", "traffic that the kernel tracks"),
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


def cannot_answer(kernel: Kernel, build: Build) -> str:
    """Why it makes no sense to boot this kernel, for people; empty when it does."""
    vital = [need for need in NEEDS if need.vital]
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
