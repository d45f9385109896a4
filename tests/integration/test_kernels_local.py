# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels of this machine: installed, lying in a folder, built in a tree. Copied as they were pinned, or not at all."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from runner.errors import InfraError, UserError
from runner.kernels import Means, ensure_kernel, lock_kernels, offered, source_of
from runner.kernels import local as local_module
from runner.kernels.archive import Archive
from runner.model import Pin, Wanted
from tests.samples import soon
from tests.unit.kernel_samples import CONFIG, RELEASE, built, installed, module

ARCH = "x86_64"


@pytest.fixture
def means(tmp_path: Path) -> Means:
    return Means(Archive(tmp_path / "cache"), tmp_path / "cache", soon())


def pinned(source: str, means: Means, arch: str = ARCH) -> Pin:
    (locked,) = lock_kernels(Wanted(name="k", source=source, arch=arch), means)
    return locked


def at_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(local_module, "ROOT", installed(folder))
    return f"installed:{RELEASE}"


def at_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"path:{installed(folder)}"


def at_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    installed(folder)
    return f"path:{folder}/boot/vmlinuz-{RELEASE},{folder}/lib/modules/{RELEASE},{folder}/boot/config-{RELEASE}"


def at_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"tree:{built(folder)}"


def at_old_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"tree:{built(folder, suffix='.ko')}"


ways = pytest.mark.parametrize("way", [at_root, at_path, at_parts, at_tree, at_old_tree])
Way = Callable[[Path, pytest.MonkeyPatch], str]


@ways
def test_what_guests_need_of_it_is_copied(
    way: Way, tmp_path: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = way(tmp_path / "k", monkeypatch)
    locked = pinned(source, means)
    assert (locked.version, locked.release, locked.packages) == ("6.12.10", RELEASE, ())
    assert [file.name for file in locked.files] == ["image", "config", "modules"]
    assert source_of(source).lost(locked, means) == ""
    kernel = ensure_kernel(locked, means.cache, deadline=soon(), offline=True)
    assert Path(kernel.config).read_text() == CONFIG
    assert "the image" in Path(kernel.image).read_text()
    modules = Path(kernel.root) / "lib/modules" / RELEASE
    assert {path.stem for path in modules.rglob("*.ko")} == {"virtio_blk", "nf_conntrack", "nf_defrag_ipv4"}
    assert (modules / "kernel/net/netfilter/nf_conntrack.ko").is_file()
    assert "nf_conntrack" in (modules / "modules.dep").read_text()


@ways
def test_it_is_offered_with_the_text_that_names_it(
    way: Way, tmp_path: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = way(tmp_path / "k", monkeypatch)
    word = source.partition(":")[0]
    (offer,) = offered((source,), (ARCH,), means, words=(word,))
    assert (offer.source, str(offer.version), offer.release, offer.arch) == (source, "6.12.10", RELEASE, ARCH)
    assert offered((source,), ("arm64",), means, words=(word,)) == ()
    assert pinned(offer.source, means).release == RELEASE


def moved(folder: Path, release_folder: str) -> Path:
    """All of a kernel in one folder, as Fedora, Arch and NixOS have it: no .config beside."""
    installed(folder)
    target = folder / release_folder
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / f"lib/modules/{RELEASE}").rename(target)
    (folder / "boot").rename(folder / "elsewhere")
    return target


def image_with_config(text: str = CONFIG) -> bytes:
    kernel = f"\0Linux version {RELEASE} (me)\0IKCFG_ST".encode() + gzip.compress(text.encode()) + bytes(1 << 20)
    return b"the image" + zstandard.compress(kernel)


@pytest.mark.parametrize(
    ("image", "modules"),
    [("vmlinuz", f"usr/lib/modules/{RELEASE}"), ("../../../bzImage", f"lib/modules/{RELEASE}")],
    ids=["fedora-and-arch", "nixos"],
)
def test_a_kernel_without_a_config_beside_it(tmp_path: Path, means: Means, image: str, modules: str) -> None:
    folder = moved(tmp_path / "k", modules)
    for file in folder.glob("modules.*"):
        file.unlink()
    (folder / image).write_bytes(image_with_config())
    locked = pinned(f"path:{tmp_path}/k", means)
    assert (locked.version, locked.release) == ("6.12.10", RELEASE)
    assert [file.name for file in locked.files] == ["image", "modules"]
    kernel = ensure_kernel(locked, means.cache, deadline=soon(), offline=True)
    assert Path(kernel.config).read_text() == CONFIG
    assert {path.stem for path in Path(kernel.root).rglob("*.ko")} == {"virtio_blk", "nf_conntrack", "nf_defrag_ipv4"}


def test_an_image_alone(tmp_path: Path, means: Means) -> None:
    (tmp_path / "bzImage").write_bytes(image_with_config())
    locked = pinned(f"path:{tmp_path}/bzImage", means)
    assert (locked.version, locked.release) == ("6.12.10", RELEASE)
    kernel = ensure_kernel(locked, means.cache, deadline=soon(), offline=True)
    assert Path(kernel.config).read_text() == CONFIG
    assert list(Path(kernel.root).rglob("*.ko")) == []


def test_an_image_alone_whose_options_nobody_knows(tmp_path: Path, means: Means) -> None:
    header = bytes(0x202) + b"HdrS" + bytes(0x30) + b"\1"
    (tmp_path / "bzImage").write_bytes(header + f"Linux version {RELEASE} (me)".encode())
    locked = pinned(f"path:{tmp_path}/bzImage", means)
    kernel = ensure_kernel(locked, means.cache, deadline=soon(), offline=True)
    assert not Path(kernel.config).exists()
    (tmp_path / "options").write_text(CONFIG)
    told = pinned(f"path:{tmp_path}/bzImage,,{tmp_path}/options", means)
    assert [file.name for file in told.files] == ["image", "config", "modules"]
    with pytest.raises(UserError, match="is a kernel for x86_64, wanted for arm64"):
        pinned(f"path:{tmp_path}/bzImage", means, "arm64")


def test_an_image_that_is_none(tmp_path: Path, means: Means) -> None:
    (tmp_path / "readme.txt").write_text("Linux")
    with pytest.raises(UserError, match="does not tell its release"):
        pinned(f"path:{tmp_path}/readme.txt", means)


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("gz", gzip.compress), ("xz", lzma.compress), ("zst", zstandard.compress)],
    ids=("gz", "xz", "zst"),  # not the functions, whose addresses are others in each worker
)
def test_compressed_modules_are_unpacked_with_what_they_depend_on(
    tmp_path: Path, means: Means, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    source = f"path:{installed(tmp_path / 'k')}"
    for path in list(tmp_path.rglob("*.ko")):
        path.with_name(f"{path.name}.{suffix}").write_bytes(pack(path.read_bytes()))
        path.unlink()
    kernel = ensure_kernel(pinned(source, means), means.cache, deadline=soon(), offline=True)
    assert {path.name for path in Path(kernel.root).rglob("*.ko*")} == {
        "virtio_blk.ko", "nf_conntrack.ko", "nf_defrag_ipv4.ko"
    }  # fmt: skip
    nf = next(Path(kernel.root).rglob("nf_conntrack.ko"))
    assert nf.read_bytes() == module("nf_defrag_ipv4")
    next((tmp_path / "k").rglob(f"virtio_blk.ko.{suffix}")).write_bytes(pack(b"x" * 99)[:-9])
    with pytest.raises(InfraError, match=rf"virtio_blk\.ko\.{suffix} cannot be unpacked"):
        pinned(source, means)


@pytest.mark.parametrize("config", [CONFIG, CONFIG.replace("CONFIG_MODULES=y", "# CONFIG_MODULES is not set")])
def test_a_tree_whose_modules_were_not_built(tmp_path: Path, means: Means, config: str) -> None:
    tree = built(tmp_path / "k", config=config)
    if config == CONFIG:
        (tree / "modules.order").unlink()
    kernel = ensure_kernel(pinned(f"tree:{tree}", means), means.cache, deadline=soon(), offline=True)
    assert list(Path(kernel.root).rglob("*.ko")) == []


def test_a_module_says_what_modules_depend_on(tmp_path: Path, means: Means) -> None:
    (tmp_path / "k").mkdir()
    source = f"path:{installed(tmp_path / 'k')}"
    files = pinned(source, means).files
    (tmp_path / f"k/lib/modules/{RELEASE}/kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko").write_bytes(module("unneeded"))
    assert pinned(source, means).files[2].size_bytes > files[2].size_bytes


@pytest.mark.parametrize("file", ["boot/vmlinuz-*", "boot/config-*", "lib/modules/*/kernel/net/netfilter/*"])
def test_a_change_under_the_pin_is_noticed(tmp_path: Path, means: Means, file: str) -> None:
    source = f"path:{installed(tmp_path / 'k')}"
    locked = pinned(source, means)
    (path,) = (tmp_path / "k").glob(file)
    path.write_bytes(path.read_bytes() + b"\n")
    assert "changed since it was pinned" in source_of(source).lost(locked, means)
    with pytest.raises(InfraError, match="changed since it was pinned") as caught:
        ensure_kernel(locked, means.cache, deadline=soon())
    assert "runner kernels lock" in caught.value.hint
    assert pinned(source, means) != locked


def test_a_change_of_what_no_guest_needs_is_none(tmp_path: Path, means: Means) -> None:
    source = f"path:{installed(tmp_path / 'k')}"
    locked = pinned(source, means)
    (path,) = (tmp_path / "k").glob("lib/modules/*/kernel/net/unneeded.ko")
    path.write_bytes(b"")
    assert source_of(source).lost(locked, means) == ""


@ways
def test_on_a_machine_without_it_that_is_the_machines_fault(
    way: Way, tmp_path: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = way(tmp_path / "k", monkeypatch)
    locked = pinned(source, means)
    (tmp_path / "k").rename(tmp_path / "gone")
    assert source_of(source).lost(locked, means)
    with pytest.raises(InfraError):
        ensure_kernel(locked, means.cache, deadline=soon())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("path:relative", "is not a kernel source"),
        ("path:{}/none", "there is no such file or folder"),
        ("tree:{}/none", "there is no such folder"),
        ("tree:{}", "not built: missing the release"),
        ("path:/proc/self/mem", "cannot be read: Input/output error"),
        ("path:{}/boot/vmlinuz,{}/lib/modules/6.1", "the kernel has no vmlinuz"),
        ("installed:9.9.9", "no such kernel for x86_64 is installed"),
    ],
)
def test_what_is_not_there_is_the_users_fault(
    tmp_path: Path, means: Means, source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_root(tmp_path / "k", monkeypatch)
    with pytest.raises(UserError, match=message):
        pinned(source.replace("{}", str(tmp_path)), means)


@ways
def test_an_image_for_another_architecture_says_what_to_write(
    way: Way, tmp_path: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="is a kernel for x86_64, wanted for arm64") as caught:
        pinned(way(tmp_path / "k", monkeypatch), means, "arm64")
    assert "architectures: [x86_64]" in caught.value.hint


def test_the_newest_or_all_of_what_is_installed(tmp_path: Path, means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("6.12.9-custom", "6.12.10-custom", "6.1.0-9-amd64"):
        version = "6.1.76" if release.startswith("6.1.") else release.partition("-")[0]
        installed(tmp_path, release, CONFIG.replace("6.12.10", version))
    (tmp_path / "lib/modules/6.6.6/kernel").mkdir(parents=True)  # the remains of one that was removed
    monkeypatch.setattr(local_module, "ROOT", tmp_path)
    assert pinned("installed:newest", means).release == "6.12.10-custom"
    every = lock_kernels(Wanted(name="k", source="installed:all", arch=ARCH), means)
    assert [locked.version for locked in every] == ["6.1.76", "6.12.9", "6.12.10"]
    with pytest.raises(UserError, match="there are") as caught:
        pinned("installed:6.1.0-8-amd64", means)
    assert "6.1.0-9-amd64 (x86_64)" in str(caught.value)


def test_a_hostile_release_is_refused(tmp_path: Path, means: Means) -> None:
    tree = built(tmp_path / "k")
    (tree / "include/config/kernel.release").write_text("6.12; reboot\n")
    with pytest.raises(UserError, match=r"release '6\.12; reboot'"):
        pinned(f"tree:{tree}", means)
