# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kernels and cells are called: no two cells alike, whatever a matrix and its lock hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runner.matrix.cells import cell_ids, kernel_names
from runner.model import CellId, Pin, PinnedFile, Settings, Wanted, Which


def kernel(version: str, content: int, *, variant: str = "", arch: str = "x86_64") -> Pin:
    files = (PinnedFile(name="image", sha256=f"{content:064x}"[::-1], size_bytes=1),)
    return Pin(source="path:/x", arch=arch, version=version, release=f"{version}-x", files=files, variant=variant)


def ids(*named: tuple[str, Pin]) -> list[str]:
    return [cell_id for cell_id, *_ in cell_ids((*one, Settings()) for one in named)]


def test_an_id_is_as_long_as_it_must_be() -> None:
    assert ids(("a", kernel("6.12.1", 1)), ("b", kernel("6.12.2", 2))) == ["6.12.1-x86_64", "6.12.2-x86_64"]
    assert ids(("a", kernel("6.12.1", 1)), ("a-rt", kernel("6.12.1", 2, variant="rt"))) == [
        "6.12.1-x86_64",
        "6.12.1-rt-x86_64",
    ]
    assert ids(("a", kernel("6.12.1", 1)), ("b", kernel("6.12.1", 2))) == ["6.12.1-a-x86_64", "6.12.1-b-x86_64"]
    assert ids(("a", kernel("6.12.1", 1)), ("a", kernel("6.12.1", 2))) == [
        "6.12.1-a-10000000-x86_64",
        "6.12.1-a-20000000-x86_64",
    ]


def test_a_kernel_that_two_entries_stand_for_is_one_cell() -> None:
    same = kernel("6.12.1", 1)
    again = same.model_copy(update={"source": "tree:/y"})
    (cell,) = cell_ids((("a", same, Settings()), ("b", again, Settings())))
    assert cell == ("6.12.1-x86_64", "a", same, Settings())
    locked = Settings(cmdline="lockdown=integrity")
    assert [cell[0] for cell in cell_ids((("a", same, Settings()), ("b", same, locked)))] == [
        "6.12.1-a-x86_64",
        "6.12.1-b-x86_64",
    ]


def named(which: Which | None, *versions: str) -> list[str]:
    wanted = Wanted(name="sid", source="debian:sid/x", arch="x86_64", which=which)
    return [name for name, _ in kernel_names(wanted, [kernel(version, 1) for version in versions])]


def test_names_of_a_range() -> None:
    assert named(None, "6.12.1") == ["sid"]
    assert named("newest-of-series", "6.12.1", "7.3-rc1") == ["sid-6.12", "sid-7.3"]
    assert named("all", "6.12.1", "6.12.2") == ["sid-6.12.1", "sid-6.12.2"]


KERNELS = st.builds(
    kernel, st.sampled_from(["6.12.1", "6.12.2", "7.3-rc1"]), st.integers(0, 5), variant=st.sampled_from(["", "rt"])
)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["a", "A", "b+c"]), KERNELS), max_size=6))
def test_no_two_cells_have_one_id(kernels: list[tuple[str, Pin]]) -> None:
    found = ids(*kernels)
    assert len(set(found)) == len(found)
    for one in found:
        TypeAdapter(CellId).validate_python(one)
