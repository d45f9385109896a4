# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where the archive is: the user's word, or the host's own apt."""

from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.kernels.archive import Mirrors, choose, find_mirrors
from runner.model.deadline import Deadline


def uris(*releases: str) -> list[str]:
    return [f"'{release}/InRelease' some_file 0 " for release in releases]


def test_the_mirror_with_an_updates_pocket_is_debians() -> None:
    found = choose(
        uris(
            "https://packages.example/linux/debian/dists/trixie",
            "http://mirror.example/debian/dists/trixie",
            "http://mirror.example/debian/dists/trixie-updates",
            "http://mirror.example/debian-security/dists/trixie-security",
        )
    )
    assert found == Mirrors("http://mirror.example/debian", "http://mirror.example/debian-security")


@pytest.mark.parametrize(
    ("mirror", "suite"),
    [("mirror+file:/etc/apt/mirrors/debian.list", "bookworm"), ("http://mirror.example/debian", "stable")],
)
def test_other_kinds_of_address_and_names_of_suites(mirror: str, suite: str) -> None:
    assert choose(uris(f"{mirror}/dists/{suite}")).main == mirror


def test_archives_of_others_are_not_debians() -> None:
    assert choose(uris("http://ubuntu.example/ubuntu/dists/noble", "https://x.example/dists/stable-x")) == Mirrors("")
    assert choose(["'http://mirror.example/debian/dists/trixie/main/binary-amd64/Packages.xz' x 0"]) == Mirrors("")


@pytest.mark.parametrize(
    "address", ["mirror.example", "http://x.example/ y", 'http://x.example/"', "[trusted=yes] http://x"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="RUNNER_MIRROR"):
        find_mirrors(deadline=Deadline.after(20, "limit"), environ={"RUNNER_MIRROR": address})
