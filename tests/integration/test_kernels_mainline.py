# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Mainline kernels, from a server on 127.0.0.1 with the layout of the real one: whole, old, broken, lying, unsigned."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from runner.errors import InfraError, RunnerError, UserError
from runner.kernels import Means, ensure_kernel, lock_kernels, offered, source_of
from runner.kernels.archive import Archive
from runner.kernels.served import MainlineSource, NotWholeError, kernel_of
from runner.model import Pin, Wanted
from runner.model.version import KernelVersion
from tests.integration.web_fixture import Fault, Web
from tests.samples import soon

DATA = Path(__file__).parents[1] / "data/mainline"
BUILD = "6.6.12-060612-generic_6.6.12-060612.202401151235_amd64.deb"
IMAGE, MODULES = (f"v6.6.12/amd64/linux-{part}-{BUILD}" for part in ("image-unsigned", "modules"))


@pytest.fixture(autouse=True)
def server(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of DATA, as the network has it."""
    web.files |= {str(file.relative_to(DATA)): file.read_bytes() for file in DATA.rglob("*") if file.is_file()}
    monkeypatch.setenv("RUNNER_MAINLINE", web.address)
    monkeypatch.setenv("RUNNER_MAINLINE_KEYRING", str(DATA / "key.asc"))


def pinned(text: str, cache: Path, arch: str = "x86_64") -> tuple[Pin, ...]:
    wanted = Wanted(name="it", source=f"mainline:{text}", arch=arch)
    return lock_kernels(wanted, Means(Archive(cache), cache, soon()))


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        ("v6.6", ["6.6.0-060600-generic"]),  # of its two builds the one that is whole
        ("6.6", ["6.6.12-060612-generic"]),  # the build of 6.6.13 failed
        (">=6.0", ["6.6.12-060612-generic", "6.7.0-060700rc1-generic"]),  # 6.1 is not there for x86_64
        (">=6.0/all", ["6.6.0-060600-generic", "6.6.12-060612-generic", "6.7.0-060700rc1-generic"]),
    ],
)
def test_what_is_meant(tmp_path: Path, text: str, releases: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_MAINLINE_KEYRING", "unchecked")  # checked below; this is about the choice
    assert [kernel.release for kernel in pinned(text, tmp_path)] == releases


def test_a_pin_names_the_signed_digests_and_no_server(tmp_path: Path, web: Web) -> None:
    (kernel,) = pinned("6.6.12", tmp_path)
    assert (kernel.version, kernel.arch, kernel.source) == ("6.6.12", "x86_64", "mainline:6.6.12")
    assert [file.where for file in kernel.files] == [IMAGE, MODULES]
    for file in kernel.files:
        assert file.sha256 == hashlib.sha256(web.files[file.where]).hexdigest()
        assert file.size_bytes == len(web.files[file.where])
    assert web.asked[:2] == ["GET v6.6.12/amd64/CHECKSUMS", "GET v6.6.12/amd64/CHECKSUMS.gpg"]  # no list is needed


def test_it_is_fetched_whole_through_faults_that_pass(tmp_path: Path, web: Web) -> None:
    (kernel,) = pinned("6.6.12", tmp_path)
    web.fail(IMAGE, Fault(status=503), Fault(cut_at=20))
    web.fail(MODULES, Fault(content=b"x" * len(web.files[MODULES])))
    found = ensure_kernel(kernel, tmp_path, deadline=soon())
    assert Path(found.image).read_text() == "a kernel 6.6.12-060612.202401151235\n"
    assert "6.6.12 Kernel Configuration" in Path(found.config).read_text()
    assert (Path(found.root) / "lib/modules/6.6.12-060612-generic/modules.dep").exists()


def lose(web: Web, path: str) -> None:
    del web.files[path]


def flip(web: Web, path: str) -> None:
    content = bytearray(web.files[path])
    content[-1] ^= 1
    web.files[path] = bytes(content)


@pytest.mark.parametrize(("harm", "says"), [(lose, "is not there"), (flip, "sha256")])
def test_what_is_broken_is_never_in_the_cache(tmp_path: Path, web: Web, harm: type, says: str) -> None:
    (kernel,) = pinned("6.6.12", tmp_path)
    harm(web, MODULES)
    with pytest.raises(InfraError, match=says):
        ensure_kernel(kernel, tmp_path, deadline=soon())
    assert not [path for path in (tmp_path / "kernels").rglob("*") if path.suffix != ".lock"]


def test_a_package_that_left_is_noticed(tmp_path: Path, web: Web) -> None:
    (kernel,) = pinned("6.6.12", tmp_path)
    means = Means(Archive(tmp_path), tmp_path, soon())
    assert source_of(kernel.source).lost(kernel, means) == ""
    lose(web, MODULES)
    assert source_of(kernel.source).lost(kernel, means).endswith("is not there any more")


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("6.5", UserError, "the server names no such version"),
        ("v6.5", UserError, "v6.5/amd64/CHECKSUMS is not there"),
        ("6.6.13", UserError, "has no linux-image of 6.6.13 for amd64"),
        ("6.1", UserError, "v6.1/amd64/CHECKSUMS is not there"),
        ("nonsense", UserError, "not a kernel source"),
    ],
)
def test_what_there_is_not(tmp_path: Path, text: str, error: type[RunnerError], says: str) -> None:
    with pytest.raises(error) as caught:
        pinned(text, tmp_path)
    assert says in str(caught.value)


def test_modules_that_were_never_built(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_MAINLINE_KEYRING", "unchecked")
    sums = web.files["v6.6.12/amd64/CHECKSUMS"].splitlines(keepends=True)
    web.files["v6.6.12/amd64/CHECKSUMS"] = b"".join(line for line in sums if b"linux-modules" not in line)
    with pytest.raises(UserError) as caught:
        pinned("6.6.12", tmp_path)
    assert "has no linux-modules of 6.6.12" in str(caught.value)


def test_a_list_that_was_changed_is_refused(tmp_path: Path, web: Web) -> None:
    web.files["v6.6.12/amd64/CHECKSUMS"] = web.files["v6.6.12/amd64/CHECKSUMS"].replace(b"0", b"1")
    with pytest.raises(InfraError, match="no good signature"):
        pinned(">=6.0", tmp_path)


def test_a_list_whose_signature_was_taken_away_is_refused(tmp_path: Path, web: Web) -> None:
    lose(web, "v6.6.12/amd64/CHECKSUMS.gpg")
    with pytest.raises(InfraError, match="has no signature"):
        pinned("6.6", tmp_path)


def test_an_old_list_with_a_good_signature_is_not_another_version(tmp_path: Path, web: Web) -> None:
    for name in ("CHECKSUMS", "CHECKSUMS.gpg"):
        web.files[f"v6.6.14/amd64/{name}"] = web.files[f"v6.6.12/amd64/{name}"]
    with pytest.raises(UserError, match=r"mainline:6\.6\.14: no kernel"):
        pinned("6.6.14", tmp_path)


def test_without_a_key_it_is_refused_unless_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, web: Web
) -> None:
    monkeypatch.delenv("RUNNER_MAINLINE_KEYRING")
    with pytest.raises(InfraError, match="no key is known") as caught:
        pinned("6.6.12", tmp_path)
    assert "60AA7B6F30434AE68E569963E50C6A0917C622B0" in caught.value.hint
    assert not web.asked
    monkeypatch.setenv("RUNNER_MAINLINE_KEYRING", "unchecked")
    with caplog.at_level(logging.WARNING):
        assert pinned("6.6.12", tmp_path)
    assert "signatures of mainline kernels are not checked" in caplog.text


def test_a_page_that_is_no_list_of_kernels(tmp_path: Path, web: Web) -> None:
    web.files[""] = b"<html>Welcome to the portal</html>"
    with pytest.raises(InfraError, match="names no kernels"):
        pinned("6.6", tmp_path)


def test_offers_are_what_the_server_names(tmp_path: Path, web: Web) -> None:
    web.files["v5.19/arm64/CHECKSUMS"] = b""
    found = list(MainlineSource.offers([], ["x86_64", "arm64"], Means(Archive(tmp_path), tmp_path, soon())))
    assert [offer.source for offer in found if offer.arch == "arm64"] == [
        "mainline:v6.1", "mainline:v6.6", "mainline:6.6.12", "mainline:6.6.13", "mainline:6.7-rc1",
    ]  # fmt: skip
    assert len(web.asked) == 1


def test_real_names_of_packages() -> None:
    sums = "".join(
        f"{number:064x}  {name}\n"
        for number, name in enumerate(
            (
                "linux-headers-6.17.0-061700rc6-generic_6.17.0-061700rc6.202509142238_amd64.deb",
                "linux-headers-6.17.0-061700rc6_6.17.0-061700rc6.202509142238_all.deb",
                "linux-image-unsigned-6.17.0-061700rc6-generic_6.17.0-061700rc6.202509142238_amd64.deb",
                "linux-modules-6.17.0-061700rc6-generic_6.17.0-061700rc6.202509142238_amd64.deb",
                "linux-image-unsigned-6.17.0-061700rc6-generic-64k_6.17.0-061700rc6.202509142238_arm64.deb",
            )
        )
    )
    release, digests = kernel_of(sums, KernelVersion.parse("6.17-rc6"), "amd64")
    assert release == "6.17.0-061700rc6-generic"
    assert [int(digest, 16) for digest in digests.values()] == [2, 3]
    for version in ("6.17", "6.17-rc5", "6.1"):
        with pytest.raises(NotWholeError, match="no linux-image"):
            kernel_of(sums, KernelVersion.parse(version), "amd64")


def test_the_entry_of_a_matrix() -> None:
    entry = MainlineSource(mainline=">=6.0")
    (wanted,) = entry.wanted("x86_64")
    assert (wanted.name, wanted.source, wanted.which) == ("mainline", "mainline:>=6.0", "newest-of-series")
    (wanted,) = MainlineSource(mainline="v6.6", name="lts").wanted("x86_64")
    assert (wanted.name, wanted.source, wanted.which) == ("lts", "mainline:v6.6", None)
    assert MainlineSource(mainline="6.6").called == "mainline-6.6"
    for wrong in ("6.6/all", "newest", "", ">6.0,6.6"):
        with pytest.raises(ValueError, match="stable series"):
            MainlineSource(mainline=wrong)
    with pytest.raises(ValueError, match="put it in quotes"):
        MainlineSource.model_validate({"mainline": 6.10})


def test_servers_that_nobody_named_are_not_asked(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    means = Means(Archive(tmp_path), tmp_path, soon())
    monkeypatch.setattr("runner.kernels.SOURCES", (MainlineSource,))
    monkeypatch.delenv("RUNNER_MAINLINE")
    assert offered([], ["x86_64"], means) == ()
    monkeypatch.setattr(MainlineSource, "server", web.address)
    assert offered(["mainline:6.6"], ["x86_64"], means)
    assert offered([], ["x86_64"], means, words=["mainline"])
    assert not offered(["mainline:6.6"], ["x86_64"], means, words=["debian"])
    monkeypatch.setenv("RUNNER_MAINLINE", web.address)
    assert offered([], ["x86_64"], means)
