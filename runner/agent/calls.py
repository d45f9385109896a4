# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What calls of kernel functions are given: arguments with which a call may be right, and others at the edge.

A prototype is cut into units: a parameter, or a pointer with its size. A program is written down as JSON has it, so
that it can be sent, assembled (assemble.py) and shown as C (runner/probes/boundaries/source.py):

    program    {"areas": [area], "slots": [bytes on the stack], "body": [statement]}
    area       [bytes that the callee may write, what it is for]
    statement  ["call", function, [argument], slot of what it returns or null]
               ["if", slot, [statement]]: unless the slot has NULL
               ["note", slot or null]: that the call was made, and what it returned
    argument   a number, or ["context", offset], ["area", which], ["end", bytes before the end of the memory],
               ["stack", slot], ["value", slot], ["text"], ["map"]
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .prototype import Parameter

    Program = Mapping[str, Any]
    Argument = int | list[object]
    Statement = list[object]
    Wrap = Callable[[list[Statement]], list[Statement]]  # what uses it, with what comes before and after
    Make = Callable[["Frame"], list["Value"]]

AREA, AREAS, RESULT = 1024, 15, 16  # bytes; of the map's one value
VALUE = AREA * (AREAS + 1)
BACKING, _UNKNOWN = 64, 16  # bytes of a dynptr's memory, and of a buffer of no type
_DYNPTR = 16  # bytes
CURRENT_TASK, TASK = "bpf_get_current_task_btf", "task_struct"  # a helper, and the structure that it returns


class Frame:
    """What one program has: areas of the map's value, and slots on the stack."""

    def __init__(self) -> None:
        self.areas: list[list[object]] = []
        self.slots: list[int] = []

    def area(self, size: int, what: str) -> int:
        """A new one. Raises LookupError when there is no room."""
        if len(self.areas) == AREAS:
            raise LookupError("the call needs too many buffers")
        self.areas.append([size, what])
        return len(self.areas) - 1

    def slot(self, size: int = 8) -> int:
        self.slots.append(size)
        return len(self.slots) - 1


def _same(inner: list[Statement]) -> list[Statement]:
    return inner


class Value:
    """An argument, and what comes before and after what uses it."""

    __slots__ = ("argument", "wrap")

    def __init__(self, argument: Argument, wrap: Wrap = _same) -> None:
        self.argument, self.wrap = argument, wrap


class Choice:
    """What a unit may be given. `label` says it; `rank` orders by how likely it does harm."""

    __slots__ = ("label", "make", "rank")

    def __init__(self, label: str, make: Make, rank: int = 0) -> None:
        self.label, self.make, self.rank = label, make, rank


def call(function: str, arguments: list[Argument], slot: int | None = None) -> Statement:
    return ["call", function, arguments, slot]


def _memory(frame: Frame, size: int, what: str) -> Value:
    return Value(["area", frame.area(size, what)])


def _dynptr(frame: Frame, what: str, flags: int = 0) -> Value:
    """Of memory of the map; with flags, which the helper refuses, one of nothing."""
    area, slot = frame.area(BACKING, what), frame.slot(_DYNPTR)
    made = call("bpf_dynptr_from_mem", [["area", area], BACKING, flags, ["stack", slot]])
    return Value(["stack", slot], lambda inner: [made, *inner])


def current_task(frame: Frame) -> Value:
    slot = frame.slot()
    return Value(["value", slot], lambda inner: [call(CURRENT_TASK, [], slot), *inner])


# --- what units are given ---------------------------------------------------------------------------------------------

_NUMBERS = (1, 2, -1, 0x7FFFFFFF, -0x80000000, 1 << 63)
_HARM = 2  # rank of a size that does not fit, and of no object


def _null(_: Frame) -> list[Value]:
    return [Value(0)]


def _context(_: Frame) -> list[Value]:
    return [Value(["context", 0])]


def scalars() -> tuple[list[Choice], list[Choice]]:
    """Those with which it may be right, and those at the edge."""
    return [_number(0)], [_number(value, 1) for value in _NUMBERS]


def _number(value: int, rank: int = 0) -> Choice:
    return Choice(f"{value:#x}" if abs(value) > 9 else str(value), lambda _: [Value(value)], rank)


def buffers(pointer: Parameter, what: str, *, sized: bool) -> tuple[list[Choice], list[Choice]]:
    """Of a pointer to memory, `sized` with the size that follows it. `what` the memory is for."""
    size = pointer.size or _UNKNOWN

    def given(many: int, least: int | None = None) -> Choice:
        room = (many if 0 <= many <= AREA else AREA) if least is None else least

        def make(frame: Frame) -> list[Value]:
            found = [_memory(frame, room if sized or pointer.size else AREA, what)]
            return [*found, Value(many)] if sized else found

        return Choice(f"of {many} bytes" if sized else "a buffer", make, _HARM if many != size else 0)

    def other(label: str, argument: Callable[[Frame], Argument], many: int = size) -> Choice:
        def make(frame: Frame) -> list[Value]:
            found = [Value(argument(frame))]
            return [*found, Value(many)] if sized else found

        return Choice(f"{label}, size {many}" if sized else label, make, _HARM)

    edges = [
        other("NULL", lambda _: 0),
        other("uninitialised", lambda frame: ["stack", frame.slot(size)]),
        other("the context", lambda _: ["context", 0]),
    ]
    if not sized:
        return [given(size)], [*edges, other("a byte short", lambda _: ["end", size - 1])]
    edges += [
        other("NULL", lambda _: 0, 0),
        *(given(many) for many in sorted({0, 1, 4, 8, size - 1, size + 1} - {size, -1})),
    ]
    edges += [given(-1, 0), given(0x7FFFFFFF, 0), given(VALUE, 0)]
    return [given(size)], edges


def contexts() -> tuple[list[Choice], list[Choice]]:
    return [Choice("the context", _context)], [
        Choice("NULL", _null, _HARM),
        Choice("the context + 8", lambda _: [Value(["context", 8])], _HARM),
        Choice("a buffer", lambda frame: [_memory(frame, AREA, "instead of the context")], _HARM),
    ]


def dynptrs(what: str) -> tuple[list[Choice], list[Choice]]:
    whole = Choice("of memory", lambda frame: [_dynptr(frame, what)])
    fresh = Choice("uninitialised", lambda frame: [Value(["stack", frame.slot(_DYNPTR)])])
    right, wrong = (fresh, whole) if what.endswith("__uninit") else (whole, fresh)
    return [right], [
        wrong,
        Choice("of nothing", lambda frame: [_dynptr(frame, what, 1)], 1),
        Choice("NULL", _null, _HARM),
        Choice("a buffer", lambda frame: [_memory(frame, AREA, what)], _HARM),
    ]


def strings() -> tuple[list[Choice], list[Choice]]:
    return [Choice("a text", lambda _: [Value(["text"])])], [
        Choice("NULL", _null, _HARM),
        Choice("a buffer", lambda frame: [_memory(frame, AREA, "instead of a text")], 1),
        Choice("the context", _context, _HARM),
    ]


def maps() -> tuple[list[Choice], list[Choice]]:
    return [Choice("a map", lambda _: [Value(["map"])])], [
        Choice("NULL", _null, _HARM),
        Choice("a buffer", lambda frame: [_memory(frame, AREA, "instead of a map")], _HARM),
    ]


def not_objects() -> list[Choice]:
    """What is not an object of the kernel's."""
    return [
        Choice("NULL", _null, _HARM),
        Choice("a buffer", lambda frame: [_memory(frame, AREA, "instead of an object")], _HARM),
        Choice("the context", _context, _HARM),
        Choice("the running task", lambda frame: [current_task(frame)], _HARM),
    ]
