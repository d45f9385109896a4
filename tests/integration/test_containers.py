# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Container images as the root of commands: from a registry on 127.0.0.1 and from layouts, by a real skopeo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from runner import cli
from runner.errors import InfraError, UserError
from runner.images import container
from runner.images.container import DISK, containers, ensure_container, stored_container
from runner.kernels import Means
from runner.kernels import registry as registry_module
from runner.kernels.archive import Archive
from runner.kernels.registry import ContainerImage
from runner.matrix import lock as lock_module
from runner.matrix.lock import Mode, settle
from runner.model import ImagePin, Lock, Wanted, WantedImage
from runner.store import StoredTree
from tests.integration.web_fixture import Web
from tests.samples import soon
from tests.unit.oci_fixture import Registry, files_layer, layer, layout, link, member

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")

VARIABLES = ["PATH=/opt/bin:/bin", "A=b=c", "=nonsense", "no value"]
LAYERS = [
    layer(
        member("usr/bin/tool", b"tool"),
        link("bin", "usr/bin"),
        link("proc", "/nowhere"),
        member("etc/", kind=tarfile.DIRTYPE),
        member("etc/old", b"x"),
    ),
    layer(member("bin/more", b"more"), member("etc/.wh.old"), member("opt/hard", kind=tarfile.LNKTYPE, to="bin/more")),
]
BOTH = {"amd64": LAYERS, "arm64": [files_layer({"only": b"arm64"})]}


@pytest.fixture(autouse=True)
def registry(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(registry_module, "RETRIES", "0")
    return Registry(web, home)


def pinned(text: str, arch: str = "x86_64") -> ImagePin:
    file = ContainerImage.named(text).pinned(arch, soon())
    return ImagePin(suite="trixie", oci=text, arch=arch, packages=(), files=(file,))


def made(text: str, cache: Path, arch: str = "x86_64") -> StoredTree:
    return ensure_container(pinned(text, arch), cache, deadline=soon(), offline=False)


def archived(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=".")
    return path


def debugfs(disk: Path, *commands: str) -> list[str]:
    return [
        subprocess.run(["/usr/sbin/debugfs", "-R", it, disk], check=True, capture_output=True, text=True).stdout
        for it in commands
    ]


def names(disk: Path, folder: str) -> list[str]:
    (listed,) = debugfs(disk, f"ls -p {folder}")
    return sorted(line.split("/")[5] for line in listed.split("\n") if line and line.split("/")[5] not in (".", ".."))


def test_an_image_is_the_same_disk_wherever_it_comes_from(tmp_path: Path, registry: Registry) -> None:
    folder = layout(tmp_path / "layout", "v1", BOTH, VARIABLES)
    places = [registry.push("x/y", "1", BOTH, VARIABLES), f"{folder}:v1", str(folder), f"{archived(folder)}:v1"]
    pins = [pinned(place) for place in places]
    assert len({pin.files[0].sha256 for pin in pins}) == 1
    disks = {made(place, tmp_path / f"cache-{number}").files[DISK].sha256 for number, place in enumerate(places)}
    assert len(disks) == 1
    assert made(places[0], tmp_path / "cache-0", "arm64").files[DISK].sha256 not in disks


def test_the_least_recently_used_image_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("RUNNER_CACHE", str(cache))
    folder = layout(tmp_path / "layout", "v1", BOTH, VARIABLES)
    first = made(f"{folder}:v1", cache)
    (one,) = containers(cache)
    assert (containers(cache).name_of(one.tree), one.size_bytes > 0) == (f"{folder}:v1", True)
    assert cli.run(["cache", "list", "--format", "json"]) == 0
    assert [(it["kind"], it["image"]) for it in json.loads(capsys.readouterr().out)] == [("container", f"{folder}:v1")]
    os.utime(first.tree.with_name("manifest.json"), (1, 1))
    made(f"{folder}:v1", cache)
    assert next(iter(containers(cache))).used_s > 1, "a run uses it"
    os.utime(first.tree.with_name("manifest.json"), (1, 1))
    monkeypatch.setattr(container, "MAX_BYTES", one.size_bytes)
    second = made(f"{folder}:v1", cache, "arm64")
    assert (first.tree.exists(), second.tree.exists()) == (False, True)
    assert cli.run(["cache", "prune", "--keep-mib", "0"]) == 0
    assert capsys.readouterr().out == "0 snapshots, the boot files of 0 kernels and 1 container image deleted\n"
    assert not list(containers(cache))


def test_a_disk_has_the_files_the_variables_and_folders_to_mount_over(tmp_path: Path) -> None:
    entry = made(str(layout(tmp_path / "layout", "", {"amd64": LAYERS}, VARIABLES)), tmp_path / "cache")
    disk = entry.tree / DISK
    assert names(disk, "/") == ["environment", "lost+found", "root"]
    assert names(disk, "/root") == [
        *("bin", "boot", "dev", "etc", "opt", "payload", "proc", "root", "run", "sys", "tmp", "usr")
    ]
    assert names(disk, "/root/usr/bin") == ["more", "tool"]
    assert names(disk, "/root/etc") == []
    variables, more, hard, proc = debugfs(
        disk, "cat /environment", "stat /root/usr/bin/more", "cat /root/opt/hard", "stat /root/proc"
    )
    assert json.loads(variables) == {"PATH": "/opt/bin:/bin", "A": "b=c"}
    assert "Links: 2" in more
    assert hard == "more"
    assert '"/nowhere"' in proc
    assert subprocess.run(["/usr/sbin/e2fsck", "-fn", disk], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("tag", ["v1", ""])
def test_an_image_that_is_not_for_this_architecture(tmp_path: Path, registry: Registry, tag: str) -> None:
    arm = {"arm64": BOTH["arm64"]}
    for place in (str(layout(tmp_path / "layout", tag, arm)), registry.push("x/y", "1", arm)):
        with pytest.raises(UserError, match="has no image for x86_64") as caught:
            pinned(place)
        assert caught.value.hint == "it has arm64; --arch names architectures"


def test_an_image_in_no_index_says_itself_for_what_it_is(tmp_path: Path, registry: Registry) -> None:
    registry.push("x/y", "1", {"arm64": BOTH["arm64"]})
    digest = pinned(f"{registry.host}/x/y:1", "arm64").files[0].sha256
    with pytest.raises(UserError, match="has no image for x86_64"):
        pinned(f"{registry.host}/x/y@sha256:{digest}")


def test_what_is_no_layout_and_what_is_not_in_it(tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", "v1", BOTH)
    (tmp_path / "file").write_text("no archive")
    for place, says in {
        f"{folder}:v2": "has no image v2",
        str(tmp_path / "nonesuch"): "is no OCI layout: there is no such file",
        str(tmp_path): "is no OCI layout: it has no index.json",
        str(tmp_path / "file"): "is no OCI layout",
    }.items():
        with pytest.raises(UserError, match=says):
            pinned(place)


def test_a_layout_that_was_changed_never_gets_into_the_cache(tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", "", {"amd64": LAYERS})
    pin = pinned(str(folder))
    for blob in (folder / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(b"evil")
    with pytest.raises(InfraError, match="skopeo copy"):
        ensure_container(pin, tmp_path / "cache", deadline=soon(), offline=False)
    shutil.rmtree(folder)
    with pytest.raises(InfraError, match="no such file") as caught:
        ensure_container(pin, tmp_path / "cache", deadline=soon(), offline=True)
    assert "on each machine" in caught.value.hint
    store, key = stored_container(pin, tmp_path / "cache")
    assert not store.has(key)


def test_a_layer_that_leads_out_of_its_image_is_refused(tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", "", {"amd64": [files_layer({"../../evil": b"x"})]})
    with pytest.raises(InfraError, match="leads out of the image"):
        made(str(folder), tmp_path / "cache")


def test_offline_says_how_to_get_an_image(tmp_path: Path, registry: Registry) -> None:
    pin = pinned(registry.push("x/y", "1", BOTH))
    with pytest.raises(InfraError, match="not in the cache") as caught:
        ensure_container(pin, tmp_path / "cache", deadline=soon(), offline=True)
    assert "runner kernels fetch" in caught.value.hint


# --- what becomes of a pin -------------------------------------------------------------------------------------------


Result = tuple[Lock, tuple[str, ...]]


class Settled:
    """A lock of one kernel, and an image."""

    def __init__(self, archive: Archive, cache: Path) -> None:
        self.archive, self.cache = archive, cache

    def __call__(
        self, text: str, lock: Lock, *, mode: Mode = "keep", offline: bool = False
    ) -> tuple[Lock, tuple[str, ...]]:
        kernel = Wanted(name="it", source="debian:trixie/6.12", arch="x86_64")
        image = WantedImage(suite="trixie", oci=text)
        return settle([kernel], image, lock, Means(self.archive, self.cache, soon()), mode=mode, offline=offline)


@pytest.fixture
def settled(tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Settled:
    monkeypatch.setattr("runner.images.PACKAGES", ("tool",))
    monkeypatch.setattr("runner.images.ARCHITECTURES", {})  # the archive of the tests has amd64 alone
    monkeypatch.setattr(lock_module, "have_image", lambda pin, _: pin == pin.system or (tmp_path / "cached").exists())
    return Settled(archive, tmp_path / "cache")


def test_a_tag_that_moves_on_changes_no_pin(settled: Settled, registry: Registry) -> None:
    text = registry.push("x/y", "1", BOTH)
    lock, _ = settled(text, Lock())
    registry.push("x/y", "1", {"amd64": [files_layer({"other": b""})]})
    assert settled(text, lock) == (lock, ())
    renewed, _ = settled(text, lock, mode="renew")
    assert renewed.images[0].files != lock.images[0].files


def test_an_image_that_left_its_registry_is_replaced_with_a_warning(settled: Settled, registry: Registry) -> None:
    text = registry.push("x/y", "1", BOTH)
    lock, _ = settled(text, Lock())
    registry.web.files = {"v2/": b"{}"}
    registry.push("x/y", "1", {"amd64": [files_layer({"other": b""})]})
    with pytest.raises(InfraError, match="has no sha256:"):
        settled(text, lock, mode="locked")
    renewed, (warning,) = settled(text, lock)
    assert f"replaced by sha256:{renewed.images[0].files[0].sha256}" in warning
    assert renewed.images[0].packages == lock.images[0].packages


def test_a_layout_that_was_made_again_is_pinned_again(settled: Settled, tmp_path: Path) -> None:
    folder = layout(tmp_path / "layout", "", {"amd64": LAYERS})
    lock, _ = settled(str(folder), Lock())
    assert settled(str(folder), lock) == (lock, ())
    shutil.rmtree(folder)
    layout(folder, "", {"amd64": [files_layer({"other": b""})]})
    (tmp_path / "cached").touch()
    assert settled(str(folder), lock, mode="locked") == (lock, ())
    renewed, warnings = settled(str(folder), lock)
    assert renewed.images[0].files != lock.images[0].files
    assert warnings


def test_beside_a_pinned_image_a_container_takes_its_packages(settled: Settled, tmp_path: Path) -> None:
    plain, _ = settled("", Lock())
    folder = layout(tmp_path / "layout", "", {"amd64": LAYERS})
    both, warnings = settled(str(folder), plain, offline=True)
    assert [image.oci for image in both.images] == ["", str(folder)]
    assert both.images[1].system == plain.images[0]
    assert warnings == ()
