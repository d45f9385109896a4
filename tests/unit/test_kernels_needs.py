# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel says of itself before it is booted."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath

import pytest

from runner.kernels.needs import Abilities, build_of, needs_of, read_build
from runner.model import Build, Kernel, Pin
from runner.model.architecture import architecture
from runner.probes.kind import Need
from runner.probes.kinds import KINDS
from tests.unit.kernel_samples import CONFIG, RELEASE, installed

NEEDS = needs_of(architecture("x86_64"))
OF_KINDS = {need for kind in KINDS.values() for need in kind.needs}
MODULES = f"lib/modules/{RELEASE}"


def without(option: str, config: str = CONFIG) -> str:
    return "".join(f"{line}\n" for line in config.splitlines() if not line.startswith(f"CONFIG_{option}="))


# as `vng --build` makes it
VNG = without("EXT4_FS", without("DEBUG_INFO_BTF", CONFIG.replace("=m", "=y")))


def kernel(folder: Path, config: str = CONFIG, arch: str = "x86_64") -> Kernel:
    root = PurePosixPath(installed(folder, config=config))
    return Kernel(
        pin=Pin(source="path:/x", arch=arch, version="6.12.10", release=RELEASE),
        sha256="0" * 64,
        root=root,
        image=root / f"boot/vmlinuz-{RELEASE}",
        config=root / f"boot/config-{RELEASE}",
    )


def abilities(folder: Path, config: str = CONFIG, arch: str = "x86_64") -> Abilities:
    return Abilities.of(kernel(folder, config, arch))


def test_a_kernel_with_everything(tmp_path: Path) -> None:
    one = kernel(tmp_path)
    build = read_build(Path(one.config), "x86_64")
    assert build == Build(compiler="gcc-14 (Debian 14.2.0-19) 14.2.0", pahole="1.30")
    able = Abilities.of(one)
    assert (able.root, able.overlays, able.cannot_boot(), able.cannot_answer(KINDS)) == ("disk", True, "", {})


def test_a_container_image_needs_a_disk(tmp_path: Path) -> None:
    assert abilities(tmp_path).cannot_mount() == ""
    assert "it is without CONFIG_EXT4_FS" in abilities(tmp_path / "other", without("EXT4_FS")).cannot_mount()


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.option)
def test_each_option_is_missed_by_name_and_only_a_vital_one_is_in_the_way(tmp_path: Path, need: Need) -> None:
    one = kernel(tmp_path, without(need.option).replace("=m", "=y"))
    able = Abilities.of(one)
    missed = f"CONFIG_{need.option} ({need.why})"
    assert build_of(one).lacks == (need.option,)
    assert (missed in able.cannot_boot()) == (need.vital and need not in OF_KINDS)
    assert (missed in str(able.cannot_answer(KINDS).values())) == (need.vital and need in OF_KINDS)


def test_virtme_ngs_own_options_boot_without_a_disk_and_what_cannot_be_asked_says_why(tmp_path: Path) -> None:
    able = abilities(tmp_path / "plain", VNG)
    assert (able.root, able.cannot_boot()) == ("9p", "")
    why = "the kernel is without CONFIG_DEBUG_INFO_BTF (kfuncs are found by the kernel's BTF)"
    assert able.cannot_answer(["claims", "census"]) == {"claims": why, "census": why}
    assert abilities(tmp_path / "btf", f"{VNG}CONFIG_DEBUG_INFO_BTF=y\n").cannot_answer(["claims", "census"]) == {}


def test_a_module_that_is_not_there_is_as_good_as_an_option_that_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    one = kernel(tmp_path / "k", without("9P_FS") + "CONFIG_9P_FS=m\n")
    assert Abilities.of(one).root == "disk"
    for path in tmp_path.rglob("virtio_blk.ko"):
        path.unlink()
    able = Abilities.of(one)
    assert able.root == "9p", "the disk is one way of several"
    assert "without its module 9p (the host's folders" in able.cannot_boot()


def test_without_9p_the_hosts_folders_come_through_virtiofs(tmp_path: Path) -> None:
    distribution = abilities(tmp_path / "disk", without("9P_FS") + "CONFIG_VIRTIO_FS=y\n")
    assert (distribution.root, distribution.share, distribution.cannot_boot()) == ("disk", "virtiofs", "")
    folder = abilities(tmp_path / "folder", without("NET_9P_VIRTIO", VNG) + "CONFIG_VIRTIO_FS=y\n")
    assert (folder.root, folder.share, folder.cannot_boot()) == ("virtiofs", "virtiofs", "")
    module = abilities(tmp_path / "module", without("9P_FS") + "CONFIG_VIRTIO_FS=m\n")
    assert (module.root, module.share, module.cannot_boot()) == ("disk", "9p", ""), "a disk needs neither"
    neither = abilities(tmp_path / "neither", without("9P_FS", VNG) + "CONFIG_VIRTIO_FS=m\n")
    assert neither.share == "9p", "virtiofs.ko is not there"
    assert "CONFIG_9P_FS (the host's folders come through it, or through VIRTIO_FS)" in neither.cannot_boot()
    assert abilities(tmp_path / "both", f"{CONFIG}CONFIG_VIRTIO_FS=y\n").share == "9p"


def test_only_what_is_loaded_at_the_start_needs_an_initramfs(tmp_path: Path) -> None:
    able = abilities(tmp_path, without("BLK_DEV_INITRD"))
    assert (able.root, able.cannot_boot()) == ("9p", ""), "a disk needs one, a folder does not"
    (tmp_path / MODULES / "kernel/9p.ko").write_bytes(b"")
    modular = without("BLK_DEV_INITRD").replace("9P_FS=y", "9P_FS=m")
    assert "BLK_DEV_INITRD (what the guest starts from" in abilities(tmp_path, modular).cannot_boot()


def test_without_overlays_the_guest_writes_to_its_disk(tmp_path: Path) -> None:
    able = abilities(tmp_path, without("OVERLAY_FS"))
    assert (able.overlays, able.cannot_boot()) == (False, "")


@pytest.mark.parametrize("option", ["CMDLINE_OVERRIDE", "CMDLINE_FORCE", "CPU_BIG_ENDIAN"])
def test_an_option_that_is_set_can_be_in_the_way_as_well(tmp_path: Path, option: str) -> None:
    assert f"CONFIG_{option} is set" in abilities(tmp_path, f"{CONFIG}CONFIG_{option}=y\n").cannot_boot()


def test_a_big_endian_guest_is_for_a_big_endian_kernel(tmp_path: Path) -> None:
    config = f"{CONFIG}CONFIG_CPU_BIG_ENDIAN=y\n".replace("SERIAL_8250", "SCLP").replace("CONFIG_PCI=y\n", "")
    assert abilities(tmp_path, config, "s390x").cannot_boot() == "", "and its devices need no PCI"


def test_modules_that_nobody_signed_do_not_start_a_kernel_that_demands_it(tmp_path: Path) -> None:
    one = kernel(tmp_path, f"{CONFIG}CONFIG_MODULE_SIG_FORCE=y\n")
    why = Abilities.of(one).cannot_boot()
    assert why.endswith("modules are not signed and CONFIG_MODULE_SIG_FORCE demands it: virtio_blk")
    for path in tmp_path.rglob("virtio_blk.ko"):
        path.write_bytes(path.read_bytes() + b"PKCS#7~Module signature appended~\n")
    assert Abilities.of(one).cannot_boot() == ""


def at(offset: int, content: bytes) -> bytes:
    return bytes(offset) + content + bytes(64)


@pytest.mark.parametrize(
    ("image", "arch", "machine"),
    [
        (at(0x202, b"HdrS" + bytes(0x30) + b"\1"), "x86_64", ""),
        (at(0x202, b"HdrS"), "x86_64", "x86 with 32 bits"),
        (at(0x38, b"ARM\x64"), "x86_64", "arm64"),
        (at(0x18, b"\1" + bytes(0x1F) + b"ARM\x64"), "arm64", "big-endian arm64"),
        (at(0x38, b"RSC\x05"), "riscv64", ""),
        (at(0x10008, b"S390EP"), "arm64", "s390x"),
        (b"\x7fELF\2\1" + bytes(12) + struct.pack("<H", 21), "ppc64le", ""),
        (b"\x7fELF\2\2" + bytes(12) + struct.pack(">H", 21), "ppc64le", "big-endian ppc64"),
        (b"\x7fELF\2\1" + bytes(12) + struct.pack("<H", 40), "arm64", "ELF machine 40"),
        (b"\x1f\x8b\x08 compressed", "arm64", ""),
        (b"", "x86_64", ""),
    ],
)
def test_an_image_of_another_machine_is_not_booted(tmp_path: Path, image: bytes, arch: str, machine: str) -> None:
    consoles = CONFIG + "CONFIG_SERIAL_AMBA_PL011_CONSOLE=y\nCONFIG_HVC_CONSOLE=y\n"
    one = kernel(tmp_path, consoles, arch)
    Path(one.image).write_bytes(image)
    why = f"the kernel cannot boot: its image is for {machine}, not for {arch}" if machine else ""
    assert Abilities.of(one).cannot_boot() == why


def test_without_modules_no_btf_of_modules_is_missed(tmp_path: Path) -> None:
    config = CONFIG.replace("CONFIG_MODULES=y", "# CONFIG_MODULES is not set").replace("=m", "=y")
    assert build_of(kernel(tmp_path, without("DEBUG_INFO_BTF_MODULES", config))).lacks == ()


def test_what_is_not_known_is_not_missing_and_the_files_say_what_there_is(tmp_path: Path) -> None:
    one = kernel(tmp_path)
    Path(one.config).unlink()
    assert read_build(Path(one.config), "x86_64") == Build()
    able = Abilities.of(one)
    assert (able.root, able.cannot_boot(), able.cannot_answer(KINDS)) == ("9p", "", {})
    (tmp_path / MODULES / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    assert Abilities.of(one).root == "disk", "virtio_blk.ko is there as well"


@pytest.mark.parametrize(
    ("line", "compiler", "pahole"),
    [
        ('CONFIG_CC_VERSION_TEXT="a\x1b[2Jb"', "a?[2Jb", ""),
        ("CONFIG_PAHOLE_VERSION=0", "", ""),
        ("CONFIG_PAHOLE_VERSION=124", "", "1.24"),
        ("CONFIG_PAHOLE_VERSION=x", "", ""),
        (f'CONFIG_CC_VERSION_TEXT="{"x" * 5000}"', "x" * 200, ""),
    ],
)
def test_whoever_built_it_wrote_it(tmp_path: Path, line: str, compiler: str, pahole: str) -> None:
    path = tmp_path / "config"
    path.write_text(line + "\n")
    found = read_build(path, "x86_64")
    assert (found.compiler, found.pahole) == (compiler, pahole)
