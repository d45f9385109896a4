# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in archives of Debian packages that are not Debian's: Ubuntu's, by its layout, and any that is described."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.kernels import Means, ensure_kernel, lock_kernels, offered, source_of
from runner.kernels.apt import AptSource
from runner.kernels.archive import Archive
from runner.kernels.debian import UbuntuSource
from runner.model import Pin, Wanted
from tests.integration.web_fixture import Web
from tests.samples import soon

AWS = "6.8.0-1021-aws"
GENERIC = "6.8.0-50-generic"


@pytest.fixture(autouse=True)
def server(web: Web, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.folders["ubuntu/"] = mirror
    monkeypatch.setenv("RUNNER_UBUNTU", f"{web.address}/ubuntu")
    monkeypatch.setenv("RUNNER_UBUNTU_KEYRING", str(mirror / "keyring.gpg"))


def described(mirror: Path, versions: str, **other: str) -> str:
    """The text of the same archive as one that the matrix describes."""
    said = {"uri": f"copy:{mirror}", "suites": ["noble", "noble-updates"], "keyring": f"{mirror}/keyring.gpg"}
    key = "versions" if versions[:1] in "<>" else "series"
    entry = {"apt": {"package": "linux-image-*-generic", **said, **other}, key: versions}
    return AptSource.model_validate(entry).text


def means(archive: Archive, cache: Path) -> Means:
    return Means(archive, cache, soon())


def pinned(text: str, archive: Archive, cache: Path) -> tuple[Pin, ...]:
    return lock_kernels(Wanted(name="it", source=text, arch="x86_64"), means(archive, cache))


@pytest.mark.parametrize(
    ("versions", "releases"),
    [
        ("6.8", [GENERIC]),  # of its updates; that of 6.8.0-51 has no modules
        ("6.8.0-31", ["6.8.0-31-generic"]),
        ("6.8.0-31.31", ["6.8.0-31-generic"]),
        ("6", ["6.11.0-17-generic"]),  # an HWE kernel, whose image is only there unsigned
        (">=6.8", [GENERIC, "6.11.0-17-generic"]),
    ],
)
def test_what_is_meant(archive: Archive, mirror: Path, tmp_path: Path, versions: str, releases: list[str]) -> None:
    for text in (f"ubuntu:noble/{versions}", described(mirror, versions)):
        found = pinned(text, archive, tmp_path)
        assert [pin.release for pin in found] == releases
        assert {(pin.source, source_of(pin.source).text) for pin in found} == {(text, text)}


def test_a_kernel_is_its_signed_image_and_all_of_its_modules(archive: Archive, tmp_path: Path) -> None:
    (pin,) = pinned("ubuntu:noble/6.8", archive, tmp_path)
    parts = [f"linux-{part}-{GENERIC}" for part in ("image", "modules", "modules-extra")]
    assert [package.name for package in pin.packages] == parts
    assert (pin.version, pin.package_version, pin.variant) == ("6.8", "6.8.0-50.51", "")
    (hwe,) = pinned("ubuntu:noble/6.11", archive, tmp_path)
    assert [package.name for package in hwe.packages] == [
        "linux-image-unsigned-6.11.0-17-generic",
        "linux-modules-6.11.0-17-generic",
    ]


def test_each_flavour_is_a_kernel_of_its_own(archive: Archive, tmp_path: Path) -> None:
    source = UbuntuSource(ubuntu="noble", series="6.8", flavours=("generic", "aws"))
    wanted = list(source.wanted("x86_64"))
    assert [one.name for one in wanted] == ["noble-6.8", "noble-6.8-aws"]
    pins = [pin for one in wanted for pin in lock_kernels(one, means(archive, tmp_path))]
    assert [(pin.release, pin.variant) for pin in pins] == [(GENERIC, ""), (AWS, "aws")]
    with pytest.raises(UserError, match=r"noble-security have no azure kernel 6\.8 for x86_64"):
        pinned("ubuntu:noble/6.8/azure", archive, tmp_path)


def test_what_is_pinned_is_fetched_and_unpacked(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    for text in ("ubuntu:noble/6.8/aws", described(mirror, "6.8", package="linux-image-*-aws")):
        (pin,) = pinned(text, archive, tmp_path)
        assert source_of(text).lost(pin, means(archive, tmp_path)) == ""
        kernel = ensure_kernel(pin, tmp_path, deadline=soon())
        assert Path(kernel.image).read_text() == f"linux-image-{AWS} 6.8.0-1021.23\n"
    gone = pin.model_copy(update={"packages": (pin.packages[0].model_copy(update={"sha256": "0" * 64}),)})
    assert source_of(text).lost(gone, means(archive, tmp_path)) == f"linux-image-{AWS} 6.8.0-1021.23 left the archive"


@pytest.mark.parametrize(
    ("pattern", "name", "release"),
    [
        ("linux-image-*-generic", "linux-image-6.8.0-50-generic", "6.8.0-50-generic"),
        ("linux-image-*-generic", "linux-image-unsigned-6.8.0-50-generic", "6.8.0-50-generic"),
        ("linux-image-*-generic", "linux-image-6.8.0-50-generic-64k", ""),
        ("linux-image-*-amd64", "linux-image-6.12.10+deb13-cloud-amd64", ""),  # * is the version, and no flavour
        ("linux-image-*-amd64", "linux-image-6.12.10+deb13-amd64-unsigned", "6.12.10+deb13-amd64"),
        ("linux-image-*-x64v3-xanmod1", "linux-image-6.12.9-x64v3-xanmod1", "6.12.9-x64v3-xanmod1"),
        ("proxmox-kernel-*-pve-signed", "proxmox-kernel-6.8.12-1-pve-signed", "6.8.12-1-pve"),
        ("proxmox-kernel-*-pve", "proxmox-headers-6.8.12-1-pve", ""),
    ],
)
def test_the_name_of_an_images_package_has_the_release(mirror: Path, pattern: str, name: str, release: str) -> None:
    source = source_of(described(mirror, "6", package=pattern))
    assert isinstance(source, AptSource)
    assert source.image(name, "x86_64")[0] == release


def test_another_archive_keeps_lists_of_its_own(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    """Suites of two archives have the same name, and one must not pass for the other."""
    mine = described(mirror, "6.12", suites="trixie", package="linux-image-*-amd64")
    assert [pin.release for pin in pinned(mine, archive, tmp_path)] == ["6.12.10+deb13-amd64"]
    pinned("debian:trixie/6.12", archive, tmp_path)
    folders = {path.name for path in (tmp_path / "cache/apt").iterdir()}
    assert {"trixie-x86_64"} < folders
    assert [name for name in folders if name.startswith("local-") and name.endswith("-trixie-x86_64")]


def test_every_offer_can_be_locked_by_its_own_source(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    mirrored = shutil.copytree(mirror / "dists/noble", mirror / "dists/noble-security")
    assert mirrored  # so that Ubuntu's suite is whole
    for text, further in ((described(mirror, "6.8"), set()), ("ubuntu:noble/6.8", {AWS})):
        offers = offered((text,), ("x86_64",), means(archive, tmp_path), words=(text.partition(":")[0],))
        assert {pin.release for pin in offers} == {"6.8.0-31-generic", GENERIC, "6.11.0-17-generic"} | further
        assert [pinned(pin.source, archive, tmp_path)[0].release for pin in offers] == [pin.release for pin in offers]


def test_an_archive_that_another_key_signed_is_refused(
    archive: Archive, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = mirror / "other.gpg"
    other.write_bytes(b"")
    monkeypatch.setenv("RUNNER_UBUNTU_KEYRING", str(other))
    for text in ("ubuntu:noble/6.8", described(mirror, "6.8", keyring=str(other))):
        with pytest.raises(InfraError, match="cannot fetch the package lists of noble"):
            pinned(text, archive, tmp_path)
    other.unlink()
    with pytest.raises(InfraError, match=r"other\.gpg is missing"):
        pinned("ubuntu:noble/6.8", archive, tmp_path)
    with pytest.raises(UserError, match=r"other\.gpg is missing"):
        pinned(described(mirror, "6.8", keyring=str(other)), archive, tmp_path)


def test_a_suite_that_is_not_there_is_asked_about(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"is there a suite 'nobel'\?"):
        pinned("ubuntu:nobel/6.8", archive, tmp_path)


def test_the_keys_come_from_a_package_of_debian(archive: Archive, tmp_path: Path) -> None:
    kept = archive.unpacked("tool", "usr/bin/tool", "x86_64", deadline=soon())
    assert kept.read_text() == "tool 1:1.0-1\n"
    kept.write_text("not fetched again")
    assert archive.unpacked("tool", "usr/bin/tool", "x86_64", deadline=soon()).read_text() == "not fetched again"
    with pytest.raises(InfraError, match="the package tool has no file usr/bin/other"):
        archive.unpacked("tool", "usr/bin/other", "x86_64", deadline=soon())


def test_a_pocket_that_is_not_there_is_told(archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pinned("ubuntu:noble/6.8", archive, tmp_path)
    assert "noble-security is not searched for newer kernels" in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ubuntu:noble", "is not a kernel series"),
        ("ubuntu:-noble/6.8", "is not a name"),
        ("ubuntu:noble/6.8/-aws", "is not a name"),
        ("apt:http://x.example?suites=a&keyring=/k&package=linux-image-generic&series=6", "is not a pattern"),
        ("apt:ftp://x.example?suites=a&keyring=/k&package=linux-image-*&series=6", "is not the address of an archive"),
        ("apt:http://x.example?suites=a,-b&keyring=/k&package=linux-image-*&series=6", "is not a name"),
        ("apt:http://x.example?suites=a&keyring=k&package=linux-image-*&series=6", "is not a path"),
        ("apt:http://x.example?suites=a&keyring=/k&package=linux-image-*", "'series' is missing"),
        ("apt:http://x.example?suites", "bad query field"),
    ],
)
def test_sources_that_are_not(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        source_of(text)
