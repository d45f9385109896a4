# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A key changes with each part of it, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.guest.accel import host_cpu
from runner.model import Ask, Cell, GuestSize, Limits
from runner.model.cells import AnswerKey, GuestKey, Tools, files_digest
from tests import samples

A, B = "a" * 64, "b" * 64
TOOLS = Tools(vng="1.41", qemu="QEMU emulator version 7.2.22", accel="tcg", cpu="max", code=A)
CELL = samples.cell(samples.pin("6.12.1"))


def key(cell: Cell = CELL, tools: Tools = TOOLS, **changed: Any) -> str:
    parts: dict[str, Any] = {"modules": ("nf_conntrack",), "kernel": A, "image": A, "agent": A, **changed}
    return GuestKey.of(cell, parts.pop("modules"), tools, **parts).digest


@pytest.mark.parametrize("part", [{"kernel": B}, {"image": B}, {"agent": B}, {"modules": ("nf_conntrack", "nf_nat")}])
def test_a_guest_of_other_bytes_is_another_guest(part: dict[str, Any]) -> None:
    assert key(**part) != key()


@pytest.mark.parametrize("part", [{"guest": GuestSize(cpus=2)}, {"guest": GuestSize(memory_mib=512)}, {"cmdline": "a"}])
def test_a_guest_that_is_given_something_else_is_another_guest(part: dict[str, Any]) -> None:
    assert key(CELL.model_copy(update=part)) != key()


@pytest.mark.parametrize("part", [{"vng": "1.42"}, {"qemu": "QEMU 8"}, {"accel": "kvm"}, {"cpu": "host"}, {"code": B}])
def test_a_guest_that_is_booted_by_something_else_is_another_guest(part: dict[str, Any]) -> None:
    assert key(tools=TOOLS.model_copy(update=part)) != key()


@pytest.mark.parametrize(
    "part", [{"name": "another"}, {"id": "another"}, {"limits": Limits(boot_s=7)}, {"probes": ("xfrm",)}]
)
def test_what_a_cell_is_called_and_how_long_it_may_take_is_no_part_of_the_guest(part: dict[str, Any]) -> None:
    assert key(CELL.model_copy(update=part)) == key()


ASK = Ask(kind="claims", probe="p:tc", body={"object": "conntrack", "program": "tc_p"})
ANSWER = AnswerKey(guest=A, ask=ASK, programs={"conntrack.bpf.o": A})


@pytest.mark.parametrize(
    "part",
    [
        {"guest": B},
        {"programs": {"conntrack.bpf.o": B}},
        {"ask": ASK.model_copy(update={"body": {**ASK.body, "program": "tc_q"}})},
        {"ask": ASK.model_copy(update={"kind": "census"})},
    ],
)
def test_another_question_has_another_key(part: dict[str, Any]) -> None:
    assert ANSWER.model_copy(update=part) != ANSWER


def test_the_agents_digest_is_over_its_files_alone_whatever_their_order() -> None:
    files = {"agent/a.pyc": b"1", "agent/b.pyc": b"2", "x.bpf.o": b"3"}
    digest = files_digest(files, "agent/")
    assert digest == files_digest({"agent/b.pyc": b"2", "agent/a.pyc": b"1"}, "agent/")
    assert digest != files_digest({"agent/a.pyc": b"2", "agent/b.pyc": b"1"}, "agent/")


def test_the_cpu_of_a_host_is_its_model_and_features_and_not_how_fast_it_runs_now(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    one = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\ncpu MHz\t\t: 2100.0\nflags\t\t: fpu vme\n"
    file.write_text(f"{one}\n{one}")
    assert host_cpu(file) == "GenuineIntel; 85; fpu vme"
    assert host_cpu(tmp_path / "none") == ""
