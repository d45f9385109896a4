"""The table of architectures."""

from __future__ import annotations

import pytest

from runner.architecture import ARCHITECTURES, architecture, by_uname
from runner.errors import MatrixError


def test_the_first_two_are_there() -> None:
    assert {"x86_64", "arm64"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("column", ["name", "uname", "debian", "multiarch", "vng", "qemu", "loader"])
def test_no_two_rows_share_what_names_them(column: str) -> None:
    values = [getattr(row, column) for row in ARCHITECTURES.values()]
    assert len(set(values)) == len(values)


def test_names_are_translated() -> None:
    arm64 = architecture("arm64")
    assert (arm64.uname, arm64.debian, arm64.qemu) == ("aarch64", "arm64", "qemu-system-aarch64")
    assert by_uname("aarch64") is arm64
    assert by_uname("x86_64") is architecture("x86_64")
    assert by_uname("mips") is None


def test_an_unknown_one_says_which_are_known() -> None:
    with pytest.raises(MatrixError, match="unknown architecture 'amd64'\n  known: x86_64, arm64"):
        architecture("amd64")
