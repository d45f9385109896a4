"""Kernels in Debian's archive: which there are, and which one a source means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from debian import deb822

from runner.errors import UserError
from runner.kernels import Means, Offer, debian, lock_kernels
from runner.kernels.archive import Archive, Listed, listed
from runner.kernels.debian import offers_of, parse_source, suites_of
from runner.kernels.source import choose
from runner.model import Package, Pin, Wanted, Which
from runner.model.architecture import architecture
from runner.model.version import KernelVersion, Versions
from tests.unit.archive_fixture import archive, mirror, soon

__all__ = ["archive", "mirror"]  # fixtures

BACKPORTS = Path(__file__).parents[1] / "data/kernels/trixie-backports-amd64.Packages"  # a real list, shortened


@pytest.fixture(scope="module")
def backports() -> tuple[Offer, ...]:
    paragraphs = deb822.Packages.iter_paragraphs(BACKPORTS.read_text(), use_apt_pkg=False)
    found = offers_of([listed(paragraph, "trixie-backports") for paragraph in paragraphs], "trixie-backports", "x86_64")
    return tuple(offer for offer in found if not offer.variant)


def test_every_whole_kernel_of_a_real_list_is_offered_and_no_other(backports: tuple[Offer, ...]) -> None:
    assert [str(offer.version) for offer in sorted(backports)] == [
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
    backports: tuple[Offer, ...], version: str, release: str, parts: list[str]
) -> None:
    (offer,) = (offer for offer in backports if str(offer.version) == version)
    assert offer.release == release
    assert [package.name for package in offer.packages] == [f"linux-{part}-{release}" for part in parts]
    assert offer.source == f"debian:trixie-backports/{offer.build}"


@pytest.mark.parametrize(
    ("series", "version"),
    [("6.18", "6.18.15"), ("6.17.8", "6.17.8"), ("6", "6.18.15"), ("7", "7.3.4"), ("7.2", "7.2.12")],
)
def test_the_newest_of_a_series(backports: tuple[Offer, ...], series: str, version: str) -> None:
    (found,) = choose(backports, Versions.parse(series))
    assert str(found.version) == version


def test_a_higher_debian_revision_of_a_version_is_newer(backports: tuple[Offer, ...]) -> None:
    (offer,) = (offer for offer in backports if str(offer.version) == "6.17.13")
    package = offer.packages[0].model_copy(update={"version": "6.17.13-10~bpo13+1"})
    again = replace(offer, build=package.version, packages=(package,))
    for order in ((offer, again), (again, offer)):
        assert choose(order, Versions.parse("6.17")) == (again,)


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
        ("6.12.117+deb13-cloud-arm64", "arm64", None),
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
    found = offers_of([Listed(package, ())], "sid", arch)
    assert [(offer.release, offer.variant or "generic") for offer in found] == ([(name, flavour)] if flavour else [])


def of_versions(*texts: str) -> list[Offer]:
    return [
        Offer(source=f"debian:sid/{text}", arch="x86_64", version=KernelVersion.parse(text), release=text, suite="sid")
        for text in texts
    ]


@pytest.mark.parametrize(
    ("versions", "which", "expected"),
    [
        (">=6.12", "newest-of-series", ["6.12.9", "6.18.2", "7.4-rc2"]),
        (">=6.12", "all", ["6.12.8", "6.12.9", "6.18.2", "7.4-rc1", "7.4-rc2"]),
        (">=6.12,<7", "newest-of-series", ["6.12.9", "6.18.2"]),
        ("<=6.12", "all", ["6.1.5", "6.12.8", "6.12.9"]),
        ("6", "newest-of-series", ["6.18.2"]),
        ("6.18-rc3", "newest-of-series", ["6.18-rc3"]),
        (">=9", "all", []),
    ],
)
def test_a_range_is_the_newest_of_each_series_or_all_of_it(versions: str, which: Which, expected: list[str]) -> None:
    there = of_versions("7.4-rc2", "6.12.8", "6.18-rc3", "6.12.9", "6.1.5", "6.18.2", "7.4-rc1")
    assert [str(offer.version) for offer in choose(there, Versions.parse(versions), which)] == expected


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
        "debian:trixie/v7.3",
        "debian:trixie-security/6.12.90-2",
        "debian:experimental/7.3~rc7-1~exp1",
        "debian:trixie/6.12.90-1~bpo12+1/rt",
        "debian:trixie/>=6.12/all/16k",
    ],
)
def test_sources_that_are_understood(source: str) -> None:
    assert parse_source(source).text == source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("debian:trixi/6.12", "did you mean 'trixie'"),
        ("debian:buster/5.10", "unknown Debian suite 'buster'"),
        ("debian:trixie/6.12.x", "is not a kernel source|neither"),
        ("debian:trixie/6.12/rtt", "unknown Debian flavour 'rtt' in .*\n.*did you mean 'rt'"),
        ("debian:trixie/6.12,7", "neither a kernel series nor a version nor a range"),
        ("debian:trixie/>=6.12/every/rt", "is not a kernel source"),
        ("debian:trixie/6.", "neither a kernel series nor a version"),
        ("debian:trixie", "is not a kernel source"),
        ("ubuntu:noble/6.8", "is not a kernel source"),
        ("debian:trixie/6.12;reboot", "neither a kernel series"),
    ],
)
def test_sources_that_are_not(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_source(source)
    assert caught.match(message)


def lock(archive: Archive, versions: str) -> tuple[Pin, ...]:
    means = Means(archive, Path("/nonexistent"), soon())
    return lock_kernels(Wanted(name="k", source=f"debian:trixie/{versions}", arch="x86_64"), means)


def test_a_stable_suite_includes_its_pockets() -> None:
    assert suites_of("trixie") == ("trixie", "trixie-updates", "trixie-security")
    assert suites_of("trixie-backports") == ("trixie-backports",)
    assert suites_of("sid") == ("sid",)


def test_a_suite_is_locked_without_pockets_that_a_mirror_lacks(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    (locked,) = lock(archive, "6.12")
    assert (locked.version, locked.release) == ("6.12.10", "6.12.10+deb13-amd64")
    assert "trixie-security is not searched" in caplog.text


@pytest.mark.parametrize(("series", "version"), [("7", "7.1.2"), ("7.3", "7.3-rc1"), ("7.3-rc1", "7.3-rc1")])
def test_a_candidate_is_taken_only_when_there_is_nothing_else(archive: Archive, series: str, version: str) -> None:
    assert [locked.version for locked in lock(archive, series)] == [version]


@pytest.mark.parametrize("series", ["6.13", "7.2"])
def test_a_series_that_is_not_there_says_what_is(archive: Archive, series: str) -> None:
    with pytest.raises(UserError, match=f"no kernel {series} for x86_64") as caught:
        lock(archive, series)
    assert caught.value.hint == "there are 6.12.9, 6.12.10, 7.1.2, 7.3-rc1"


def test_a_range_is_locked_to_the_newest_of_each_series_or_to_all(archive: Archive) -> None:
    assert [one.version for one in lock(archive, ">=6.12")] == ["6.12.10", "7.1.2", "7.3-rc1"]
    assert [one.version for one in lock(archive, ">=6.12/all")] == ["6.12.9", "6.12.10", "7.1.2", "7.3-rc1"]
    assert {one.source for one in lock(archive, ">=6.12,<7/all")} == {"debian:trixie/>=6.12,<7/all"}


def test_one_of_two_builds_of_a_version_can_be_named(
    backports: tuple[Offer, ...], archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    (offer,) = (offer for offer in backports if str(offer.version) == "6.17.13")
    again = replace(offer, build="6.17.13-10~bpo13+1", release="6.17.13+deb13.1-amd64")
    monkeypatch.setattr(debian, "_offered", lambda *_: (offer, again))
    means = Means(archive, Path("/nonexistent"), soon())
    for source, release in (
        ("6.17.13", again.release),
        (offer.build, offer.release),
        (again.build, again.release),
    ):
        (locked,) = debian.lock(f"debian:trixie-backports/{source}", "x86_64", means)
        assert locked.release == release
    with pytest.raises(UserError, match=r"no kernel 6\.17\.13-3 for") as caught:
        debian.lock("debian:trixie-backports/6.17.13-3", "x86_64", means)
    assert caught.value.hint == f"there are {offer.build}, {again.build}"


def test_every_offer_can_be_locked_by_its_own_source(archive: Archive) -> None:
    means = Means(archive, Path("/nonexistent"), soon())
    for offer in debian._offered(("x86_64",), ("trixie",), means):
        (locked,) = debian.lock(offer.source, offer.arch, means)
        assert (locked.version, locked.release, locked.packages) == (
            str(offer.version),
            offer.release,
            offer.packages,
        )
