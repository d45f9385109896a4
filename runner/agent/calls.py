# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What calls of kernel functions are given: arguments with which a call may be right, and others at the edge.

A prototype is cut into units: a parameter, or a pointer with its size. A program is written down as JSON has it, so
that it can be sent, assembled (Assembler) and shown as C (runner/probes/boundaries/program.py):

    program    {"areas": [area], "slots": [bytes on the stack], "body": [statement]}
    area       [bytes that the callee may write, what it is for]
    statement  ["call", function, [argument], slot of what it returns or null]
               ["if", slot, [statement]]: unless the slot has NULL
               ["note", slot or null]: that the call was made, and what it returned
    argument   a number, or ["context", offset], ["area", which], ["end", bytes before the end of the memory],
               ["stack", slot], ["value", slot], ["text"], ["map"]
"""

from __future__ import annotations

from .btf import ENUM, ENUM64, FWD, INT, PTR, STRUCT, UNION, Btf
from .structs import CALL, KFUNC_CALL, MAP_FD, MAP_VALUE, MOV_IMM, RETURN, instruction, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Program = Mapping[str, Any]
    Argument = int | list[object]
    Statement = list[Any]
    Wrap = Callable[[list[Statement]], list[Statement]]  # what uses it, with what comes before and after
    Make = Callable[["Frame"], list["Value"]]
    Where = Callable[[str], tuple[int, int]]  # of a kfunc: its BTF's index in fd_array, and its id there

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


class Value:
    """An argument, and what comes before and after what uses it."""

    __slots__ = ("argument", "wrap")

    def __init__(self, argument: Argument, wrap: Wrap = lambda inner: inner) -> None:
        self.argument, self.wrap = argument, wrap


class Choice:
    """What a unit may be given. `label` says it; `rank` orders by how likely it does harm."""

    __slots__ = ("label", "make", "rank")

    def __init__(self, label: str, make: Make, rank: int = 0) -> None:
        self.label, self.make, self.rank = label, make, rank


def call(function: str, arguments: list[Argument], slot: int | None = None) -> Statement:
    return ["call", function, arguments, slot]


def calls_in(body: Iterable[Statement]) -> Iterator[tuple[str, int | None]]:
    """The functions that statements call, each with the slot of what it returns."""
    for word, what, *more in body:
        if word == "call":
            yield what, more[1]
        elif word == "if":
            yield from calls_in(more[0])


def _dynptr(frame: Frame, what: str, flags: int = 0) -> Value:
    """Of memory of the map; with flags, which the helper refuses, one of nothing."""
    area, slot = frame.area(BACKING, what), frame.slot(_DYNPTR)
    made = call("bpf_dynptr_from_mem", [["area", area], BACKING, flags, ["stack", slot]])
    return Value(["stack", slot], lambda inner: [made, *inner])


def current_task(frame: Frame) -> Value:
    slot = frame.slot()
    return Value(["value", slot], lambda inner: [call(CURRENT_TASK, [], slot), *inner])


# --- what a prototype in BTF says of each parameter, by its type and by its name (Documentation/bpf/kfuncs.rst) -------

CONTEXTS = ("__sk_buff", "xdp_md", "sk_buff", "xdp_buff")
_OWN = (
    "list_head", "list_node", "rb_root", "rb_node", "spin_lock", "res_spin_lock", "wq", "timer", "task_work",
    "arena",
)  # fmt: skip
_SHAPES = (
    ("string", ("__str", "__const_str"), ()),
    ("map", ("__map",), ("bpf_map",)),
    ("context", (), CONTEXTS),
    ("dynptr", (), ("bpf_dynptr", "bpf_dynptr_kern")),
)
_ENDS = ("__ign", "__prog", "__aux")  # not looked at, or passed by the verifier itself
_LARGE = 256  # bytes of a structure that is not looked into


class Parameter:
    """`shape` is one of scalar, buffer, size, context, object, dynptr, iterator, string, map, none, own."""

    __slots__ = ("fields", "name", "shape", "size", "struct")

    def __init__(self, name: str, shape: str, struct: str = "", size: int = 0) -> None:
        self.name, self.shape, self.struct, self.size = name, shape, struct, size
        self.fields: list[tuple[int, int]] = []  # offset and size in bytes, of a structure's numbers


def parameters(btf: Btf, proto: int) -> list[Parameter]:
    """Of a FUNC_PROTO. Raises BtfError."""
    return [_parameter(btf, name, type_id) for name, type_id in btf.parameters(proto)]


def returned(btf: Btf, proto: int) -> Parameter:
    """Its `shape` is `nothing` where it returns nothing, else that of a parameter."""
    target = btf.target(proto)
    return _parameter(btf, "", target) if target else Parameter("", "nothing")


def _parameter(btf: Btf, name: str, type_id: int) -> Parameter:
    type_id = btf.plain(type_id)
    if name.endswith(_ENDS):
        return Parameter(name, "none")
    kind = btf.kind(type_id)
    if kind in (INT, ENUM, ENUM64):
        return Parameter(name, "size" if name.endswith(("__sz", "__szk")) else "scalar")
    return _pointer(btf, name, btf.plain(btf.target(type_id))) if kind == PTR else Parameter(name, "own")


def _pointer(btf: Btf, name: str, target: int) -> Parameter:
    """`target`: the type that it points to, 0 for void."""
    kind = btf.kind(target)
    struct = btf.name(target) if kind in (STRUCT, UNION, FWD) else ""
    for shape, ends, structs in _SHAPES:
        if (ends and name.endswith(ends)) or struct in structs:
            return Parameter(name, shape, struct)
    if struct.startswith("bpf_iter_"):
        return Parameter(name, "iterator", struct, btf.target(target))
    if struct.removeprefix("bpf_").startswith(_OWN) or kind not in (0, INT, STRUCT, UNION, FWD):
        return Parameter(name, "own", struct)
    found = Parameter(name, "object" if struct else "buffer", struct, btf.target(target) if kind != FWD and kind else 0)
    if kind in (STRUCT, UNION) and found.size <= _LARGE:
        found.fields = [(bits // 8, btf.size(at)) for _, at, bits, width in btf.members(target) if not width]
    return found


# --- what units are given ---------------------------------------------------------------------------------------------

_HARM = 2  # rank of a size that does not fit, and of no object
_NULL = Choice("NULL", lambda _: [Value(0)], _HARM)
_THE_CONTEXT = Choice("the context", lambda _: [Value(["context", 0])], _HARM)


def _number(value: int, rank: int = 0) -> Choice:
    return Choice(f"{value:#x}" if abs(value) > 9 else str(value), lambda _: [Value(value)], rank)


def _buffer(what: str, rank: int = _HARM) -> Choice:
    return Choice("a buffer", lambda frame: [Value(["area", frame.area(AREA, what)])], rank)


# By the shape of a parameter: those with which it may be right, and those at the edge.
SIMPLE = {
    "scalar": ([_number(0)], [_number(value, 1) for value in (1, 2, -1, 0x7FFFFFFF, -0x80000000, 1 << 63)]),
    "context": (
        [Choice("the context", _THE_CONTEXT.make)],
        [
            _NULL,
            Choice("the context + 8", lambda _: [Value(["context", 8])], _HARM),
            _buffer("instead of the context"),
        ],
    ),
    "string": (
        [Choice("a text", lambda _: [Value(["text"])])],
        [_NULL, _buffer("instead of a text", 1), _THE_CONTEXT],
    ),
    "map": ([Choice("a map", lambda _: [Value(["map"])])], [_NULL, _buffer("instead of a map")]),
}
# What is not an object of the kernel's.
NOT_OBJECTS = (
    _NULL, _buffer("instead of an object"), _THE_CONTEXT,
    Choice("the running task", lambda frame: [current_task(frame)], _HARM),
)  # fmt: skip


def buffers(pointer: Parameter, what: str, *, sized: bool) -> tuple[list[Choice], list[Choice]]:
    """Of a pointer to memory, `sized` with the size that follows it. `what` the memory is for."""
    size = pointer.size or _UNKNOWN

    def choice(label: str, argument: Callable[[Frame], Argument], many: int, rank: int) -> Choice:
        def make(frame: Frame) -> list[Value]:
            found = [Value(argument(frame))]
            return [*found, Value(many)] if sized else found

        return Choice(label, make, rank)

    def given(many: int, least: int | None = None) -> Choice:
        room = (many if 0 <= many <= AREA else AREA) if least is None else least
        label, room = (f"of {many} bytes", room) if sized else ("a buffer", room if pointer.size else AREA)
        return choice(label, lambda frame: ["area", frame.area(room, what)], many, _HARM if many != size else 0)

    def other(label: str, argument: Callable[[Frame], Argument], many: int = size) -> Choice:
        return choice(f"{label}, size {many}" if sized else label, argument, many, _HARM)

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


def dynptrs(what: str) -> tuple[list[Choice], list[Choice]]:
    whole = Choice("of memory", lambda frame: [_dynptr(frame, what)])
    fresh = Choice("uninitialised", lambda frame: [Value(["stack", frame.slot(_DYNPTR)])])
    right, wrong = (fresh, whole) if what.endswith("__uninit") else (whole, fresh)
    nothing = Choice("of nothing", lambda frame: [_dynptr(frame, what, 1)], 1)
    return [right], [wrong, nothing, _NULL, _buffer(what)]


# --- instructions -----------------------------------------------------------------------------------------------------

_MOV, _LDX, _STX, _ST, _ADD, _JEQ = 0xBF, 0x79, 0x7B, 0x7A, 0x07, 0x15
_HELPERS = {"bpf_dynptr_from_mem": 197, CURRENT_TASK: 158}
_FRAME, _CONTEXT, _SCRATCH, _RESULT = 10, 6, 8, 7  # registers


class Assembler:
    """Turns programs into instructions. `fds` are of the map that programs use, and of the one with a text."""

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
