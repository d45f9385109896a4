# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The vng command line, word for word, for each architecture."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

from runner.agent.surroundings import CONTAINER_SERIAL
from runner.errors import InfraError
from runner.guest.accel import assign
from runner.guest.command import vng_argv
from runner.guest.interface import Accel, BootOrder
from runner.model import BootFiles, GuestSize, Image, Kernel, Share, SharedFile
from runner.model.architecture import ARCHITECTURES, Architecture, architecture
from tests.samples import pin

DIGEST = "0" * 64
GOLDEN = Path(__file__).parents[1] / "data" / "vng"


def order(arch: str, accel: Accel = "tcg", cache: str = "/cache") -> BootOrder:
    root = PurePosixPath(cache) / "kernels" / "k"
    image = PurePosixPath(cache) / "images" / "i"
    files = PurePosixPath(cache) / "bootfiles" / "b"
    return BootOrder(
        architecture=architecture(arch),
        kernel=Kernel(
            pin=pin("6.12.1", arch, release="6.12.1"),
            sha256=DIGEST,
            root=root,
            image=root / f"boot/{architecture(arch).image}-6.12.1",
            config=root / "config",
        ),
        image=Image(arch=arch, sha256=DIGEST, disk=image / "disk.ext2", busybox=image / "busybox/busybox"),
        size=GuestSize(cpus=1, memory_mib=1024),
        accel=accel,
        console=Path("/run/console.log"),
        scratch=Path("/cache/scratch"),
        files=BootFiles(
            about=files / "vmlinuz-6.12.1",
            kernel=files / "kernel",
            initrd=files / "initrd",
            modules=files / "modules.ext2",
        ),
    )


def argv(order: BootOrder, host_uname: str = "x86_64") -> list[str]:
    qemu = Path("/cache/scratch") / order.architecture.qemu
    return vng_argv(
        order, vng=Path("/venv/bin/vng"), qemu=qemu, port=40001, keys=Path("/cache/keys"), host_uname=host_uname
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_command_line_is_the_golden_one(arch: str) -> None:
    assert argv(order(arch)) == (GOLDEN / f"{arch}-on-x86_64.txt").read_text().splitlines()


@pytest.mark.parametrize("arch", ["x86_64", "s390x"])
def test_a_folder_of_the_host_is_shown_read_only(arch: str) -> None:
    shown = replace(order(arch), shared={"x": SharedFile(source="/data/x")})
    (words,) = (word for word in argv(shown) if word.startswith("--qemu-opts="))
    options = shlex.split(words.partition("=")[2])
    at = options.index("-fsdev")
    assert "readonly=on" in options[at + 1].split(",")
    assert "path=/cache/shared" in options[at + 1].split(",")
    bus = "ccw" if arch == "s390x" else "pci"
    assert options[at + 2 : at + 4] == ["-device", f"virtio-9p-{bus},fsdev=shared,mount_tag=shared"]
    folder = argv(replace(shown, files=None, root="9p"))
    assert folder[folder.index("/run/shared=/cache/shared") - 1] == "--rodir"


def test_nothing_assumes_that_the_host_is_x86_64() -> None:
    native, foreign = argv(order("arm64", "kvm"), "aarch64"), argv(order("x86_64"), "aarch64")
    assert "--arch" not in native
    assert "--disable-kvm" not in native
    assert foreign[foreign.index("--arch") + 1] == "amd64"
    assert "--disable-kvm" in foreign
    assert not any("-cpu " in word for word in native), "under KVM vng takes the host's own"


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("host", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_kvm_is_for_the_hosts_own_architecture_and_the_others_are_named(arch: str, host: Architecture) -> None:
    accel = assign("kvm", host.uname)[arch]
    words = argv(order(arch, accel), host.uname)
    assert ("--disable-kvm" in words) == (arch != host.name)
    assert ("--arch" in words) == (arch != host.name)


def test_the_guest_is_cut_off_from_every_network() -> None:
    (options,) = [word for word in argv(order("x86_64")) if word.startswith("--qemu-opts=")]
    assert "restrict=on" in options
    assert "hostfwd=tcp:127.0.0.1:40001-" in options


def test_a_network_is_opened_only_when_it_is_asked_for() -> None:
    asked = replace(order("x86_64"), size=GuestSize(network=True))
    (options,) = [word for word in argv(asked) if word.startswith("--qemu-opts=")]
    assert "restrict=off" in options
    assert "hostfwd=tcp:127.0.0.1:40001-" in options
    assert "network" not in GuestSize().model_dump()  # the keys of all other guests stay as they were


@pytest.mark.parametrize("cache", ["/ca che", "/$(id)", "/a;b", "/a`id`", "/a'b", '/a"b', "/a,b", "/a\nb", "/ä"])
def test_nothing_that_a_shell_or_qemu_could_misread_gets_through(cache: str) -> None:
    with pytest.raises(InfraError, match="shell"):
        argv(order("x86_64", cache=cache))


@pytest.mark.parametrize("share", get_args(Share))
def test_without_a_disk_the_root_is_a_folder_of_the_guests_own(share: Share) -> None:
    words = argv(replace(order("riscv64"), root=share, files=None, cmdline="dyndbg=file,+p;$(id)"))
    assert ("--force-9p" in words) == (share == "9p")
    assert ("--disable-microvm" in words) == (share == "virtiofs"), "vng would take another machine than for 9p"
    assert words[words.index("--root") + 1] == "/cache/root"
    assert not {"--root-disk", "--rw"}.intersection(words), "what the guest writes must not go through to the host"
    assert "-snapshot" not in " ".join(words)
    assert words[words.index("--exec") + 1].startswith("mount -t tmpfs"), "its home is of whoever started the guest"
    assert "--append='dyndbg=file,+p;$(id)'" in words


def qemu_options(order: BootOrder) -> list[str]:
    """As the shell reads them."""
    (options,) = [word.removeprefix("--qemu-opts=") for word in argv(order) if word.startswith("--qemu-opts=")]
    return shlex.split(options)


def test_without_overlays_qemu_throws_away_what_is_written() -> None:
    written = replace(order("x86_64"), overlays=False)
    assert "--rw" in argv(written)
    assert "-snapshot" in qemu_options(written)
    assert "--rw" not in argv(order("x86_64"))
    assert "-snapshot" not in qemu_options(order("x86_64"))


def test_a_container_image_is_a_disk_that_the_agent_finds_by_its_serial() -> None:
    plain = order("arm64")
    image = plain.image.model_copy(update={"container": PurePosixPath("/cache/containers/c/disk.ext2")})
    options = qemu_options(replace(plain, image=image))
    drive = options.index("if=none,id=container,format=raw,readonly=on,file=/cache/containers/c/disk.ext2")
    assert options[drive + 2] == f"virtio-blk-pci,drive=container,serial={CONTAINER_SERIAL}"
    assert "container" not in " ".join(qemu_options(plain))


def test_words_for_the_kernel_come_after_ours_and_as_they_are() -> None:
    options = qemu_options(replace(order("x86_64"), cmdline="lockdown=integrity  dyndbg=file,+p;$(id) loglevel=7"))
    line = options[options.index("-append") + 1]
    assert line.endswith(" no_timer_check lockdown=integrity dyndbg=file,+p;$(id) loglevel=7")


def test_a_debugger_comes_in_by_a_socket_of_the_users_own() -> None:
    options = qemu_options(replace(order("x86_64"), gdb=True))
    assert options[options.index("-gdb") - 1] == "socket,id=gdb,path=/cache/gdb,server=on,wait=off"
    assert options[options.index("-append") + 1].endswith(" nokaslr")
    assert not any("gdb" in word or "nokaslr" in word for word in argv(order("x86_64")))


def test_a_path_that_no_socket_can_have_is_said_before_qemu_says_it() -> None:
    with pytest.raises(InfraError, match="too long for a socket"):
        vng_argv(
            replace(order("x86_64"), gdb=True),
            vng=Path("/venv/bin/vng"),
            qemu=Path("/cache/qemu-system-x86_64"),
            port=1,
            keys=Path("/") / ("k" * 110) / "keys",
            host_uname="x86_64",
        )
