# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Finds for each kfunc a call that the verifier accepts, and derives from it those at the edge."""

from __future__ import annotations

import os
from itertools import islice, product

from .btf import BtfError
from .calls import (
    Choice,
    Frame,
    Value,
    buffers,
    contexts,
    copy,
    current_task,
    dynptrs,
    if_not_null,
    maps,
    not_objects,
    note,
    scalars,
    spill,
    spilled,
    stack,
    strings,
)
from .libbpf import RETURN, instruction
from .prototype import Parameter, parameters, returned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .kernelbtf import Kfunc

    Load = Callable[[bytes], tuple[int, int, str]]  # a program: file descriptor, errno, log

_CALL, _KFUNC = 0x85, 2
_MOST = 48  # programs that are tried to find one that is accepted
_MOST_PAIRS = 60
_RELEASES = ("release", "put", "drop", "destroy", "free")
_SAVE_CONTEXT = copy(6, 1)
_EVERYWHERE = ("task_struct", "cgroup")  # many calls take one, and none but those of these names ends it
_RELEASED, _TAKEN = ", released before", ", not released"


class Call:
    """A kfunc with what each of its units is given."""

    __slots__ = ("choices", "kfunc", "label", "rank")

    def __init__(self, kfunc: Kfunc, choices: Sequence[Choice], label: str = "", rank: int = 0) -> None:
        self.kfunc, self.choices, self.label, self.rank = kfunc, choices, label, rank


class Unit:
    """A parameter, or a pointer with its size: what may be right for it, and what is at the edge."""

    __slots__ = ("edges", "name", "pointer", "right")

    def __init__(self, pointer: Parameter, name: str, right: list[Choice], edges: list[Choice]) -> None:
        self.pointer, self.name, self.right, self.edges = pointer, name, right, edges


class Calls:
    """The calls of the kfuncs of one kernel, for programs of one type. `load` loads such a program."""

    def __init__(self, kfuncs: Mapping[str, Kfunc], load: Load, module_index: Callable[[int], int]) -> None:
        self._kfuncs, self._load, self._module_index = kfuncs, load, module_index
        self._parameters: dict[str, list[Parameter]] = {}
        self._returned: dict[str, Parameter] = {}
        for name, kfunc in kfuncs.items():
            try:
                proto = kfunc.btf.target(kfunc.btf_id)
                self._parameters[name], self._returned[name] = parameters(kfunc.btf, proto), returned(kfunc.btf, proto)
            except BtfError:
                continue
        self._right: dict[str, Call | str] = {}
        self.fds = (0, 0)  # of the map that programs use, and of the one with a text

    def parameters(self, name: str) -> list[Parameter]:
        return self._parameters.get(name, [])

    def returns(self, name: str) -> str:
        """The shape of what it returns."""
        return self._returned[name].shape

    # --- programs

    def program(self, call: Call) -> tuple[bytes, Frame]:
        """Raises LookupError when it cannot be made."""
        frame = Frame(*self.fds)
        result = self.returns(call.kfunc.name)
        after = (copy(7, 0) if result != "nothing" else b"") + note(frame.fd, result=result != "nothing")
        if release := self._release(self._returned[call.kfunc.name]):
            after += if_not_null(copy(1, 7) + release, 7)
        return _SAVE_CONTEXT + self._made(call, frame, after) + RETURN, frame

    def _made(self, call: Call, frame: Frame, after: bytes) -> bytes:
        """The code of a call and of what comes after it, within what makes and releases its arguments."""
        values = [value for choice in call.choices for value in choice.make(frame)]
        loads = b"".join(value.load(number) for number, value in enumerate(values, 1))
        code = loads + self._calling(call.kfunc) + after
        for value in reversed(values):
            code = value.wrap(code)
        return code

    def _calling(self, kfunc: Kfunc) -> bytes:
        return instruction(_CALL, 0, _KFUNC, self._module_index(kfunc.fd) if kfunc.fd else 0, kfunc.btf_id)

    def _release(self, held: Parameter, depth: int = 0) -> bytes:
        """The code that gives back the object in r1: a call that ends it, or turns it into one that is given back.

        Empty when there is none.
        """
        if held.shape != "object" or depth > 1:
            return b""
        takers = [name for name in sorted(self._kfuncs) if [it.struct for it in self.parameters(name)] == [held.struct]]
        for name in takers:
            if self.returns(name) == "nothing" and any(word in name for word in _RELEASES):
                return self._calling(self._kfuncs[name])
        for name in takers if held.struct not in _EVERYWHERE else ():
            if then := self._release(self._returned[name], depth + 1):
                return self._calling(self._kfuncs[name]) + if_not_null(copy(1, 0) + then)
        return b""

    # --- units

    def units(self, name: str) -> list[Unit]:
        """Raises LookupError, with the reason, when no call of it can be derived."""
        found: list[Unit] = []
        takes = self.parameters(name)
        if name not in self._parameters:
            raise LookupError("BTF has no prototype of it")
        for number, each in enumerate(takes):
            sized = number + 1 < len(takes) and takes[number + 1].shape == "size"
            if each.shape == "size":
                if not number or takes[number - 1].shape not in ("buffer", "object"):
                    found.append(Unit(each, each.name, *scalars()))
                continue
            found.append(Unit(each, each.name, *self._choices(name, each, sized=sized)))
        return found

    def _choices(self, name: str, each: Parameter, *, sized: bool) -> tuple[list[Choice], list[Choice]]:
        if each.shape == "own":
            raise LookupError(f"{each.name or 'an argument'} is of a type that the program itself has to define")
        if each.shape == "buffer" or (each.shape == "object" and sized):
            return buffers(each, f"{name} {each.name}", sized=sized)
        if each.shape == "object":
            return self._objects(name, each)
        if each.shape == "iterator":
            return self._iterators(name, each)
        simple = {"context": contexts, "string": strings, "map": maps, "scalar": scalars}
        if each.shape in simple:
            return simple[each.shape]()
        if each.shape == "dynptr":
            return dynptrs(f"{name} {each.name}")
        return scalars()[0], []

    def _objects(self, name: str, each: Parameter) -> tuple[list[Choice], list[Choice]]:
        right, edges = [], not_objects()
        if each.struct == "task_struct":
            right.append(Choice("the running task", lambda frame: [current_task(frame)]))
            edges.pop()
        for source in sorted(self._kfuncs):
            if source != name and self._returned_struct(source) == each.struct and (call := self._accepted(source)):
                right += [self._object(call, each, ""), self._object(call, each, _TAKEN)]
                edges += [self._object(call, each, _RELEASED, 2), self._object(call, each, _TAKEN, 1)]
        buffer, more = buffers(each, f"{name} {each.name}", sized=False)
        return [*right, *buffer], [*edges, *(edge for edge in more if edge.label == "a byte short")]

    def _returned_struct(self, name: str) -> str:
        held = self._returned.get(name)
        return held.struct if held and held.shape == "object" else ""

    def _object(self, call: Call, each: Parameter, how: str, rank: int = 0) -> Choice:
        """What another kfunc returns. It is released behind the call unless `how` says otherwise."""
        release = self._release(each)
        released = copy(1, 0) + release if release else b""

        def make(frame: Frame) -> list[Value]:
            slot = frame.slot()
            drop = spilled(slot)(1) + release if release else b""

            def wrap(inner: bytes) -> bytes:
                code = released + inner if how == _RELEASED else inner + (b"" if how == _TAKEN else drop)
                return self._made(call, frame, if_not_null(spill(slot) + code))

            return [Value(spilled(slot), wrap)]

        return Choice(f"{call.kfunc.name}'s{how}", make, rank)

    def _iterators(self, name: str, each: Parameter) -> tuple[list[Choice], list[Choice]]:
        prefix = each.struct
        new, destroy = self._kfuncs.get(f"{prefix}_new"), self._kfuncs.get(f"{prefix}_destroy")
        if new is None or destroy is None:
            raise LookupError(f"there is no {prefix}_new or {prefix}_destroy")
        end = self._calling(destroy)

        def fresh(frame: Frame) -> list[Value]:
            slot = frame.slot(each.size)
            return [stack(slot, (lambda inner: inner + stack(slot).load(1) + end) if name == new.name else _same)]

        def begun(frame: Frame) -> list[Value]:
            call = self._accepted(new.name)
            if call is None:
                raise LookupError(f"no call of {new.name} is accepted")
            slot = frame.slot(each.size)
            at = Choice("", lambda _: [stack(slot)])
            begin = Call(new, [at, *call.choices[1:]])
            after = b"" if name == destroy.name else stack(slot).load(1) + end
            return [stack(slot, lambda inner: self._made(begin, frame, inner + after))]

        first, second = Choice("uninitialised", fresh, 2), Choice("begun", begun, 0)
        right, wrong = (first, second) if name == new.name else (second, first)
        return [right], [wrong, *not_objects()]

    # --- the search

    def _accepted(self, name: str) -> Call | None:
        found = self.right(name)
        return found if isinstance(found, Call) else None

    def right(self, name: str) -> Call | str:
        """A call that is accepted, or why there is none."""
        if name not in self._right:
            self._right[name] = "it needs an object that only itself makes"  # while it is looked for
            self._right[name] = self._search(name)
        return self._right[name]

    def _search(self, name: str) -> Call | str:
        try:
            units = self.units(name)
        except LookupError as error:
            return str(error)
        words = "no call was tried"
        for choices in islice(product(*(unit.right for unit in units)), _MOST):
            call = Call(self._kfuncs[name], choices)
            refused, words = self.load(call)
            if not refused:
                return call
        return words

    def load(self, call: Call) -> tuple[int, str]:
        """Errno (0: accepted, -1: the call cannot be made), and the log or why."""
        try:
            fd, refused, log = self._load(self.program(call)[0])
        except LookupError as error:
            return -1, str(error)
        if not refused:
            os.close(fd)
        return refused, log

    def words(self, call: Call) -> str:
        """The call with what each unit is given."""
        units = self.units(call.kfunc.name)
        given = (f"{unit.name}: {choice.label}" for unit, choice in zip(units, call.choices, strict=True))
        return f"{call.kfunc.name}({'; '.join(given)})"

    def edges(self, right: Call) -> Iterator[Call]:
        """With one unit at the edge, then with two of which none is right alone."""
        units = self.units(right.kfunc.name)
        yield Call(right.kfunc, right.choices, "right")
        single: list[tuple[int, Choice]] = [(at, edge) for at, unit in enumerate(units) for edge in unit.edges]
        for at, edge in single:
            yield self._with(right, units, [(at, edge)])

    def pairs(self, right: Call, refused: Sequence[str]) -> Iterator[Call]:
        """Two units at the edge, one of which alone was refused; `refused` are the labels of those calls."""
        units = self.units(right.kfunc.name)
        single = [(at, edge) for at, unit in enumerate(units) for edge in unit.edges]
        found = (
            self._with(right, units, [one, two])
            for number, one in enumerate(single)
            for two in single[number + 1 :]
            if one[0] != two[0] and self._with(right, units, [one]).label in refused
        )
        yield from islice(found, _MOST_PAIRS)

    def _with(self, right: Call, units: Sequence[Unit], at: Sequence[tuple[int, Choice]]) -> Call:
        choices = list(right.choices)
        for number, edge in at:
            choices[number] = edge
        label = ", ".join(f"{units[number].name} {edge.label}" for number, edge in at)
        return Call(right.kfunc, choices, label, sum(edge.rank for _, edge in at))


def _same(inner: bytes) -> bytes:
    return inner
