# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""--only: which cells it picks."""

from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.matrix.cells import select, shard
from tests.samples import cell, pin

CELLS = tuple(
    cell(pin(version, arch), name)
    for version, name in (("6.1.176", "6.1"), ("6.12.107", "stable"), ("7.1.5", "7"))
    for arch in ("x86_64", "arm64")
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", ["6.1.176-x86_64", "6.1.176-arm64", "6.12.107-x86_64", "6.12.107-arm64", "7.1.5-x86_64", "7.1.5-arm64"]),
        ("arch=arm64", ["6.1.176-arm64", "6.12.107-arm64", "7.1.5-arm64"]),
        ("arch=arm64,kernel=6.*", ["6.1.176-arm64", "6.12.107-arm64"]),
        ("kernel=6.1", ["6.1.176-x86_64", "6.1.176-arm64"]),
        ("kernel=stable", ["6.12.107-x86_64", "6.12.107-arm64"]),
        ("kernel=6.1|7*, arch = x86_64|arm64", ["6.1.176-x86_64", "6.1.176-arm64", "7.1.5-x86_64", "7.1.5-arm64"]),
        ("id=7.1.5-x86_64", ["7.1.5-x86_64"]),
    ],
)
def test_terms_pick_cells(expression: str, expected: list[str]) -> None:
    assert [cell.id for cell in select(CELLS, expression)] == expected


def test_each_of_several_expressions_adds_its_cells() -> None:
    picked = select(CELLS, "arch=arm64,kernel=7*", "kernel=6.1", "arch=arm64,kernel=6.1")
    assert [cell.id for cell in picked] == ["6.1.176-x86_64", "6.1.176-arm64", "7.1.5-arm64"]
    assert select(CELLS) == select(CELLS, "") == select(CELLS, "", "arch=arm64") == CELLS
    with pytest.raises(UserError, match="'kernel=5' matches none"):
        select(CELLS, "arch=arm64", "kernel=5")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("arhc=arm64", r"unknown key 'arhc'; did you mean 'arch'\?"),
        ("arm64", r"unknown key 'arm64'; known: arch, kernel, id"),
        ("arch", r"'arch' is not KEY=VALUE"),
        ("arch=", r"'arch=' is not KEY=VALUE"),
        ("arch=|", r"is not KEY=VALUE"),
        ("arch=riscv64", r"selects nothing: 'arch=riscv64' matches none\n  arch: x86_64, arm64"),
        ("kernel=6.1|kernel=7*", r"'kernel=7\*' matches none\n  kernel: 6\.1, 6\.1\.176, stable"),
        ("arch=arm64,kernel=5.*", r"selects nothing: 'kernel=5\.\*' matches none\n  kernel: 6\.1, 6\.1\.176, stable"),
    ],
)
def test_a_useless_expression_says_what_there_is(expression: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        select(CELLS, expression)


@pytest.mark.parametrize("of", [1, 2, 3, 6])
def test_shards_hold_every_cell_once(of: int) -> None:
    parts = [shard(CELLS, f"{number}/{of}") for number in range(1, of + 1)]
    assert sorted(cell.id for part in parts for cell in part) == sorted(cell.id for cell in CELLS)
    assert {len(part) for part in parts} == {len(CELLS) // of}
    assert shard(CELLS[::-1], f"1/{of}")[::-1] == parts[0]  # the order of the matrix decides nothing


@pytest.mark.parametrize("word", ["0/2", "3/2", "1", "a/b", "1/0", "7/7"])
def test_a_shard_that_is_none_is_an_error(word: str) -> None:
    with pytest.raises(UserError, match="--shard"):
        shard(CELLS, word)
