# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel on its way to another cache: it arrives whole, or not at all."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.hosts import provision as transfer
from runner.kernels import stored_kernel
from runner.model import ImagePin, Package, Pin
from tests.samples import soon

KERNEL = Pin(
    source="debian:trixie/6.12",
    arch="x86_64",
    version="6.12.1",
    release="6.12.1-amd64",
    packages=(Package(name="linux", version="1", architecture="amd64", suite="sid", sha256="0" * 64, size_bytes=1),),
)


@pytest.fixture
def parcel(tmp_path: Path) -> bytes:
    """A kernel of two files in the cache `here`, sent."""

    def make(tree: Path) -> None:
        (tree / "boot").mkdir()
        (tree / "boot" / "vmlinuz").write_bytes(b"kernel" * 1000)
        (tree / "tool").write_bytes(b"#!")
        (tree / "tool").chmod(0o755)

    store, key = stored_kernel(KERNEL, tmp_path / "here")
    store.ensure(key, make, deadline=soon())
    sent = io.BytesIO()
    transfer.send(KERNEL, tmp_path / "here", sent)
    return sent.getvalue()


def test_it_arrives_whole(parcel: bytes, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert transfer.lacking((KERNEL,), there) == (KERNEL,)
    assert transfer.receive(io.BytesIO(parcel), there, deadline=soon()) == KERNEL
    assert transfer.lacking((KERNEL,), there) == ()
    store, key = stored_kernel(KERNEL, there)
    ours, key = stored_kernel(KERNEL, tmp_path / "here")
    arrived, sent = store.get(key), ours.get(key)
    assert arrived
    assert sent
    assert arrived.sha256 == sent.sha256
    assert (arrived.tree / "tool").stat().st_mode & 0o111


def test_hosts_are_told_kernels_and_images_in_one_list() -> None:
    image = ImagePin(suite="trixie", arch="arm64", packages=KERNEL.packages)
    assert transfer.PINS.validate_json(transfer.PINS.dump_json((KERNEL, image))) == (KERNEL, image)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_what_arrives_damaged_is_not_kept(parcel: bytes, tmp_path: Path, damage: str) -> None:
    at = parcel.index(b"kernelkernel") + 100
    sent = {
        "cut": parcel[:at],
        "flipped": parcel[:at] + b"\0" + parcel[at + 1 :],
        "empty": parcel[: parcel.index(b"\n") + 1],
    }[damage]
    with pytest.raises(InfraError, match="for x86_64 arrived damaged"):
        transfer.receive(io.BytesIO(sent), tmp_path / "there", deadline=soon())
    assert transfer.lacking((KERNEL,), tmp_path / "there")
    assert not list((tmp_path / "there").rglob("vmlinuz"))


@pytest.mark.parametrize("name", ["../../evil", "/evil", "link"])
def test_nothing_is_written_elsewhere(parcel: bytes, tmp_path: Path, name: str) -> None:
    sent = io.BytesIO()
    sent.write(parcel[: parcel.index(b"\n") + 1])
    with tarfile.open(fileobj=sent, mode="w") as archive:
        info = tarfile.TarInfo(name)
        if name == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info, io.BytesIO())
    sent.seek(0)
    with pytest.raises(InfraError, match="is not a file of a kernel or an image"):
        transfer.receive(sent, tmp_path / "there", deadline=soon())
    assert not list(tmp_path.rglob("evil"))
