# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What guests start from, made of a kernel that lies in a folder."""

from __future__ import annotations

import gzip
import json
import os
import struct
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath

import pytest
from virtme.commands.run import get_kernel_version

from runner import cli
from runner.guest.snapshots import SnapshotFacts, Snapshots
from runner.images import container
from runner.images.bootfiles import boot_files, ensure_boot_files
from runner.model import BootFiles, Image, Kernel
from runner.model.deadline import Deadline
from runner.process import run
from tests.samples import pin

RELEASE = "6.12.1"
SIGNATURE = b"0$signature" + struct.pack(">8xI", 11) + b"~Module signature appended~\n"
DEPENDENCIES = "ext4.ko: jbd2.ko crc16.ko\njbd2.ko:\ncrc16.ko:\nvirtio_blk.ko:\nnf_nat.ko:\n"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    modules = tmp_path / "kernel/lib/modules" / RELEASE
    modules.mkdir(parents=True)
    for name in ("ext4", "jbd2", "crc16", "virtio_blk", "nf_nat"):
        (modules / f"{name}.ko").write_bytes(f"code of {name}".encode() + SIGNATURE)
    (modules / "modules.dep").write_text(DEPENDENCIES)
    (tmp_path / "kernel/image").write_bytes(b"MZ")
    (tmp_path / "kernel/config").write_text("CONFIG_MODULE_SIG=y\n")
    root = PurePosixPath(tmp_path / "kernel")
    return Kernel(
        pin=pin(RELEASE, release=RELEASE), sha256="0" * 64, root=root, image=root / "image", config=root / "config"
    )


def made(kernel: Kernel, tmp_path: Path, cmdline: str = "") -> BootFiles:
    (tmp_path / "busybox").write_bytes(b"busybox")
    here = PurePosixPath(tmp_path)
    image = Image(arch="x86_64", sha256="1" * 64, disk=here / "disk", busybox=here / "busybox")
    return ensure_boot_files(kernel, image, tmp_path / "cache", cmdline=cmdline, deadline=Deadline.after(60, "x"))


def in_initrd(files: BootFiles, name: str) -> str:
    """A text file in it. In the archive the name follows a checksum, which is 0."""
    _, content = Path(files.initrd).read_bytes().split(f"00000000{name}\0".encode(), 1)
    return content.lstrip(b"\0").partition(b"\0")[0].partition(b"070701")[0].decode()


def on_disk(files: BootFiles, name: str) -> bytes:
    return run(["debugfs", "-R", f"cat {name}", files.modules], deadline=Deadline.after(60, "x")).stdout.encode()


def test_what_the_root_needs_is_in_the_initramfs_with_what_it_depends_on(kernel: Kernel, tmp_path: Path) -> None:
    files = made(kernel, tmp_path)
    assert in_initrd(files, "modules") == "virtio_blk ext4\n"
    listed = in_initrd(files, f"lib/modules/{RELEASE}/modules.dep").splitlines()
    assert listed == ["crc16.ko: ", "ext4.ko: jbd2.ko crc16.ko", "jbd2.ko: ", "virtio_blk.ko: "]
    content = Path(files.initrd).read_bytes()
    assert all(f"code of {line.partition('.')[0]}".encode() in content for line in listed)
    assert b"nf_nat" not in content


def test_the_disk_has_all_modules_without_their_signatures(kernel: Kernel, tmp_path: Path) -> None:
    files = made(kernel, tmp_path)
    assert on_disk(files, "nf_nat.ko") == b"code of nf_nat"
    assert on_disk(files, "modules.dep").decode() == DEPENDENCIES
    assert Path(kernel.root / "lib/modules" / RELEASE / "nf_nat.ko").read_bytes().endswith(SIGNATURE)


@pytest.mark.parametrize("cmdline", ["lockdown=integrity", "quiet module.sig_enforce", "ima_appraise=enforce"])
def test_signatures_stay_where_the_command_line_can_demand_them(kernel: Kernel, tmp_path: Path, cmdline: str) -> None:
    assert on_disk(made(kernel, tmp_path, cmdline), "nf_nat.ko").endswith(SIGNATURE)
    assert not on_disk(made(kernel, tmp_path, "nolockdown"), "nf_nat.ko").endswith(SIGNATURE)


def test_signatures_stay_where_the_kernel_demands_them(kernel: Kernel, tmp_path: Path) -> None:
    Path(kernel.config).write_text("CONFIG_MODULE_SIG_FORCE=y\n")
    assert on_disk(made(kernel, tmp_path), "nf_nat.ko").endswith(SIGNATURE)


def elf(note: int) -> bytes:
    """A kernel with one note of this type by Xen; large enough to be one."""
    content = struct.pack("<III4sQ", 4, 8, note, b"Xen\0", 0x1000000)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(content), len(content), 4) + content


@pytest.mark.parametrize(("note", "unpacked"), [(18, True), (17, False)])
def test_qemu_is_given_the_unpacked_kernel_where_that_says_how_it_is_entered(
    kernel: Kernel, tmp_path: Path, note: int, unpacked: bool
) -> None:
    inner = elf(note).ljust(1 << 20, b"\0")
    Path(kernel.image).write_bytes(b"MZ" + gzip.compress(inner))
    started = made(kernel, tmp_path).kernel
    assert (started != kernel.image) == unpacked
    assert Path(started).read_bytes() == (inner if unpacked else Path(kernel.image).read_bytes())


@pytest.mark.parametrize("length", [8, 60, 100, 130])
def test_a_kernel_that_is_cut_short_is_given_as_it_is(kernel: Kernel, tmp_path: Path, length: int) -> None:
    Path(kernel.image).write_bytes(elf(18)[:length])
    assert made(kernel, tmp_path).kernel == kernel.image


def test_a_kernel_that_is_not_packed_is_not_copied(kernel: Kernel, tmp_path: Path) -> None:
    Path(kernel.image).write_bytes(elf(18))
    assert made(kernel, tmp_path).kernel == kernel.image


def test_vng_finds_the_release_without_the_image(kernel: Kernel, tmp_path: Path) -> None:
    assert get_kernel_version(made(kernel, tmp_path).about) == RELEASE


def save(folder: Path, name: str, *argv: str) -> None:
    """A snapshot."""
    snapshots = Snapshots(folder)
    with snapshots.making(end_s=1) as files:
        (files / "ram").write_bytes(b"ram")
        (files / "state").write_bytes(b"state")
        digest = sha256(b"state").hexdigest()
        about = SnapshotFacts(
            name=name, made=datetime.now(UTC), argv=argv, folder="/x", state_sha256=digest, ram_bytes=3
        )
        snapshots.publish(name, files, about)


def test_the_least_recently_used_ones_make_room(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = made(kernel, tmp_path)
    (one,) = boot_files(cache)
    assert (boot_files(cache).name_of(one.tree), one.size_bytes > 0) == (RELEASE, True)
    os.utime(cache / "bootfiles" / one.key / "manifest.json", (1, 1))
    assert next(iter(boot_files(cache))).used_s == 1
    made(kernel, tmp_path)
    assert next(iter(boot_files(cache))).used_s > 1, "a boot uses them"
    monkeypatch.setattr(container, "MAX_BYTES", one.size_bytes)
    os.utime(cache / "bootfiles" / one.key / "manifest.json", (1, 1))
    second = made(kernel, tmp_path, "lockdown=integrity")
    assert (Path(first.initrd).exists(), Path(second.initrd).exists()) == (False, True)
    assert Path(made(kernel, tmp_path).initrd).exists(), "and are made again"


def test_a_snapshot_keeps_what_its_guest_was_booted_from(tmp_path: Path, kernel: Kernel) -> None:
    cache = tmp_path / "cache"
    made(kernel, tmp_path)
    (one,) = boot_files(cache)
    os.utime(cache / "bootfiles" / one.key / "manifest.json", (1, 1))
    save(cache / "snapshots", "it", "-drive", f"file={cache}/bootfiles/{one.key}/tree/modules.ext2")
    assert next(iter(boot_files(cache))).used_s > 1


def test_what_is_kept_is_listed_and_deleted(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("RUNNER_CACHE", str(cache))
    made(kernel, tmp_path)
    save(cache / "snapshots", "6.12.1-x86_64")
    os.utime(cache / "snapshots/6.12.1-x86_64/about.json", (1, 1))
    assert cli.run(["cache", "list", "--format", "json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert [(it["kind"], it.get("release", it.get("cell"))) for it in kept] == [
        ("boot files", RELEASE),
        ("snapshot", "6.12.1-x86_64"),
    ]
    assert cli.run(["cache", "prune"]) == 0
    assert cli.run(["cache", "prune", "--keep-mib", "0"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 snapshots, the boot files of 0 kernels and 0 container images deleted",
        "1 snapshot, the boot files of 1 kernel and 0 container images deleted",
    ]
    assert not [*boot_files(cache), *(cache / "snapshots").glob("[!.]*")]
