# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Counting references, in a file that stands for the kernel's memory, with BTF made here by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runner.agent import references as module
from runner.agent.btf import INT, PTR, STRUCT, TYPEDEF, UNION
from runner.agent.kernelbtf import KernelBtf
from runner.agent.libbpf import Libbpf
from runner.agent.references import KernelMemory, References
from tests.unit.test_agent_btf import record

STRINGS = (
    b"\0int\0atomic_t\0refcount_t\0refcount_struct\0refs\0usage\0task_struct\0counter\0percpu_ref\0refcnt\0css_set"
    b"\0cgroups\0nr_dying\0self\0count\0"
)
BEGIN = 0xFFFF888000000000
TASK, SET, DATA, EACH = 0, 64, 128, 192  # places in the memory


def at(text: str) -> int:
    return STRINGS.index(b"\0" + text.encode() + b"\0") + 1


TYPES = b"".join(
    (
        record(at("int"), INT, 0, 4, 1 << 24 | 32),  # 1
        record(0, STRUCT, 1, 4, at("counter"), 1, 0),  # 2
        record(at("atomic_t"), TYPEDEF, 0, 2),  # 3
        record(at("refcount_struct"), STRUCT, 1, 4, at("refs"), 3, 0),  # 4
        record(at("refcount_t"), TYPEDEF, 0, 4),  # 5
        record(at("percpu_ref"), STRUCT, 0, 16),  # 6
        record(0, UNION, 1, 16, at("refcnt"), 6, 0),  # 7: without a name
        record(at("css_set"), STRUCT, 2, 24, 0, 7, 0, at("nr_dying"), 3, 128),  # 8
        record(0, PTR, 0, 8),  # 9
        record(at("task_struct"), STRUCT, 2, 16, at("usage"), 5, 32, at("cgroups"), 9, 64),  # 10
    )
)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> References:
    blob = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(TYPES), len(TYPES), len(STRINGS)) + TYPES + STRINGS
    (tmp_path / "vmlinux").write_bytes(blob)
    memory = bytearray(256)
    struct.pack_into("=IIQ", memory, TASK, 0, 7, BEGIN + SET)
    struct.pack_into("=QQ", memory, SET, EACH, BEGIN + DATA)  # of a processor: places behind its own begin
    struct.pack_into("=Q", memory, DATA, 1 << 63)
    struct.pack_into("=qq", memory, EACH, 5, -2)
    struct.pack_into("=QQ", memory, 240, BEGIN, BEGIN + 8)
    head = struct.pack("=32xQ14xHH", 64, 56, 1).ljust(64, b"\0")
    part = struct.pack("=I4xQQ8xQQ", 1, 120, BEGIN, len(memory), len(memory)).ljust(56, b"\0")
    (tmp_path / "kcore").write_bytes(head + part + memory)
    (tmp_path / "symbols").write_text(f"{BEGIN:016x} T _stext\n{BEGIN + 240:016x} D __per_cpu_offset\n")
    monkeypatch.setattr(module, "_SYMBOLS", str(tmp_path / "symbols"))
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)  # type: ignore[attr-defined]
    return References(KernelBtf(Libbpf(), str(tmp_path)), KernelMemory(str(tmp_path / "kcore")))


def test_the_counters_of_a_task_and_of_what_it_holds_are_found_by_their_types(known: References) -> None:
    objects = known.held_by(BEGIN)
    assert objects == [
        ("the running task", "task_struct", BEGIN),
        ("its cgroups", "css_set", BEGIN + SET),
    ]
    assert known.lines(objects) == [
        "refs:task_struct.usage.refs,the+running+task 7 \n",
        f"refs:css_set.refcnt,its+cgroups {(1 << 63) + 3} \n",
    ]


def test_what_is_no_memory_any_more_holds_nothing(known: References) -> None:
    assert known.lines([("x's", "task_struct", BEGIN + (1 << 30))]) == ["refs:task_struct.usage.refs,x's 0 \n"]
    assert known.lines([("x's", "no_such", BEGIN)]) == []
