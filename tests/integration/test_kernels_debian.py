# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in Debian's archive: which there are, and which one a source means."""

from __future__ import annotations

from pathlib import Path

import pytest
from debian import deb822

from runner.errors import UserError
from runner.kernels import Means, debian, lock_kernels, offered, source_of
from runner.kernels.archive import Archive, Listed, listed
from runner.kernels.debian import ANY, DebianSource
from runner.kernels.source import meant
from runner.model import Package, Pin, Wanted, Which
from runner.model.architecture import architecture
from runner.model.version import KernelVersion, Versions
from tests.samples import soon

BACKPORTS = Path(__file__).parents[1] / "data/kernels/trixie-backports-amd64.Packages"  # a real list, shortened


@pytest.fixture(scope="module")
def backports() -> tuple[Pin, ...]:
    paragraphs = deb822.Packages.iter_paragraphs(BACKPORTS.read_text(), use_apt_pkg=False)
    found = ANY.kernels_of(
        [listed(paragraph, "trixie-backports") for paragraph in paragraphs], "trixie-backports", "x86_64"
    )
    return tuple(offer for offer in found if not offer.variant)


def test_every_whole_kernel_of_a_real_list_is_offered_and_no_other(backports: tuple[Pin, ...]) -> None:
    assert [offer.version for offer in sorted(backports, key=lambda offer: offer.upstream)] == [
        "6.16.3", "6.16.12", "6.17.8", "6.17.13", "6.18.5", "6.18.9", "6.18.12", "6.18.15",
        "7.2.6", "7.2.9", "7.2.11", "7.2.12", "7.3.4",
    ]  # fmt: skip
    assert not any(flavour in offer.release for offer in backports for flavour in ("cloud", "rt", "unsigned"))


@pytest.mark.parametrize(
    ("version", "release", "parts"),
    [
        ("6.17.13", "6.17.13+deb13-amd64", ["image"]),
        ("6.18.15", "6.18.15+deb13-amd64", ["image"]),
        ("7.3.4", "7.3.4+deb13-amd64", ["image", "base", "binary", "modules"]),
    ],
)
def test_a_kernel_is_all_of_its_packages(
    backports: tuple[Pin, ...], version: str, release: str, parts: list[str]
) -> None:
    (offer,) = (offer for offer in backports if offer.version == version)
    assert offer.release == release
    assert [package.name for package in offer.packages] == [f"linux-{part}-{release}" for part in parts]
    assert offer.source == f"debian:trixie-backports/{offer.package_version}"


@pytest.mark.parametrize(
    ("name", "arch", "flavour"),
    [
        ("6.12.117+deb13-amd64", "x86_64", "generic"),
        ("6.1.0-56-rt-amd64", "x86_64", "rt"),
        ("6.12.117+deb13-rt-arm64", "arm64", "rt"),
        ("6.12.117+deb13-arm64-16k", "arm64", "16k"),
        ("6.12.113+deb13-riscv64", "riscv64", "generic"),
        ("6.12.113+deb13-s390x", "s390x", "generic"),
        ("6.12.113+deb13-powerpc64le", "ppc64le", "generic"),  # not the name that Debian has for the architecture
        ("7.2.13+deb14-powerpc64le-64k", "ppc64le", "64k"),
        ("6.12.117+deb13-cloud-arm64", "arm64", "cloud"),
        ("6.12.117+deb13-amd64-16k", "x86_64", None),
        ("6.12.117+deb13-amd64-dbg", "x86_64", None),
        ("6.12.117+deb13-amd64-unsigned", "x86_64", None),
        ("6.12.117+deb13-arm64", "x86_64", None),
        ("rt-amd64", "x86_64", None),
    ],
)
def test_a_packages_name_tells_the_flavour(name: str, arch: str, flavour: str | None) -> None:
    package = Package(
        name=f"linux-image-{name}",
        version="6.12.117-1",
        architecture=architecture(arch).debian,
        suite="sid",
        sha256="0" * 64,
        size_bytes=1,
    )
    found = ANY.kernels_of([Listed(package, ())], "sid", arch)
    assert [(offer.release, offer.variant or "generic") for offer in found] == ([(name, flavour)] if flavour else [])


@pytest.mark.parametrize(
    ("versions", "which", "expected"),
    [
        (">=6.12", None, [["6.12.9", "6.12.8"], ["6.18.2"], ["7.4-rc2", "7.4-rc1"]]),
        (">=6.12", "newest-of-series", [["6.12.9", "6.12.8"], ["6.18.2"], ["7.4-rc2", "7.4-rc1"]]),
        (">=6.12", "all", [["6.12.8"], ["6.12.9"], ["6.18.2"], ["7.4-rc1"], ["7.4-rc2"]]),
        (">=6.12,<7", None, [["6.12.9", "6.12.8"], ["6.18.2"]]),
        ("<=6.12", "all", [["6.1.5"], ["6.12.8"], ["6.12.9"]]),
        ("6", None, [["6.18.2", "6.12.9", "6.12.8", "6.1.5"]]),
        ("7", None, [["7.4-rc2", "7.4-rc1"]]),
        ("6.18-rc3", None, [["6.18-rc3"]]),
        (">=9", "all", []),
    ],
)
def test_a_range_is_the_newest_of_each_series_or_all_of_it(
    versions: str, which: Which | None, expected: list[list[str]]
) -> None:
    there = sorted(map(KernelVersion.parse, ("7.4-rc2", "6.12.8", "6.18-rc3", "6.12.9", "6.1.5", "6.18.2", "7.4-rc1")))
    groups = meant(there, Versions.parse(versions), which, lambda version: version)
    assert [[str(version) for version in group] for group in groups] == expected


@pytest.mark.parametrize(
    "source",
    [
        "debian:trixie/6.12",
        "debian:sid/7",
        "debian:experimental/7.3-rc7",
        "debian:sid/7.3~rc7",
        "debian:trixie/>=6.12,<7",
        "debian:trixie/>=6.12/all",
        "debian:trixie/6.12/rt",
        "debian:trixie-security/6.12.90-2",
        "debian:experimental/7.3~rc7-1~exp1",
        "debian:trixie/6.12.90-1~bpo12+1/rt",
        "debian:trixie/>=6.12/all/16k",
    ],
)
def test_sources_that_are_understood(source: str) -> None:
    assert source_of(source).text == source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("debian:trixi/6.12", "did you mean 'trixie'"),
        ("debian:trixie/6.12/rtt", "unknown flavour 'rtt'; did you mean 'rt'"),
        ("debian:trixie/6.12,7", "is not a kernel series"),
        ("debian:trixie/>=6.12,7", "is not a range of versions"),
        ("debian:trixie/>=6.12/every/rt", "which is no flavour"),
        ("debian:trixie", "is not a kernel series"),
        ("ubunt:noble/6.8", "is not a kernel source"),
        ("debian:trixie/6.12;reboot", "is not a kernel series"),
    ],
)
def test_sources_that_are_not(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        source_of(source)
    assert caught.match(message)


def lock(archive: Archive, versions: str) -> tuple[Pin, ...]:
    means = Means(archive, Path("/nonexistent"), soon())
    return lock_kernels(Wanted(name="k", source=f"debian:trixie/{versions}", arch="x86_64"), means)


def test_a_stable_suite_includes_its_pockets() -> None:
    assert DebianSource(debian="trixie", series="6").pockets == ("trixie-updates", "trixie-security")
    assert DebianSource(debian="trixie-backports", series="6").pockets == ()
    assert DebianSource(debian="sid", series="6").pockets == ()


def test_a_suite_is_locked_without_pockets_that_a_mirror_lacks(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    (locked,) = lock(archive, "6.12")
    assert (locked.version, locked.release) == ("6.12.10", "6.12.10+deb13-amd64")
    assert "trixie-security is not searched" in caplog.text


def test_a_series_that_is_not_there_says_what_is(archive: Archive) -> None:
    with pytest.raises(UserError, match=r"no kernel 7\.2 for x86_64") as caught:
        lock(archive, "7.2")
    assert caught.value.hint == "there are 6.12.9, 6.12.10, 7.1.2, 7.3-rc1"


def test_a_range_is_locked_to_the_newest_of_each_series_or_to_all(archive: Archive) -> None:
    assert [one.version for one in lock(archive, ">=6.12")] == ["6.12.10", "7.1.2", "7.3-rc1"]
    assert [one.version for one in lock(archive, ">=6.12/all")] == ["6.12.9", "6.12.10", "7.1.2", "7.3-rc1"]
    assert {one.source for one in lock(archive, ">=6.12,<7/all")} == {"debian:trixie/>=6.12,<7/all"}


def test_one_of_two_builds_of_a_version_can_be_named(
    backports: tuple[Pin, ...], archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    (offer,) = (offer for offer in backports if offer.version == "6.17.13")
    package = offer.packages[0].model_copy(update={"version": "6.17.13-10~bpo13+1"})
    newer = offer.model_copy(update={"release": "6.17.13+deb13.1-amd64", "packages": (package,)})
    means = Means(archive, Path("/nonexistent"), soon())

    def pinned(versions: str) -> str:
        (pin,) = source_of(f"debian:trixie-backports/{versions}").pins("x86_64", means)
        return pin.release

    for order in ((offer, newer), (newer, offer)):
        monkeypatch.setattr(DebianSource, "kernels", lambda *_, order=order: order)
        assert pinned("6.17.13") == newer.release  # a higher revision of Debian's is newer
        assert pinned(offer.package_version) == offer.release
        assert pinned(newer.package_version) == newer.release
    with pytest.raises(UserError, match=r"no kernel 6\.17\.13-3 for") as caught:
        pinned("6.17.13-3")
    assert caught.value.hint == f"there are {offer.package_version}, {newer.package_version}"


def test_every_offer_can_be_locked_by_its_own_source(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SUITES", ("trixie",))
    means = Means(archive, Path("/nonexistent"), soon())
    offers = offered((), ("x86_64",), means, words=("debian",))
    locked = [lock_kernels(Wanted(name="k", source=it.source, arch=it.arch), means) for it in offers]
    assert locked == [(offer,) for offer in offers] != []
