"""BPF instructions as text, in the manner of the verifier's log. Pure; what is not known is shown as numbers.

Encoding: Documentation/bpf/standardization/instruction-set.rst. A kernel's translated program has a few codes of its
own (loads that may fault, jumps between functions), which are not in that document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_SIZES = {0x00: ("u32", 4), 0x08: ("u16", 2), 0x10: ("u8", 1), 0x18: ("u64", 8)}
_MEM, _MEMSX, _ATOMIC = 0x60, 0x80, 0xC0
_FAULTING = {0x20: "", 0x40: "s", 0xA0: "", 0xE0: ""}  # BPF_PROBE_MEM*: a bad address reads as 0
_ARITHMETIC = {
    0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=", 0x70: ">>=",
    0x90: "%=", 0xA0: "^=", 0xB0: "=", 0xC0: "s>>=",
}  # fmt: skip
_NEGATE, _SWAP = 0x80, 0xD0
_JUMPS = {
    0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=",
    0xA0: "<", 0xB0: "<=", 0xC0: "s<", 0xD0: "s<=",
}  # fmt: skip
_JUMP, _CALL, _EXIT = 0x00, 0x80, 0x90
_WIDE = 0x18  # ld_imm64, two slots
_POINTERS = {1: "map id", 2: "value of map id", 3: "BTF object", 4: "function"}  # BPF_PSEUDO_* after translation
_ATOMICS = {0x00: "+=", 0x40: "|=", 0x50: "&=", 0xA0: "^="}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One struct bpf_insn."""

    code: int
    dst: int
    src: int
    offset: int
    value: int  # imm

    @property
    def operand(self) -> str:
        """What an arithmetic operation or a comparison takes besides its destination."""
        return f"r{self.src}" if self.code & 0x08 else str(self.value)


def decoded(raw: bytes, order: Literal["little", "big"]) -> list[Instruction]:
    """What does not fill an instruction is left out. The two registers are bit fields: their order is the machine's."""
    found = []
    for at in range(0, len(raw) - 7, 8):
        registers = raw[at + 1]
        low, high = registers & 15, registers >> 4
        dst, src = (low, high) if order == "little" else (high, low)
        offset = int.from_bytes(raw[at + 2 : at + 4], order, signed=True)
        found.append(Instruction(raw[at], dst, src, offset, int.from_bytes(raw[at + 4 : at + 8], order, signed=True)))
    return found


def listing(raw: bytes, order: Literal["little", "big"], calls: Mapping[int, str]) -> Iterator[str]:
    """One line for each instruction: `12: (85) call bpf_skb_ct_alloc`. `calls` are names by instruction number."""
    instructions = iter(enumerate(decoded(raw, order)))
    for at, it in instructions:
        if it.code == _WIDE:
            _, second = next(instructions, (at, Instruction(0, 0, 0, 0, 0)))
            yield f"{at:4}: ({it.code:02x}) {_wide(it, second)}"
        else:
            yield f"{at:4}: ({it.code:02x}) {_words(at, it, calls)}"


def _words(at: int, it: Instruction, calls: Mapping[int, str]) -> str:
    match it.code & 7:
        case _ if it.code & 7 in {_ALU, _ALU64}:
            return _arithmetic(it)
        case _ if it.code & 7 in {_JMP, _JMP32}:
            return _jump(at, it, calls)
        case _ if it.code & 7 == _LDX and (target := _memory(it, it.src)):
            return f"r{it.dst} = {target}"
        case _ if it.code & 7 == _ST and (target := _memory(it, it.dst)):
            return f"{target} = {it.value}"
        case _ if it.code & 7 == _STX and it.code & 0xE0 == _ATOMIC:
            return _atomic(it)
        case _ if it.code & 7 == _STX and (target := _memory(it, it.dst)):
            return f"{target} = r{it.src}"
    return _unknown(it)


def _unknown(it: Instruction) -> str:
    return f"? dst r{it.dst} src r{it.src} off {it.offset} imm {it.value:#x}"


def _wide(first: Instruction, second: Instruction) -> str:
    if first.src in _POINTERS:
        more = f" + {second.value}" if second.value and first.src == 2 else ""
        return f"r{first.dst} = {_POINTERS[first.src]} {first.value}{more}"
    return f"r{first.dst} = {(second.value & 0xFFFFFFFF) << 32 | first.value & 0xFFFFFFFF:#x}"


def _memory(it: Instruction, register: int) -> str:
    """`*(u32 *)(r1 + 8)`; empty when the mode is none that is known."""
    mode, (size, _) = it.code & 0xE0, _SIZES[it.code & 0x18]
    if mode == _MEMSX or _FAULTING.get(mode) == "s":
        size = size.replace("u", "s")
    elif mode != _MEM and mode not in _FAULTING:
        return ""
    may = "" if mode in {_MEM, _MEMSX} else "faults as 0: "
    return f"{may}*({size} *)(r{register} {'-' if it.offset < 0 else '+'} {abs(it.offset)})"


def _atomic(it: Instruction) -> str:
    place = f"*({_SIZES[it.code & 0x18][0]} *)(r{it.dst} {'-' if it.offset < 0 else '+'} {abs(it.offset)})"
    operation, fetch = it.value & 0xF0, it.value & 1
    if it.value == 0xE1:
        return f"r{it.src} = atomic exchange({place}, r{it.src})"
    if it.value == 0xF1:
        return f"r0 = atomic compare and exchange({place}, r0, r{it.src})"
    if operation not in _ATOMICS:
        return _unknown(it)
    return f"{f'r{it.src} = ' if fetch else ''}lock {place} {_ATOMICS[operation]} r{it.src}"


def _arithmetic(it: Instruction) -> str:
    register = f"{'w' if it.code & 7 == _ALU else 'r'}{it.dst}"
    operation = it.code & 0xF0
    if operation == _NEGATE:
        return f"{register} = -{register}"
    if operation == _SWAP:
        name = "bswap" if it.code & 7 == _ALU64 else "be" if it.code & 0x08 else "le"
        return f"r{it.dst} = {name}{it.value} r{it.dst}"
    if operation not in _ARITHMETIC:
        return _unknown(it)
    operand = it.operand.replace("r", "w") if it.code & 7 == _ALU else it.operand
    sign = "s" if it.offset == 1 and operation in {0x30, 0x90} else ""
    if operation == 0xB0 and it.offset in {8, 16, 32} and it.code & 0x08:
        return f"{register} = (s{it.offset}){operand}"
    return f"{register} {sign}{_ARITHMETIC[operation]} {operand}"


def _jump(at: int, it: Instruction, calls: Mapping[int, str]) -> str:
    operation, wide = it.code & 0xF0, it.code & 7 == _JMP
    if operation == _EXIT and wide:
        return "exit"
    if operation == _CALL and wide:
        if it.src == 1:  # BPF_PSEUDO_CALL; after translation `off` is the distance
            return f"call pc{it.value:+}"
        return f"call {calls.get(at) or f'{it.value:#x}'}"
    if operation == _JUMP:
        return f"goto {at + 1 + (it.offset if wide else it.value)}"
    if operation not in _JUMPS:
        return _unknown(it)
    register, operand = f"r{it.dst}", it.operand
    if not wide:
        register, operand = register.replace("r", "w"), operand.replace("r", "w")
    return f"if {register} {_JUMPS[operation]} {operand} goto {at + 1 + it.offset}"
