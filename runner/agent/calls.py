# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Calls of kernel functions, derived from their prototypes in BTF: right arguments, and arguments at the edge.

A prototype is cut into units: a parameter, or a pointer with its size. Each unit has arguments with which a call may be
right, and others at the edge of what a kernel may take.
"""

from __future__ import annotations

from .libbpf import MOV_IMM, instruction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .prototype import Parameter

    Load = Callable[[int], bytes]  # the code that puts it into a register
    Wrap = Callable[[bytes], bytes]  # the code of what uses it, with what comes before and after
    Make = Callable[["Frame"], list["Value"]]

AREA, AREAS, RESULT = 1024, 15, 16  # bytes; of the map's one value
VALUE = AREA * (AREAS + 1)
BACKING, _UNKNOWN = 64, 16  # bytes of a dynptr's memory, and of a buffer of no type
_MOV, _LDX, _STX, _ST, _ADD = 0xBF, 0x79, 0x7B, 0x7A, 0x07
_IMM64, _CALL, _JEQ, _MAP, _MAP_VALUE = 0x18, 0x85, 0x15, 1, 2
_FROM_MEM, _CURRENT_TASK = 197, 158  # bpf_dynptr_from_mem, bpf_get_current_task_btf


# --- values -----------------------------------------------------------------------------------------------------------


class Frame:
    """What one program has: its map's file descriptor, areas of the map's value, the stack."""

    def __init__(self, fd: int, text_fd: int) -> None:
        self.fd, self.text_fd = fd, text_fd
        self.areas: list[tuple[int, int, str]] = []  # offset, bytes that the callee may write, what it is for
        self._stack = 0

    def area(self, size: int, what: str) -> int:
        """The offset of a new one. Raises LookupError when there is none."""
        if len(self.areas) == AREAS:
            raise LookupError("the call needs too many buffers")
        at = AREA * (len(self.areas) + 1)
        self.areas.append((at, size, what))
        return at

    def slot(self, size: int = 8) -> int:
        """An offset from the frame pointer."""
        self._stack -= (size + 7) // 8 * 8
        return self._stack


def _same(inner: bytes) -> bytes:
    return inner


class Value:
    """An argument."""

    __slots__ = ("load", "wrap")

    def __init__(self, load: Load, wrap: Wrap = _same) -> None:
        self.load, self.wrap = load, wrap


class Choice:
    """What a unit may be given. `label` says it; `rank` orders by how likely it does harm."""

    __slots__ = ("label", "make", "rank")

    def __init__(self, label: str, make: Make, rank: int = 0) -> None:
        self.label, self.make, self.rank = label, make, rank


def number(value: int) -> Value:
    if -(1 << 31) <= value < 1 << 31:
        return Value(lambda register: instruction(MOV_IMM, register, 0, 0, value))
    return Value(lambda register: _wide(register, 0, value))


def _wide(register: int, source: int, low: int, high: int | None = None) -> bytes:
    value = low & (1 << 64) - 1
    high = value >> 32 if high is None else high
    return instruction(_IMM64, register, source, 0, _signed(value)) + instruction(0, 0, 0, 0, _signed(high))


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def context(offset: int = 0) -> Value:
    def load(register: int) -> bytes:
        return copy(register, 6) + (instruction(_ADD, register, 0, 0, offset) if offset else b"")

    return Value(load)


def memory(frame: Frame, size: int, what: str) -> Value:
    at = frame.area(size, what)
    return Value(lambda register: _wide(register, _MAP_VALUE, frame.fd, at))


def at_end(frame: Frame, size: int) -> Value:
    """The last bytes of the map's value."""
    return Value(lambda register: _wide(register, _MAP_VALUE, frame.fd, VALUE - size))


def stack(offset: int, wrap: Wrap = _same) -> Value:
    return Value(
        lambda register: instruction(_MOV, register, 10, 0, 0) + instruction(_ADD, register, 0, 0, offset), wrap
    )


def text(frame: Frame) -> Value:
    return Value(lambda register: _wide(register, _MAP_VALUE, frame.text_fd, 0))


def the_map(frame: Frame) -> Value:
    return Value(lambda register: _wide(register, _MAP, frame.fd, 0))


def dynptr(frame: Frame, what: str, flags: int = 0) -> Value:
    """Of memory of the map; with flags, which the helper refuses, one of nothing."""
    at, slot = memory(frame, BACKING, what), frame.slot(16)
    before = b"".join((at.load(1), number(BACKING).load(2), number(flags).load(3), stack(slot).load(4)))
    return stack(slot, lambda inner: before + helper(_FROM_MEM) + inner)


def spilled(slot: int) -> Load:
    return lambda register: instruction(_LDX, register, 10, slot, 0)


def current_task(frame: Frame) -> Value:
    slot = frame.slot()
    return Value(spilled(slot), lambda inner: helper(_CURRENT_TASK) + spill(slot) + inner)


def helper(what: int) -> bytes:
    return instruction(_CALL, 0, 0, 0, what)


def spill(slot: int, register: int = 0) -> bytes:
    return instruction(_STX, 10, register, slot, 0)


def if_not_null(inner: bytes, register: int = 0) -> bytes:
    return instruction(_JEQ, register, 0, len(inner) // 8, 0) + inner


def copy(target: int, source: int) -> bytes:
    return instruction(_MOV, target, source, 0, 0)


def note(fd: int, *, result: bool) -> bytes:
    """Write down that the call was made, and what it returned, which is in r7."""
    returned_ = instruction(_STX, 8, 7, 0, 0) if result else b""
    return _wide(8, _MAP_VALUE, fd, 0) + returned_ + instruction(_ST, 8, 0, 8, 1)


# --- what units are given ---------------------------------------------------------------------------------------------

_NUMBERS = (1, 2, -1, 0x7FFFFFFF, -0x80000000, 1 << 63)
_HARM = 2  # rank of a size that does not fit, and of no object


def scalars() -> tuple[list[Choice], list[Choice]]:
    """Those with which it may be right, and those at the edge."""
    return [_number(0)], [_number(value, 1) for value in _NUMBERS]


def _number(value: int, rank: int = 0) -> Choice:
    return Choice(f"{value:#x}" if abs(value) > 9 else str(value), lambda _: [number(value)], rank)


def buffers(pointer: Parameter, what: str, *, sized: bool) -> tuple[list[Choice], list[Choice]]:
    """Of a pointer to memory, `sized` with the size that follows it. `what` the memory is for."""
    size = pointer.size or _UNKNOWN

    def given(many: int, least: int | None = None) -> Choice:
        room = (many if 0 <= many <= AREA else AREA) if least is None else least

        def make(frame: Frame) -> list[Value]:
            found = [memory(frame, room if sized or pointer.size else AREA, what)]
            return [*found, number(many)] if sized else found

        return Choice(f"of {many} bytes" if sized else "a buffer", make, _HARM if many != size else 0)

    def other(label: str, value: Callable[[Frame], Value], many: int = size) -> Choice:
        words = f"{label}, size {many}" if sized else label
        return Choice(words, lambda frame: [value(frame), number(many)] if sized else [value(frame)], _HARM)

    null, fresh = (lambda _: number(0)), (lambda frame: stack(frame.slot(size)))
    edges = [other("NULL", null), other("uninitialised", fresh), other("the context", lambda _: context())]
    if not sized:
        return [given(size)], [*edges, other("a byte short", lambda frame: at_end(frame, size - 1))]
    edges += [other("NULL", null, 0), *(given(many) for many in sorted({0, 1, 4, 8, size - 1, size + 1} - {size, -1}))]
    edges += [given(-1, 0), given(0x7FFFFFFF, 0), given(VALUE, 0)]
    return [given(size)], edges


def contexts() -> tuple[list[Choice], list[Choice]]:
    right = Choice("the context", lambda _: [context()])
    return [right], [
        Choice("NULL", lambda _: [number(0)], _HARM),
        Choice("the context + 8", lambda _: [context(8)], _HARM),
        Choice("a buffer", lambda frame: [memory(frame, AREA, "instead of the context")], _HARM),
    ]


def dynptrs(what: str) -> tuple[list[Choice], list[Choice]]:
    whole = Choice("of memory", lambda frame: [dynptr(frame, what)])
    fresh = Choice("uninitialised", lambda frame: [stack(frame.slot(16))])
    right, wrong = (fresh, whole) if what.endswith("__uninit") else (whole, fresh)
    return [right], [
        wrong,
        Choice("of nothing", lambda frame: [dynptr(frame, what, 1)], 1),
        Choice("NULL", lambda _: [number(0)], _HARM),
        Choice("a buffer", lambda frame: [memory(frame, AREA, what)], _HARM),
    ]


def strings() -> tuple[list[Choice], list[Choice]]:
    return [Choice("a text", lambda frame: [text(frame)])], [
        Choice("NULL", lambda _: [number(0)], _HARM),
        Choice("a buffer", lambda frame: [memory(frame, AREA, "instead of a text")], 1),
        Choice("the context", lambda _: [context()], _HARM),
    ]


def maps() -> tuple[list[Choice], list[Choice]]:
    return [Choice("a map", lambda frame: [the_map(frame)])], [
        Choice("NULL", lambda _: [number(0)], _HARM),
        Choice("a buffer", lambda frame: [memory(frame, AREA, "instead of a map")], _HARM),
    ]


def not_objects() -> list[Choice]:
    """What is not an object of the kernel's."""
    return [
        Choice("NULL", lambda _: [number(0)], _HARM),
        Choice("a buffer", lambda frame: [memory(frame, AREA, "instead of an object")], _HARM),
        Choice("the context", lambda _: [context()], _HARM),
        Choice("the running task", lambda frame: [current_task(frame)], _HARM),
    ]
