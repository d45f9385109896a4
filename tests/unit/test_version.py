# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernel versions and intervals over them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.version import Interval, KernelVersion, Versions, exactly

numbers = st.integers(0, 300)
versions = st.builds(
    KernelVersion, st.integers(1, 20), numbers, numbers, st.one_of(st.just(10_000), st.integers(1, 20))
)
# the example of Documentation/process/cve.rst's notation in runner/model/version.py
SINCE = ("6.1.191", "6.12.114", "7.1.5", "7.2")


@given(versions)
def test_a_version_is_read_as_it_is_written(version: KernelVersion) -> None:
    assert KernelVersion.parse(str(version)) == version


@given(versions, versions, versions)
def test_versions_have_one_order(a: KernelVersion, b: KernelVersion, c: KernelVersion) -> None:
    assert [a < b, a == b, a > b].count(True) == 1
    if a <= b <= c:
        assert a <= c


def test_the_order_is_the_order_of_releases() -> None:
    texts = ["5.19", "6.1", "6.1.9", "6.1.10", "6.2", "6.10", "6.12.107", "7.0-rc1", "7.0-rc10", "7.0", "7.0.1"]
    shuffled = sorted(texts)  # as text: 6.10 comes before 6.2
    assert shuffled != texts
    assert sorted(shuffled, key=KernelVersion.parse) == texts


def test_debians_tilde_is_a_release_candidate() -> None:
    assert KernelVersion.parse("7.3~rc7") == KernelVersion.parse("7.3-rc7") < KernelVersion.parse("7.3")
    assert KernelVersion.parse("6.12.0") == KernelVersion.parse("6.12")


@pytest.mark.parametrize(
    "text", ["", "6", "6.", "v6.1", "6.1-50", "6.1.0-50-amd64", "6.1.2.3", "6.1 ", "6.1\n", "\u0666.\u0661"]
)
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a kernel version"):
        KernelVersion.parse(text)


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        ("5.15", False),
        ("6.1.190", False),
        ("6.1.191", True),
        ("6.1.300", True),
        ("6.6.99", False),  # a series that is not named has it only after the last point
        ("6.12.113", False),
        ("6.12.114", True),
        ("7.0.9", False),
        ("7.1.4", False),
        ("7.1.5", True),
        ("7.2-rc1", False),
        ("7.2", True),
        ("7.2.1", True),
        ("7.3-rc1", True),
        ("8.0", True),
    ],
)
def test_points_are_one_per_series(version: str, inside: bool) -> None:
    assert (KernelVersion.parse(version) in Interval.parse(since=SINCE)) is inside
    assert (KernelVersion.parse(version) in Interval.parse(until=SINCE)) is not inside


@given(version=versions, points=st.lists(versions, max_size=5, unique_by=lambda point: point.series))
def test_until_is_the_complement_of_since(version: KernelVersion, points: list[KernelVersion]) -> None:
    texts = [str(point) for point in points]
    since, until = Interval.parse(since=texts), Interval.parse(until=texts)
    if points:
        assert (version in since) is (version not in until)
    else:
        assert version in since
        assert version in until


@given(version=versions, points=st.lists(versions, min_size=1, max_size=5, unique_by=lambda point: point.series))
def test_within_a_series_nothing_is_lost_again(version: KernelVersion, points: list[KernelVersion]) -> None:
    since = Interval.parse(since=[str(point) for point in points])
    later = KernelVersion(version.major, version.minor, version.patch + 1)
    assert version not in since or later in since


@given(st.lists(versions, min_size=1, max_size=5, unique_by=lambda point: point.series))
def test_the_order_of_points_does_not_matter(points: list[KernelVersion]) -> None:
    texts = [str(point) for point in points]
    assert Interval.parse(since=texts) == Interval.parse(since=reversed(texts))


def test_an_interval_between_two_points() -> None:
    interval = Interval.parse(since=["6.3"], until=["6.12.5", "6.13"])
    inside = [
        text for text in ("6.1", "6.3", "6.12.4", "6.12.5", "6.13", "7.0") if KernelVersion.parse(text) in interval
    ]
    assert inside == ["6.3", "6.12.4"]
    assert str(interval) == "since 6.3 until 6.12.5, 6.13"
    assert str(Interval()) == "every kernel"


@pytest.mark.parametrize("since", [["6.1.5", "6.1.7"], ["6.1", "6.1-rc3"], ["x"]])
def test_wrong_points_are_refused(since: list[str]) -> None:
    with pytest.raises(ValueError, match=r"two points in one series|is not a kernel version"):
        Interval.parse(since=since)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("6.12", ["6.12", "6.12.1", "6.12-rc1"], ["6.11.9", "6.13"]),
        ("7", ["7.0", "7.3-rc1", "7.9.9"], ["6.19.1", "8.0"]),
        ("v6.12", ["6.12"], ["6.12.1", "6.12-rc7"]),
        ("6.12.7", ["6.12.7"], ["6.12.70", "6.12"]),
        ("7.3-rc1", ["7.3-rc1"], ["7.3", "7.3-rc10"]),
        (">=6.12", ["6.12-rc1", "6.12", "7.3"], ["6.11.99"]),
        (">6.12", ["6.13-rc1"], ["6.12.99"]),
        ("<=6.12", ["6.12.99", "6.1"], ["6.13-rc1"]),
        ("<7", ["6.99.1"], ["7.0-rc1"]),
        (">=6.12.5,<6.13", ["6.12.5"], ["6.12.4", "6.13"]),
        (">=7.3-rc2", ["7.3-rc2", "7.3"], ["7.3-rc1"]),
    ],
)
def test_versions_as_people_name_them(text: str, inside: list[str], outside: list[str]) -> None:
    versions = Versions.parse(text)
    assert str(versions) == text
    assert [one for one in inside + outside if KernelVersion.parse(one) in versions] == inside


@pytest.mark.parametrize("text", ["", "6.", "x", "6.12.1.2", ">=", "6.1,6.2", ">=6,7", ">=6,", "0.1", ">=6;id", "=>6"])
def test_what_names_no_versions(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a series"):
        Versions.parse(text)


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 300), st.integers(1, 9) | st.none())
def test_a_version_can_be_named_alone(major: int, minor: int, patch: int, rc: int | None) -> None:
    version = KernelVersion.parse(f"{major}.{minor}-rc{rc}" if rc else f"{major}.{minor}.{patch}")
    versions = Versions.parse(exactly(version))
    assert version in versions
    assert KernelVersion(major, minor, patch + 1) not in versions
    assert KernelVersion(major, minor + 1, patch) not in versions
    assert not versions.is_range
