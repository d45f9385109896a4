# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image: what goes into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine.fleet import RealMachine
from runner.errors import InfraError
from runner.images import (
    disk,
    ensure_bytecode,
    ensure_image,
    have_image,
    image_packages,
    stored_image,
    stored_image_sha256,
)
from runner.images.disk import host_architecture, host_parts, parts
from runner.matrix.lock import read_lock
from runner.model import ImagePin, PinnedFile
from tests import samples
from tests.samples import ROOT, soon

LOCK = read_lock(ROOT / "matrix.lock")


@pytest.fixture(params=LOCK.images, ids=lambda image: image.arch)
def locked(request: pytest.FixtureRequest) -> ImagePin:
    image = request.param
    assert isinstance(image, ImagePin)
    return image


def test_an_image_holds_its_own_architecture_only(locked: ImagePin) -> None:
    names = [package.name for package in image_packages(locked)]
    assert len(names) == len(set(names)), "two versions of a package"
    assert {"busybox-static", "dropbear-bin", "kmod", "libbpf1", "bpftool", "python3-minimal"} <= set(names)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_image_brings_a_python_for_every_host(
    locked: ImagePin, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = host_parts(locked)
    assert {package.architecture for package in found} == {host_architecture().debian}
    (version,) = {package.version for package in found if package.name.startswith("python3.")}
    (image_version,) = {p.version for p in parts(image_packages(locked)) if p.name.startswith("python3.")}
    assert version == image_version, "the bytecode would be of another version"


def test_a_host_that_is_none_of_ours_is_told(locked: ImagePin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "mips")
    with pytest.raises(InfraError, match="mips"):
        host_parts(locked)


def test_offline_says_how_to_get_an_image(locked: ImagePin, tmp_path: Path) -> None:
    assert not have_image(locked, tmp_path)
    with pytest.raises(InfraError, match="not in the cache") as caught:
        ensure_image(locked, tmp_path, deadline=soon(), offline=True)
    assert "runner kernels fetch" in caught.value.hint
    with pytest.raises(InfraError, match="not in the cache"):
        ensure_bytecode(Path(disk.__file__).parent, locked, tmp_path, deadline=soon(), offline=True)


def test_an_images_digest_is_also_that_of_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a guest with another one is another guest: its answers are not reused."""
    pins = [ImagePin(suite="trixie", arch="x86_64", packages=())]
    for number in "ab":
        file = PinnedFile(name="image", sha256=number * 64, size_bytes=1)
        pins.append(ImagePin(suite="trixie", oci="/x", arch="x86_64", packages=(), files=(file,)))

    def keep(pin: ImagePin, content: str) -> None:
        store, key = stored_image(pin, tmp_path)

        def make(tree: Path) -> None:
            (tree / "disk.ext2").write_text(content)

        store.ensure(key, make, deadline=soon())

    keep(pins[0], "system")
    assert [have_image(pin, tmp_path) for pin in pins] == [True, False, False]
    assert [bool(stored_image_sha256(pin, tmp_path)) for pin in pins] == [True, False, False]
    keep(pins[1], "a")
    keep(pins[2], "b")
    monkeypatch.setattr("runner.engine.fleet.stored_kernel_sha256", lambda *_: "0" * 64)
    machine = RealMachine("here", tmp_path, offline=True)
    digests = [machine.digests(samples.cell(samples.pin("6.12.1")).model_copy(update={"image": pin})) for pin in pins]
    assert len({digest for _, digest in filter(None, digests)}) == len(pins)


def test_packages_without_a_python_are_named(tmp_path: Path) -> None:
    (tmp_path / "root/usr/lib").mkdir(parents=True)
    (tmp_path / "tree").mkdir()
    with pytest.raises(InfraError, match="the interpreter's packages hold no Python"):
        disk._flatten(tmp_path / "root", tmp_path / "tree", host_architecture())
