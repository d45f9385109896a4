# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in rpm packages: real ones, made by rpmbuild, in a repository on 127.0.0.1."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.kernels import Means, ensure_kernel, lock_kernels, offered, source_of
from runner.kernels.archive import Archive
from runner.kernels.rpm import ListedRpm, RpmSource, uname_of, upstream_of
from runner.matrix.lock import settle
from runner.model import Lock, Pin, PinnedFile, Wanted, WantedImage
from tests.integration.rpm_fixture import MISSING, Signer, build_rpm, index, signing
from tests.integration.web_fixture import Web
from tests.samples import soon

live = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: not installed")
FEDORA = {"6.11.4-301.fc41": "", "6.11.10-300.fc41": "", "6.12.1-200.fc41": "without modules"}


def fill(folder: Path, release: str) -> dict[str, Path]:
    """The files of each package of a kernel, laid out as Fedora's."""
    base = Path("lib/modules") / release
    files = {
        "kernel-core": {"vmlinuz": f"kernel {release}", "config": "CONFIG_X86_64=y\n", "modules.builtin": ""},
        "kernel-modules-core": {"modules.order": "", "kernel/net/y.ko": ""},
        "kernel-modules": {"kernel/net/x.ko": ""},
    }
    for name, its in files.items():
        for path, text in its.items():
            file = folder / name / base / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (folder / "kernel-core" / base / "build").symlink_to("/usr/src/kernels")
    return {name: folder / name for name in files}


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with signing() as one:
        yield one


@pytest.fixture(scope="module")
def packages(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with kernels as Fedora packs them."""
    folder = tmp_path_factory.mktemp("rpm")
    repository = folder / "repository"
    repository.mkdir()
    for number, (build, fault) in enumerate(FEDORA.items()):
        release = f"{build}.x86_64"
        for name, content in fill(folder / str(number), release).items():
            if not (fault and name == "kernel-modules"):
                provides = {"kernel-uname-r": release} if name == "kernel-core" else {}
                build_rpm(f"{name}-{build}.x86_64", content, repository, provides)
    signer.sign(*sorted(repository.glob("*.rpm")))
    index(repository)
    return repository


@dataclass(frozen=True)
class Fedora:
    """A copy of it that a test may damage, served as .../x86_64/os/."""

    web: Web
    folder: Path
    signer: Signer

    def text(self, versions: str) -> str:
        key = "versions" if versions[:1] in "<>" else "series"
        entry = {"rpm": {"uri": f"{self.web.address}/fedora/$basearch/os/", "key": str(self.signer.key)}, key: versions}
        return RpmSource.model_validate(entry).text


@pytest.fixture
def fedora(web: Web, packages: Path, signer: Signer, tmp_path: Path) -> Fedora:
    copy = Path(shutil.copytree(packages, tmp_path / "repository"))
    web.folders["fedora/x86_64/os/"] = copy
    return Fedora(web, copy, signer)


def pinned(source: str, cache: Path) -> tuple[Pin, ...]:
    return lock_kernels(Wanted(name="it", source=source, arch="x86_64"), Means(Archive(cache), cache, soon()))


@live
@pytest.mark.parametrize(
    ("versions", "releases"),
    [
        ("6.11", ["6.11.10-300.fc41.x86_64"]),
        ("6.11.4", ["6.11.4-301.fc41.x86_64"]),
        ("6.11.4-301.fc41", ["6.11.4-301.fc41.x86_64"]),
        (">=6", ["6.11.10-300.fc41.x86_64"]),  # of 6.12.1 the modules are missing
    ],
)
def test_what_is_meant(fedora: Fedora, tmp_path: Path, versions: str, releases: list[str]) -> None:
    source = fedora.text(versions)
    assert source_of(source).text == source
    assert [pin.release for pin in pinned(source, tmp_path)] == releases


@live
def test_what_is_pinned_is_fetched_and_unpacked(fedora: Fedora, tmp_path: Path) -> None:
    (pin,) = pinned(fedora.text("6.11"), tmp_path)
    names = [f"kernel-{part}-6.11.10-300.fc41.x86_64.rpm" for part in ("core", "modules", "modules-core")]
    assert (pin.version, [file.name for file in pin.files]) == ("6.11.10", names)
    means = Means(Archive(tmp_path), tmp_path, soon())
    assert source_of(pin.source).lost(pin, means) == ""
    kernel = ensure_kernel(pin, tmp_path, deadline=soon())
    assert Path(kernel.image).read_text() == f"kernel {pin.release}"
    (fedora.folder / names[1]).unlink()
    assert source_of(pin.source).lost(pin, means) == f"{names[1]} is not there any more"


@live
def test_every_offer_can_be_locked_by_its_own_source(fedora: Fedora, tmp_path: Path) -> None:
    named = fedora.text("6.11")
    offers = offered((named,), ("x86_64",), Means(Archive(tmp_path), tmp_path, soon()), words=("rpm",))
    assert [pin.release for pin in offers] == ["6.11.4-301.fc41.x86_64", "6.11.10-300.fc41.x86_64"]
    assert [pinned(pin.source, tmp_path) for pin in offers] == [(pin,) for pin in offers]


@live
def test_a_list_that_is_signed_is_checked(fedora: Fedora, tmp_path: Path) -> None:
    source, listed = fedora.text("6.11"), fedora.folder / "repodata/repomd.xml"
    fedora.signer.detached(listed)
    assert pinned(source, tmp_path)
    listed.write_bytes(listed.read_bytes() + b"\n")
    with pytest.raises(InfraError, match=r"repomd\.xml has no good signature"):
        pinned(source, tmp_path)


@live
def test_a_list_that_is_not_what_the_index_says_is_refused(fedora: Fedora, tmp_path: Path) -> None:
    (packed,) = fedora.folder.glob("repodata/*-primary.xml.gz")
    packed.write_bytes(packed.read_bytes() + b"\n")
    with pytest.raises(InfraError, match=r"sha256 is .* instead of"):
        pinned(fedora.text("6.11"), tmp_path)


@live
@pytest.mark.parametrize("who", ["nobody", "another key"])
def test_a_package_that_no_trusted_key_signed_is_never_unpacked(fedora: Fedora, tmp_path: Path, who: str) -> None:
    """The list names its digest: whoever has the server can write a list."""
    evil = {}
    for name, content in fill(tmp_path / "evil", "6.11.99-1.fc41.x86_64").items():
        provides = {"kernel-uname-r": "6.11.99-1.fc41.x86_64"} if name == "kernel-core" else {}
        evil[name] = build_rpm(f"{name}-6.11.99-1.fc41.x86_64", content, fedora.folder, provides)
    core = evil.pop("kernel-core")
    fedora.signer.sign(*evil.values())
    if who == "another key":
        with signing() as another:
            another.sign(core)
    index(fedora.folder)
    (pin,) = pinned(fedora.text("6.11"), tmp_path)
    assert pin.version == "6.11.99"
    with pytest.raises(InfraError, match=r"without a good signature of a key in (.*\n)*.*kernel-core-6\.11\.99"):
        ensure_kernel(pin, tmp_path, deadline=soon())
    assert not [path for path in (tmp_path / "kernels").rglob("*") if path.suffix != ".lock"]


@live
def test_an_old_package_does_not_pass_for_a_new_one(fedora: Fedora, tmp_path: Path) -> None:
    (old,) = pinned(fedora.text("6.11.4"), tmp_path)
    lie = old.model_copy(update={"release": "6.11.10-300.fc41.x86_64", "version": "6.11.10"})
    with pytest.raises(InfraError, match=r"has kernel 6\.11\.4-301\.fc41\.x86_64, and 6\.11\.10-300"):
        ensure_kernel(lie, tmp_path, deadline=soon())


@live
def test_what_is_not_there(fedora: Fedora, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no kernel-core 7\.1 for x86_64") as caught:
        pinned(fedora.text("7.1"), tmp_path)
    assert caught.value.hint == "there are 6.11.4, 6.11.10"
    fedora.web.folders.clear()
    with pytest.raises(InfraError, match=r"repomd\.xml is not there"):
        pinned(fedora.text("6.11"), tmp_path)


@live
def test_a_file_of_keys_that_is_not_there_is_the_users_mistake(fedora: Fedora, tmp_path: Path) -> None:
    """Also of a kernel that is pinned already, unless that is in the cache."""
    (pin,) = pinned(fedora.text("6.11"), tmp_path)
    fedora.signer.key.rename(fedora.signer.key.with_name("away"))
    try:
        for before in (Lock(), Lock(kernels=(pin,))):
            with pytest.raises(UserError, match=r"^matrix\.yaml:3: .*key\.asc: cannot be read: No such file"):
                settle(
                    [Wanted(name="it", source=pin.source, arch="x86_64")],
                    WantedImage(suite="trixie"),
                    before,
                    Means(Archive(tmp_path), tmp_path, soon()),
                    mode="keep",
                    offline=False,
                    places={pin.source: "matrix.yaml:3"},
                )
    finally:
        fedora.signer.key.with_name("away").rename(fedora.signer.key)


def test_without_rpm_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(InfraError, match="rpmkeys is not installed") as caught:
        pinned(RpmSource.example, tmp_path)
    assert caught.value.hint == "sudo apt-get install --no-install-recommends rpm"


@pytest.mark.parametrize(
    ("name", "build", "provides", "release"),
    [
        ("kernel-core", "6.11.4-301.fc41", {"kernel-uname-r": "6.11.4-301.fc41.x86_64"}, "6.11.4-301.fc41.x86_64"),
        (
            "kernel-rt-core",
            "5.14.0-503.el9",
            {"kernel-rt-uname-r": "5.14.0-503.el9.x86_64+rt"},
            "5.14.0-503.el9.x86_64+rt",
        ),
        ("kernel", "6.1.112-122.189.amzn2023", {}, "6.1.112-122.189.amzn2023.x86_64"),
        ("kernel-default", "6.4.0-150600.23.33.1", {"kernel-default": "x"}, "6.4.0-150600.23.33-default"),
        ("kernel-default", "6.11.5-1.1", {}, "6.11.5-1-default"),
    ],
)
def test_the_release_of_each_distribution(name: str, build: str, provides: dict[str, str], release: str) -> None:
    file = PinnedFile(name="x", sha256="0" * 64, size_bytes=1)
    version, _, its = build.partition("-")
    assert uname_of(name, ListedRpm(version, its, provides, file), "x86_64") == release


def test_a_release_candidate_says_so() -> None:
    assert str(upstream_of("6.12.0", "0.rc3.20241018git.29.fc42")) == "6.12-rc3"
    assert str(upstream_of("5.14.0", "503.el9")) == "5.14"
    assert upstream_of("6", "1") is None


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("rpm:ftp://x.example/os?key=/k&series=6", "is not the address of a repository"),
        ("rpm:https://x.example/os?key=-k&series=6", "is not a file of keys"),
        ("rpm:https://x.example/os?key=/k&package=--all&series=6", "is not a name"),
        ("rpm:https://x.example/os?key=/k", "'series' is missing"),
    ],
)
def test_sources_that_are_not(source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        source_of(source)
