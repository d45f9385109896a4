# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner kernels lock` says of a pin that moved."""

from __future__ import annotations

from runner.matrix.lock import replaced
from runner.model import Pin


def pin(version: str, *, build: str = "1", source: str = "debian:trixie/6.12") -> Pin:
    return Pin(source=source, arch="x86_64", version=version, release=f"{version}+{build}")


def test_a_pin_that_moved_says_what_it_was() -> None:
    old, new = pin("6.12.117"), pin("6.12.118")
    assert replaced(new, [old], [new]) == " (was 6.12.117)"
    assert replaced(old, [old], [old]) == ""
    assert replaced(new, [], [new]) == ""
    assert replaced(new, [pin("6.12.117", source="debian:sid/6.12")], [new]) == ""


def test_another_build_of_one_version_is_named_by_its_release() -> None:
    old, new = pin("6.12.117"), pin("6.12.117", build="2")
    assert replaced(new, [old], [new]) == " (was 6.12.117+1)"


def test_in_a_range_each_series_has_its_own_place() -> None:
    old = [pin("6.12.117"), pin("6.18.14")]
    now = [pin("6.12.117"), pin("6.18.15"), pin("7.1.2")]
    assert [replaced(kernel, old, now) for kernel in now] == ["", " (was 6.18.14)", ""]
