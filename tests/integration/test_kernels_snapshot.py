# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels of Debian's past, from a server on 127.0.0.1 with the interface of the snapshot archive."""

from __future__ import annotations

import json
import re
from collections import deque
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.kernels import Means, ensure_kernel, lock_kernels, snapshot, source_of
from runner.kernels.archive import Archive
from runner.kernels.served import NotWholeError
from runner.kernels.snapshot import ArchiveDay, SnapshotSource, file_of, release_in, suites_at
from runner.model import Package, Pin, Wanted
from tests.integration.web_fixture import Fault, Web
from tests.samples import soon

DATA = Path(__file__).parents[1] / "data/archive"
DAY = "20251101T083000Z"
LIST = f"archive/debian/{DAY}/dists/sid/main/binary-amd64/Packages.gz"
IMAGE = "pool/linux-image-6.12.10+deb13-amd64_6.12.10-1_amd64.deb"


def names(*packages: str) -> bytes:
    return json.dumps({"_comment": "foo", "result": [{"name": name, "version": "?"} for name in packages]}).encode()


def files(*seen: tuple[str, str, str]) -> bytes:
    """What the archive says of an image that was seen: architecture, archive, timestamp."""
    return json.dumps(
        {
            "_comment": "foo",
            "result": [{"hash": f"{number:040}", "architecture": arch} for number, (arch, _, _) in enumerate(seen)],
            "fileinfo": {
                f"{number:040}": [
                    {"archive_name": archive, "first_seen": when, "name": "x.deb", "path": "/pool", "size": 1}
                ]
                for number, (_, archive, when) in enumerate(seen)
            },
        }
    ).encode()


@pytest.fixture(autouse=True)
def server(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny archive of the tests as it was on one day, where it is sid, and what the JSON says of it."""
    monkeypatch.setenv("RUNNER_SNAPSHOT", web.address)
    monkeypatch.setattr(snapshot, "KEYRING", DATA / "keyring.gpg")
    web.folders[f"archive/debian/{DAY}/dists/sid/"] = DATA / "dists/trixie"
    web.folders[f"archive/debian/{DAY}/pool/"] = DATA / "pool"
    versions = ("6.12.9-1", "6.12.10-1", "6.12.10-1~bpo12+1", "7.2.1-1", "7.3~rc1-1~exp1", "2.6.32-5+dfsg.1", "odd")
    web.files["mr/package/linux/"] = json.dumps({"result": [{"version": one} for one in versions]}).encode()
    for version in ("6.12.9", "6.12.10", "7.2.1"):
        release = f"{version}+deb13-amd64"
        web.files[f"mr/package/linux/{version}-1/binpackages"] = names(
            "linux-doc", f"linux-headers-{version}+deb13-cloud-amd64", f"linux-headers-{release}"
        )
        web.files[f"mr/binary/linux-image-{release}/{version}-1/binfiles?fileinfo=1"] = files(("amd64", "debian", DAY))


def pinned(text: str, cache: Path, arch: str = "x86_64") -> tuple[Pin, ...]:
    wanted = Wanted(name="it", source=f"snapshot:{text}", arch=arch)
    return lock_kernels(wanted, Means(Archive(cache), cache, soon()))


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        ("6.12.9", ["6.12.9+deb13-amd64"]),
        (">=6.0", ["6.12.10+deb13-amd64"]),  # the modules of 7.2.1 are missing, nothing was built of the candidate
        (">=6.0,<7/all", ["6.12.9+deb13-amd64", "6.12.10+deb13-amd64"]),
    ],
)
def test_what_is_meant(tmp_path: Path, text: str, releases: list[str]) -> None:
    assert [kernel.release for kernel in pinned(text, tmp_path)] == releases


def test_a_pin_names_the_digests_of_the_signed_list(tmp_path: Path, web: Web) -> None:
    (kernel,) = pinned("6.12.10", tmp_path)
    (file,) = kernel.files
    assert (kernel.version, file.name) == ("6.12.10", Path(IMAGE).name)
    assert file.where == f"archive/debian/{DAY}/{IMAGE}"
    assert file.size_bytes == (DATA / IMAGE).stat().st_size
    means = Means(Archive(tmp_path), tmp_path, soon())
    assert source_of(kernel.source).lost(kernel, means) == ""
    found = ensure_kernel(kernel, tmp_path, deadline=soon())
    assert Path(found.image).read_text() == "linux-image-6.12.10+deb13-amd64 6.12.10-1\n"


def test_a_list_is_fetched_once_and_kept_without_what_is_no_kernel(tmp_path: Path, web: Web) -> None:
    pinned("6.12.10", tmp_path)
    pinned("6.12.9", tmp_path)
    assert web.asked.count(f"GET {LIST}") == 1
    (kept,) = (tmp_path / "snapshot").iterdir()
    assert b"Package: linux-image-6.12.9" in kept.read_bytes()
    assert b"Package: tool" not in kept.read_bytes()


def test_it_comes_through_faults_that_pass(tmp_path: Path, web: Web) -> None:
    for path in ("mr/package/linux/", LIST, f"archive/debian/{DAY}/dists/sid/InRelease"):
        web.fail(path, Fault(status=429, headers={"Retry-After": "0"}), Fault(status=503), Fault(cut_at=3))
    web.files["elsewhere"] = (DATA / IMAGE).read_bytes()
    web.fail(f"archive/debian/{DAY}/{IMAGE}", Fault(status=302, headers={"Location": "/elsewhere"}))
    (kernel,) = pinned("6.12.10", tmp_path)
    assert ensure_kernel(kernel, tmp_path, deadline=soon()).sha256


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        (LIST, (DATA / "dists/forky/main/binary-amd64/Packages.gz").read_bytes(), "is signed"),
        (f"archive/debian/{DAY}/dists/sid/InRelease", b"Suite: sid\n", "no good signature"),
        ("mr/package/linux/", b"<html>Under maintenance</html>", "has an unexpected answer"),
        ("mr/package/linux/", b'{"result": [{"version": 7}]}', "has an unexpected answer"),
    ],
    ids=["a list that lies", "not signed", "a page", "another form"],
)
def test_what_is_not_right_is_refused(tmp_path: Path, web: Web, path: str, content: bytes, says: str) -> None:
    web.faults[path] = deque([Fault(content=content)] * 9)
    with pytest.raises(InfraError, match=says):
        pinned("6.12.10", tmp_path)
    assert not (tmp_path / "snapshot").exists()


def test_an_index_of_another_name_for_a_file_is_no_answer(tmp_path: Path, web: Web) -> None:
    """The JSON says that there is a build, and when; without a signed list that has it, there is none."""
    web.files["mr/package/linux/"] = b'{"result": [{"version": "6.12.11-1"}]}'
    release = "6.12.11+deb13-amd64"
    web.files["mr/package/linux/6.12.11-1/binpackages"] = names(f"linux-headers-{release}")
    path = f"mr/binary/linux-image-{release}/6.12.11-1/binfiles?fileinfo=1"
    web.files[path] = files(("amd64", "debian", DAY))
    with pytest.raises(UserError, match=r"snapshot:6\.12\.11: no kernel") as caught:
        pinned("6.12.11", tmp_path)
    assert "no signed list names all packages of 6.12.11+deb13-amd64" in caught.value.hint
    web.files[path] = files(
        ("riscv64", "debian", DAY),
        ("amd64", "debian-ports", DAY),
        ("amd64", "debian", "../../x"),
        ("amd64", "debian", "99991231T235959Z"),
    )
    with pytest.raises(UserError) as caught:
        pinned("6.12.11", tmp_path)
    assert "only in debian-ports" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "arch", "says"),
    [
        ("6.4", "x86_64", "names no such version"),
        ("6.12", "arm64", "not built for arm64"),
        ("7.2", "x86_64", "no signed list names all packages of 7.2.1+deb13-amd64"),
        ("7.3", "x86_64", "binpackages is not there"),
    ],
)
def test_what_there_is_not(tmp_path: Path, text: str, arch: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        pinned(text, tmp_path, arch)
    assert says in caught.value.hint


@pytest.mark.parametrize("path", ["pool/../../../etc/x.deb", "/etc/x.deb", "pool/x.rpm"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    package = Package(name="k", version="1", architecture="amd64", suite="sid", sha256="0" * 64, size_bytes=1)
    with pytest.raises(InfraError, match=re.escape(path)):
        file_of(package, path, ArchiveDay("debian", DAY))


def test_a_list_that_names_it_only_some_hours_later(tmp_path: Path, web: Web) -> None:
    web.folders = {f"archive/debian/20251101T203000Z/{name}/": folder for name, folder in (
        ("dists/sid", DATA / "dists/trixie"), ("pool", DATA / "pool"))}  # fmt: skip
    (kernel,) = pinned("6.12.10", tmp_path)
    assert kernel.files[0].where == f"archive/debian/20251101T203000Z/{IMAGE}"


def test_builds_of_one_version_are_tried_from_the_newest_on(tmp_path: Path, web: Web) -> None:
    del web.files["mr/package/linux/6.12.10-1/binpackages"]
    with pytest.raises(UserError) as caught:
        pinned("6.12.10", tmp_path)
    asked = [path for path in web.asked if "binpackages" in path]
    assert asked == [f"GET mr/package/linux/{build}/binpackages" for build in ("6.12.10-1", "6.12.10-1~bpo12+1")]
    assert "6.12.10-1~bpo12+1: " in caught.value.hint


def test_the_generic_release_among_what_a_build_made() -> None:
    old = ["linux-cpupower", "linux-image-6.5.0-4-rt-amd64-unsigned", "linux-image-6.5.0-4-cloud-amd64-unsigned"]
    assert release_in([*old, "linux-image-6.5.0-4-amd64-unsigned", "linux-image-6.5.0-4-arm64"], "x86_64") == (
        "6.5.0-4-amd64"
    )
    with pytest.raises(NotWholeError, match="not built for amd64"):
        release_in(old, "x86_64")


@pytest.mark.parametrize(
    ("archive", "build", "first"),
    [
        ("debian", "6.5.10-1", "sid"),
        ("debian", "6.5.10-1~bpo12+1", "bookworm-backports"),
        ("debian", "6.6~rc1-1~exp1", "experimental"),
        ("debian-security", "6.1.112-1", "bullseye-security"),
    ],
)
def test_where_a_build_was_when_it_was_new(archive: str, build: str, first: str) -> None:
    assert suites_at(archive, build)[0] == first
    assert suites_at("debian", "6.5.10-1~bpo99+1") == ()


def test_the_entry_of_a_matrix() -> None:
    (wanted,) = SnapshotSource(snapshot=">=6.0", which="all").wanted("arm64")
    assert (wanted.name, wanted.source, wanted.which) == ("snapshot", "snapshot:>=6.0/all", "all")
    assert SnapshotSource(snapshot="6.5.10").called == "snapshot-6.5.10"


def test_offers_are_what_the_server_names(tmp_path: Path, web: Web) -> None:
    found = list(SnapshotSource.offers([], ["x86_64"], Means(Archive(tmp_path), tmp_path, soon())))
    assert [offer.source for offer in found] == [
        "snapshot:6.12.9", "snapshot:6.12.10", "snapshot:7.2.1", "snapshot:7.3-rc1",
    ]  # fmt: skip
