# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The table of architectures."""

from __future__ import annotations

from pathlib import Path

import pytest
import virtme.architectures
import virtme_ng.run

import runner
from runner.errors import UserError
from runner.model.architecture import ARCHITECTURES, Architecture, architecture, by_uname


def test_there_are_five_of_both_byte_orders() -> None:
    assert tuple(ARCHITECTURES) == ("x86_64", "arm64", "riscv64", "s390x", "ppc64le")
    assert {row.byte_order for row in ARCHITECTURES.values()} == {"little", "big"}


@pytest.mark.parametrize(
    "column", ["name", "uname", "debian", "flavour", "multiarch", "vng", "qemu", "qemu_package", "loader"]
)
def test_no_two_rows_share_what_names_them(column: str) -> None:
    values = [getattr(row, column) for row in ARCHITECTURES.values()]
    assert len(set(values)) == len(values)


def test_names_are_translated() -> None:
    arm64 = architecture("arm64")
    assert (arm64.uname, arm64.debian, arm64.qemu) == ("aarch64", "arm64", "qemu-system-aarch64")
    assert by_uname("aarch64") is arm64
    assert by_uname("x86_64") is architecture("x86_64")
    assert by_uname("mips") is None


@pytest.mark.parametrize(("name", "hint"), [("amd64", r"did you mean 'x86_64'\?"), ("vax", "known: x86_64, arm64")])
def test_an_unknown_one_says_what_may_be_meant(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown architecture '{name}'\n  {hint}"):
        architecture(name)


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_vng_knows_it_and_makes_the_same_machine(row: Architecture) -> None:
    """What the table says of a machine is what vng does, or the raw boots of the bench are no measure of ours."""
    known = virtme_ng.run.ARCH_MAPPING[row.vng]["qemu_name"]
    theirs = virtme.architectures.get(known)
    assert row.qemu == f"qemu-system-{theirs.qemuname}"
    assert row.machine in theirs.qemuargs(False, False, False)
    assert theirs.serial_console_args() == [row.console]
    assert " ".join(theirs.qemu_serial_console_args()) == row.serial
    assert row.image in theirs.img_name()


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_set_up_installs_its_emulator(row: Architecture) -> None:
    lines = (Path(runner.__file__).parent / "packages.txt").read_text().splitlines()
    assert row.qemu_package in [line.split()[0] for line in lines]
