"""BPF instructions as text."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.reports.instructions import listing


def instruction(code: int, dst: int, src: int, off: int, imm: int) -> bytes:
    """As a little endian machine has it."""
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


WORDS = [
    (instruction(0xBF, 6, 1, 0, 0), "r6 = r1"),
    (instruction(0xB4, 2, 0, 0, -1), "w2 = -1"),
    (instruction(0x07, 3, 0, 0, 8), "r3 += 8"),
    (instruction(0x0C, 3, 4, 0, 0), "w3 += w4"),
    (instruction(0x3F, 3, 4, 1, 0), "r3 s/= r4"),
    (instruction(0xBF, 3, 4, 16, 0), "r3 = (s16)r4"),
    (instruction(0x87, 3, 0, 0, 0), "r3 = -r3"),
    (instruction(0xDC, 3, 0, 0, 16), "r3 = be16 r3"),
    (instruction(0x61, 0, 1, 76, 0), "r0 = *(u32 *)(r1 + 76)"),
    (instruction(0x39, 0, 1, -8, 0), "r0 = faults as 0: *(u64 *)(r1 - 8)"),
    (instruction(0x91, 0, 1, 4, 0), "r0 = *(s8 *)(r1 + 4)"),
    (instruction(0x7A, 10, 0, -16, 7), "*(u64 *)(r10 - 16) = 7"),
    (instruction(0x63, 10, 2, -4, 0), "*(u32 *)(r10 - 4) = r2"),
    (instruction(0xDB, 1, 2, 0, 0), "lock *(u64 *)(r1 + 0) += r2"),
    (instruction(0xDB, 1, 2, 0, 0xE1), "r2 = atomic exchange(*(u64 *)(r1 + 0), r2)"),
    (instruction(0x15, 0, 0, 2, 0), "if r0 == 0 goto 3"),
    (instruction(0xAE, 1, 2, -1, 0), "if w1 < w2 goto 0"),
    (instruction(0x05, 0, 0, 4, 0), "goto 5"),
    (instruction(0x85, 0, 1, 0, 7), "call pc+7"),
    (instruction(0x85, 0, 2, 0, 0x1230), "call 0x1230"),
    (instruction(0x95, 0, 0, 0, 0), "exit"),
    (instruction(0xFF, 1, 2, 3, 4), "? dst r1 src r2 off 3 imm 0x4"),
]


@pytest.mark.parametrize(("raw", "words"), WORDS, ids=[words for _, words in WORDS])
def test_an_instruction_reads_as_what_it_does(raw: bytes, words: str) -> None:
    assert list(listing(raw, "little", {})) == [f"   0: ({raw[0]:02x}) {words}"]


def test_wide_loads_take_two_slots_and_calls_their_names() -> None:
    number = instruction(0x18, 1, 0, 0, 0x2) + instruction(0, 0, 0, 0, 0x1)
    value = instruction(0x18, 2, 2, 0, 17) + instruction(0, 0, 0, 0, 24)
    code = number + value + instruction(0x85, 0, 2, 0, 1)
    assert list(listing(code, "little", {4: "bpf_ct_release"})) == [
        "   0: (18) r1 = 0x100000002",
        "   2: (18) r2 = value of map id 17 + 24",
        "   4: (85) call bpf_ct_release",
    ]


def test_the_other_byte_order_swaps_registers_and_numbers() -> None:
    assert list(listing(bytes.fromhex("61 10 004c 00000000"), "big", {})) == ["   0: (61) r1 = *(u32 *)(r0 + 76)"]


@settings(max_examples=30)
@given(st.binary(max_size=64), st.sampled_from(["little", "big"]))
def test_every_code_has_a_line(raw: bytes, order: str) -> None:
    lines = list(listing(raw, order, {}))  # type: ignore[arg-type]
    assert len(raw) // 16 <= len(lines) <= len(raw) // 8
