# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether a guest can start a user's program is known before it boots; the bytes of the program are hostile."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import UserError
from runner.model.architecture import architecture
from runner.probes import Expectations
from runner.probes.commands.binary import check_program
from runner.probes.commands.written import CommandEntry

PACKAGES = {"libc6": "2.41-12+deb13u5", "bash-static": "5.2", "python3-minimal": "3.13"}
MACHINES = {"x86_64": 62, "arm64": 183, "riscv64": 243, "s390x": 22, "ppc64le": 21}
LOADER = "/lib64/ld-linux-x86-64.so.2"


def elf(machine: int = 62, loader: str = LOADER, needs: tuple[str, ...] = ("GLIBC_2.34",), order: str = "<") -> bytes:
    """A program of 64 bits with an interpreter, and a section .gnu.version_r that needs these versions of libc.so.6."""
    interp = loader.encode() + b"\0" if loader else b""
    strings = b"\0libc.so.6\0" + b"".join(it.encode() + b"\0" for it in needs)
    offsets = [strings.index(it.encode() + b"\0") for it in needs]
    auxes = [
        struct.pack(f"{order}IHHII", 0, 0, 2, at, 16 if number + 1 < len(needs) else 0)
        for number, at in enumerate(offsets)
    ]
    verneed = struct.pack(f"{order}HHIII", 1, len(needs), 1, 16, 0) + b"".join(auxes)
    names = b"\0.gnu.version_r\0.dynstr\0.shstrtab\0"
    at_interp = 64 + 56
    at_needs = at_interp + len(interp)
    at_strings = at_needs + len(verneed)
    at_names = at_strings + len(strings)
    at_sections = at_names + len(names)
    head = struct.pack(f"{order}16sHHIQQQIHHHHHH", b"\x7fELF\2" + (b"\1" if order == "<" else b"\2") + b"\1" + bytes(9),
        2, machine, 1, 0, 64, at_sections, 0, 64, 56, 1, 64, 4, 3)  # fmt: skip
    segment = struct.pack(f"{order}IIQQQQQQ", 3 if loader else 0, 4, at_interp, 0, 0, len(interp), len(interp), 1)

    sections = (
        (0, 0, 0, 0, 0, 0),  # name, type, offset, size, link, info
        (1, 0x6FFFFFFE, at_needs, len(verneed), 2, 1),
        (names.index(b".dynstr"), 3, at_strings, len(strings), 0, 0),
        (names.index(b".shstrtab"), 3, at_names, len(names), 0, 0),
    )
    table = [
        struct.pack(f"{order}IIQQQQIIQQ", name, kind, 0, 0, at, size, link, info, 1, 0)
        for name, kind, at, size, link, info in sections
    ]
    return b"".join((head, segment, interp, verneed, strings, names, *table))


def check(path: Path, content: bytes, arch: str = "x86_64", packages: dict[str, str] | None = PACKAGES) -> None:
    path.write_bytes(content)
    check_program(path, architecture(arch), packages)


@pytest.mark.parametrize(
    "content",
    [
        elf(),
        elf(needs=("GLIBC_2.41", "GLIBC_2.2.5", "GCC_3.0")),
        elf(loader=""),
        b"",
        b"echo\n",
        b"#!/bin/sh\n",
    ],
)
def test_what_can_start_is_let_through(content: bytes, tmp_path: Path) -> None:
    check(tmp_path / "t", content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (elf(MACHINES["arm64"]), "t is built for arm64, and the guest is x86_64"),
        (elf(3), "t is built for EM_386, 64 bit, and the guest is x86_64"),
        (elf(order=">"), "t is built for EM_X86_64, 64 bit, and the guest is x86_64"),
        (
            elf(loader="/lib/ld-musl-x86_64.so.1"),
            "t needs /lib/ld-musl-x86_64.so.1, which the guest's image does not have",
        ),
        (elf(needs=("GLIBC_2.42",)), "t needs glibc 2.42, and the guest's image has 2.41"),
        (elf(needs=("GLIBC_2.2.5", "GLIBC_2.100")), "t needs glibc 2.100, and the guest's image has 2.41"),
        (elf()[:40], "t is an ELF file that cannot be read"),
        (b"#!/usr/bin/perl -w\n", "t is run by perl, which the guest's image does not have"),
        (b"#!/usr/bin/env -S ruby\n", "t is run by ruby, which the guest's image does not have"),
    ],
)
def test_what_cannot_start_is_refused_with_the_reason(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        check(tmp_path / "t", content)
    assert said in raised.value.what
    assert raised.value.hint


@pytest.mark.parametrize("arch", MACHINES)
def test_each_architecture_has_its_machine(arch: str, tmp_path: Path) -> None:
    row = architecture(arch)
    order = "<" if row.byte_order == "little" else ">"
    check(tmp_path / "t", elf(MACHINES[arch], row.loader, order=order), arch)


def test_of_a_users_image_only_the_machine_is_known(tmp_path: Path) -> None:
    for content in (b"#!/usr/bin/perl\n", elf(needs=("GLIBC_2.99",)), elf(loader="/ld-musl.so")):
        check(tmp_path / "t", content, packages=None)
    with pytest.raises(UserError, match="is built for s390x"):
        check(tmp_path / "t", elf(MACHINES["s390x"], order=">"), packages=None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 600), at=st.integers(0, 600), value=st.binary(min_size=1, max_size=8))
def test_damage_is_told_and_nothing_else_happens(cut: int, at: int, value: bytes, tmp_path: Path) -> None:
    whole = elf()
    damaged = (whole[:at] + value + whole[at + len(value) :])[: max(cut, 4)]
    with suppress(UserError):
        check(tmp_path / "t", damaged)


def test_a_program_of_a_matrix_is_checked_before_a_boot(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(elf())
    entry = CommandEntry(command=("./t", "-v"), files=("t",))
    expectations = Expectations.load(tmp_path, [entry])
    assert list(expectations.pushed("x86_64").values()) == [elf()]
    with pytest.raises(UserError, match=r"command t: ./t is built for x86_64, and the guest is arm64"):
        expectations.pushed("arm64")
