# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Turns a program, as calls.py writes it down, into instructions."""

from __future__ import annotations

from .calls import AREA, CURRENT_TASK, RESULT, VALUE
from .structs import CALL, KFUNC_CALL, MAP_FD, MAP_VALUE, MOV_IMM, RETURN, instruction, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .calls import Program

    Where = Callable[[str], tuple[int, int]]  # of a kfunc: its BTF's index in fd_array, and its id there

_MOV, _LDX, _STX, _ST, _ADD, _JEQ = 0xBF, 0x79, 0x7B, 0x7A, 0x07, 0x15
_HELPERS = {"bpf_dynptr_from_mem": 197, CURRENT_TASK: 158}
_FRAME, _CONTEXT, _SCRATCH, _RESULT = 10, 6, 8, 7  # registers


class Assembler:
    """`fds` are of the map that programs use, and of the one with a text."""

    def __init__(self, where: Where, fds: tuple[int, int]) -> None:
        self._where, self._fds = where, fds
        self._slots: list[int] = []
        self._told = False

    def program(self, program: Program, *, told: bool = False) -> bytes:
        """`told`: what calls return is also left in the map, behind the result, by slots."""
        at, self._slots, self._told = 0, [], told
        for size in program["slots"]:
            at -= (size + 7) // 8 * 8
            self._slots.append(at)
        return instruction(_MOV, _CONTEXT, 1, 0, 0) + self._block(program["body"]) + RETURN

    def _block(self, statements: list[list[Any]]) -> bytes:
        return b"".join([self._statement(*statement) for statement in statements])

    def _statement(self, word: str, what: Any, *more: Any) -> bytes:
        if word == "call":
            arguments, slot = more
            loads = b"".join([self._load(register, it) for register, it in enumerate(arguments, 1)])
            kept = b"" if slot is None else instruction(_STX, _FRAME, 0, self._slots[slot], 0)
            if slot is not None and self._told:
                kept += wide(1, MAP_VALUE, self._fds[0], RESULT + 8 * slot) + instruction(_STX, 1, 0, 0, 0)
            return loads + self._called(what) + kept
        if word == "if":
            inner = self._block(more[0])
            return self._value(0, what) + instruction(_JEQ, 0, 0, len(inner) // 8, 0) + inner
        code = wide(_SCRATCH, MAP_VALUE, self._fds[0], 0)
        if what is not None:
            code += self._value(_RESULT, what) + instruction(_STX, _SCRATCH, _RESULT, 0, 0)
        return code + instruction(_ST, _SCRATCH, 0, 8, 1)

    def _called(self, function: str) -> bytes:
        if helper := _HELPERS.get(function):
            return instruction(CALL, 0, 0, 0, helper)
        index, btf_id = self._where(function)
        return instruction(CALL, 0, KFUNC_CALL, index, btf_id)

    def _load(self, register: int, argument: Any) -> bytes:
        if isinstance(argument, int):
            if -(1 << 31) <= argument < 1 << 31:
                return instruction(MOV_IMM, register, 0, 0, argument)
            return wide(register, 0, argument, argument >> 32)
        word, at = argument[0], argument[-1]
        if word == "value":
            return self._value(register, at)
        if word == "context":
            return _sum(register, _CONTEXT, at)
        if word == "stack":
            return _sum(register, _FRAME, self._slots[at])
        if word == "map":
            return wide(register, MAP_FD, self._fds[0])
        if word == "text":
            return wide(register, MAP_VALUE, self._fds[1], 0)
        return wide(register, MAP_VALUE, self._fds[0], AREA * (at + 1) if word == "area" else VALUE - at)

    def _value(self, register: int, slot: int) -> bytes:
        return instruction(_LDX, register, _FRAME, self._slots[slot], 0)


def _sum(register: int, base: int, offset: int) -> bytes:
    return instruction(_MOV, register, base, 0, 0) + (instruction(_ADD, register, 0, 0, offset) if offset else b"")
