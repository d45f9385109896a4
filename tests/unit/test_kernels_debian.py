"""Kernels in Debian's archive: which there are, and which one a source means."""

from __future__ import annotations

from pathlib import Path

import pytest
from debian import deb822
from hypothesis import given
from hypothesis import strategies as st

from runner.archive import Archive, Listed, _listed
from runner.errors import MatrixError
from runner.kernels import lock_kernel
from runner.kernels.debian import Offer, matches, newest, offers, parse_source, suites_of
from runner.model import Package, Wanted
from runner.version import KernelVersion
from tests.unit.archive_fixture import archive, mirror, soon

__all__ = ["archive", "mirror"]  # fixtures

BACKPORTS = Path(__file__).parents[1] / "data/kernels/trixie-backports-amd64.Packages"  # a real list, shortened


@pytest.fixture(scope="module")
def backports() -> tuple[Offer, ...]:
    paragraphs = deb822.Packages.iter_paragraphs(BACKPORTS.read_text(), use_apt_pkg=False)
    return offers([_listed(paragraph, "trixie-backports") for paragraph in paragraphs], "trixie-backports", "x86_64")


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
    assert offer.source == f"debian:trixie-backports/{version}"


@pytest.mark.parametrize(
    ("arch", "release"),
    [
        ("riscv64", "6.12.113+deb13-riscv64"),
        ("s390x", "6.12.113+deb13-s390x"),
        ("ppc64le", "6.12.113+deb13-powerpc64le"),  # not the name that Debian has for the architecture
    ],
)
def test_the_generic_flavour_is_taken_on_each_architecture(arch: str, release: str) -> None:
    def listed(name: str) -> Listed:
        package = Package(
            name=name, version="6.12.113-1", architecture="any", suite="trixie", sha256="0" * 64, size_bytes=1
        )
        return Listed(package, ())

    names = (f"linux-image-{release}", f"linux-image-{release}-64k", f"linux-image-rt-{release}", "linux-image-6.12")
    (offer,) = offers([listed(name) for name in names], "trixie", arch)
    assert offer.release == release


@pytest.mark.parametrize(
    ("series", "version"),
    [("6.18", "6.18.15"), ("6.17.8", "6.17.8"), ("6", "6.18.15"), ("7", "7.3.4"), ("7.2", "7.2.12")],
)
def test_the_newest_of_a_series(backports: tuple[Offer, ...], series: str, version: str) -> None:
    found = newest(backports, series)
    assert found is not None
    assert str(found.version) == version


def test_a_higher_debian_revision_of_a_version_is_newer(backports: tuple[Offer, ...]) -> None:
    (offer,) = (offer for offer in backports if str(offer.version) == "6.17.13")
    package = offer.packages[0].model_copy(update={"version": "6.17.13-10~bpo13+1"})
    again = Offer(offer.suite, offer.arch, offer.version, offer.release, (package,))
    for order in ((offer, again), (again, offer)):
        assert newest(order, "6.17") is again


@given(st.integers(0, 20), st.integers(0, 30), st.integers(1, 300))
def test_a_version_is_in_its_own_series_only(major: int, minor: int, patch: int) -> None:
    version = KernelVersion(major, minor, patch)
    assert matches(version, f"{major}")
    assert matches(version, f"{major}.{minor}")
    assert matches(version, str(version))
    assert not matches(version, f"{major}.{minor + 1}")
    assert not matches(version, f"{major + 1}")
    assert not matches(version, f"{major}.{minor}.{patch + 1}")
    assert not matches(KernelVersion(major, minor), f"{major}.{minor}.{patch}")


@pytest.mark.parametrize(
    "source", ["debian:trixie/6.12", "debian:sid/7", "debian:experimental/7.3-rc7", "debian:sid/7.3~rc7"]
)
def test_sources_that_are_understood(source: str) -> None:
    assert "/".join(parse_source(source)) == source.removeprefix("debian:")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("debian:trixi/6.12", "did you mean trixie"),
        ("debian:buster/5.10", "unknown Debian suite 'buster'"),
        ("debian:trixie/6.12.x", "is not a kernel source|neither"),
        ("debian:trixie/6.", "neither a kernel series nor a version"),
        ("debian:trixie", "is not a kernel source"),
        ("ubuntu:noble/6.8", "is not a kernel source"),
        ("debian:trixie/6.12;reboot", "is not a kernel source"),
    ],
)
def test_sources_that_are_not(source: str, message: str) -> None:
    with pytest.raises(MatrixError) as caught:
        parse_source(source)
    assert caught.match(message)


def test_a_stable_suite_includes_its_pockets() -> None:
    assert suites_of("trixie") == ("trixie", "trixie-updates", "trixie-security")
    assert suites_of("trixie-backports") == ("trixie-backports",)
    assert suites_of("sid") == ("sid",)


def test_a_suite_is_locked_without_pockets_that_a_mirror_lacks(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    locked = lock_kernel(Wanted(name="k", source="debian:trixie/6.12", arch="x86_64"), archive, deadline=soon())
    assert (locked.version, locked.release) == ("6.12.10", "6.12.10+deb13-amd64")
    assert "trixie-security is not searched" in caplog.text


@pytest.mark.parametrize(("series", "version"), [("7", "7.1.2"), ("7.3", "7.3-rc1"), ("7.3-rc1", "7.3-rc1")])
def test_a_candidate_is_taken_only_when_there_is_nothing_else(archive: Archive, series: str, version: str) -> None:
    wanted = Wanted(name="k", source=f"debian:trixie/{series}", arch="x86_64")
    assert lock_kernel(wanted, archive, deadline=soon()).version == version


@pytest.mark.parametrize("series", ["6.13", "7.2"])
def test_a_series_that_is_not_there_says_what_is(archive: Archive, series: str) -> None:
    with pytest.raises(MatrixError, match=f"no kernel {series} for x86_64") as caught:
        lock_kernel(Wanted(name="k", source=f"debian:trixie/{series}", arch="x86_64"), archive, deadline=soon())
    assert caught.value.hint == "there are 6.12.9, 6.12.10, 7.1.2, 7.3-rc1"
