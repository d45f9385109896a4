# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Finds for each kfunc a call that the verifier accepts, and derives from it those at the edge."""

from __future__ import annotations

from itertools import islice, product

from .btf import BtfError
from .calls import (
    CURRENT_TASK,
    NOT_OBJECTS,
    SIMPLE,
    TASK,
    Choice,
    Frame,
    Parameter,
    Value,
    buffers,
    call,
    current_task,
    dynptrs,
    parameters,
    returned,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from .calls import Program, Statement
    from .kernelbtf import Kfunc

    Load = Callable[[Program], tuple[int, str]]  # errno (0: accepted), and the log
    Edge = tuple[int, Choice]  # which unit is given what

_MOST = 48  # programs that are tried to find one that is accepted
_MOST_PAIRS = 60
_RELEASES = ("release", "put", "drop", "destroy", "free")
_EVERYWHERE = (TASK, "cgroup")  # many calls take one, and none but those of these names ends it
_RELEASED, _TAKEN = ", released before", ", not released"
_FORBIDDEN = ("is not allowed", "cannot find address for kernel function")  # whatever it is given


class Call:
    """A call of a kfunc; `program` makes it, or `why` not. `choices` are what each of its units is given."""

    __slots__ = ("choices", "kfunc", "label", "program", "rank", "why")

    def __init__(self, kfunc: str, label: str, rank: int, choices: Sequence[Choice]) -> None:
        self.kfunc, self.label, self.rank, self.choices = kfunc, label, rank, choices
        self.program: Program | None = None
        self.why = ""


class Unit:
    """A parameter, or a pointer with its size: what may be right for it, and what is at the edge."""

    __slots__ = ("edges", "name", "right")

    def __init__(self, name: str, choices: tuple[list[Choice], list[Choice]]) -> None:
        self.name, (self.right, self.edges) = name, choices


class Calls:
    """The calls of the kfuncs of one kernel, for programs of one type."""

    def __init__(self, kfuncs: Mapping[str, Kfunc], load: Load) -> None:
        self._load = load
        self._parameters: dict[str, list[Parameter]] = {}
        self._returned: dict[str, Parameter] = {}
        for name in sorted(kfuncs):
            kfunc = kfuncs[name]
            try:
                proto = kfunc.btf.target(kfunc.btf_id)
                self._parameters[name], self._returned[name] = parameters(kfunc.btf, proto), returned(kfunc.btf, proto)
            except BtfError:
                continue
        self._right: dict[str, Call | str] = {}
        self._units: dict[str, list[Unit]] = {}
        self._ways: dict[str, list[str]] = {}

    def parameters(self, name: str) -> list[Parameter]:
        return self._parameters.get(name, [])

    def returns(self, name: str) -> str:
        """The shape of what it returns."""
        return self._returned[name].shape

    def object(self, function: str) -> str:
        """The structure of the object that a function returns; empty when it returns none."""
        if function == CURRENT_TASK:
            return TASK
        found = self._returned.get(function)
        return found.struct if found and found.shape == "object" else ""

    # --- programs

    def _program(self, kfunc: str, choices: Sequence[Choice]) -> Program:
        """Raises LookupError when it cannot be made."""
        frame, held = Frame(), self._returned[kfunc]
        slot = frame.slot() if held.shape != "nothing" else None
        after: list[Statement] = [["note", slot]]
        if slot is not None and (release := self._release(held, slot, frame)):
            after.append(["if", slot, release])
        body = self._made(kfunc, choices, frame, slot, after)
        return {"areas": frame.areas, "slots": frame.slots, "body": body}

    def _made(
        self, kfunc: str, choices: Sequence[Choice], frame: Frame, slot: int | None, after: list[Statement]
    ) -> list[Statement]:
        """A call and what comes after it, within what makes and releases its arguments."""
        values = [value for choice in choices for value in choice.make(frame)]
        code = [call(kfunc, [value.argument for value in values], slot), *after]
        for value in reversed(values):
            code = value.wrap(code)
        return code

    def _release(self, held: Parameter, slot: int, frame: Frame) -> list[Statement]:
        """Gives back the object in `slot`: by a call that ends it, or turns it into one that is given back.

        Empty when there is none.
        """
        if held.shape != "object" or not (way := self._way(held.struct)):
            return []
        first, *more = way
        if not more:
            return [call(first, [["value", slot]])]
        then = frame.slot()
        return [call(first, [["value", slot]], then), ["if", then, [call(more[0], [["value", then]])]]]

    def _way(self, struct: str) -> list[str]:
        """The names of the kfuncs that give back an object, one after the other."""
        if struct not in self._ways:
            self._ways[struct] = self._end(struct) or self._turn(struct)
        return self._ways[struct]

    def _takers(self, struct: str) -> list[str]:
        return [name for name, takes in self._parameters.items() if [it.struct for it in takes] == [struct]]

    def _end(self, struct: str) -> list[str]:
        ends = (it for it in self._takers(struct) if self.returns(it) == "nothing" and any(w in it for w in _RELEASES))
        return [*islice(ends, 1)]

    def _turn(self, struct: str) -> list[str]:
        for name in self._takers(struct) if struct not in _EVERYWHERE else ():
            held = self._returned[name]
            if held.shape == "object" and (end := self._end(held.struct)):
                return [name, *end]
        return []

    # --- units

    def _derived(self, name: str) -> list[Unit]:
        """Raises LookupError, with the reason, when no call of it can be derived."""
        found: list[Unit] = []
        takes = self.parameters(name)
        if name not in self._parameters:
            raise LookupError("BTF has no prototype of it")
        for number, each in enumerate(takes):
            sized = number + 1 < len(takes) and takes[number + 1].shape == "size"
            if each.shape == "size":
                if not number or takes[number - 1].shape not in ("buffer", "object"):
                    found.append(Unit(each.name, SIMPLE["scalar"]))
                continue
            found.append(Unit(each.name, self._choices(name, each, sized=sized)))
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
        if each.shape == "dynptr":
            return dynptrs(f"{name} {each.name}")
        return SIMPLE.get(each.shape) or (SIMPLE["scalar"][0], [])

    def _objects(self, name: str, each: Parameter) -> tuple[list[Choice], list[Choice]]:
        right: list[Choice] = []
        edges = [*NOT_OBJECTS]
        if each.struct == TASK:
            right.append(Choice("the running task", lambda frame: [current_task(frame)]))
            edges.pop()
        for source, held in self._returned.items():
            if source == name or held.shape != "object" or held.struct != each.struct:
                continue
            if found := self._accepted(source):
                right += [self._object(found, each, ""), self._object(found, each, _TAKEN)]
                edges += [self._object(found, each, _RELEASED, 2), self._object(found, each, _TAKEN, 1)]
        buffer, more = buffers(each, f"{name} {each.name}", sized=False)
        return [*right, *buffer], [*edges, *(edge for edge in more if edge.label == "a byte short")]

    def _object(self, source: Call, each: Parameter, how: str, rank: int = 0) -> Choice:
        """What another kfunc returns. It is released behind the call unless `how` says otherwise."""

        def make(frame: Frame) -> list[Value]:
            slot = frame.slot()

            def wrap(inner: list[Statement]) -> list[Statement]:
                drop = self._release(each, slot, frame) if how != _TAKEN else []
                code = [*drop, *inner] if how == _RELEASED else [*inner, *drop]
                return self._made(source.kfunc, source.choices, frame, slot, [["if", slot, code]])

            return [Value(["value", slot], wrap)]

        return Choice(f"{source.kfunc}'s{how}", make, rank)

    def _iterators(self, name: str, each: Parameter) -> tuple[list[Choice], list[Choice]]:
        new, destroy = f"{each.struct}_new", f"{each.struct}_destroy"
        if new not in self._parameters or destroy not in self._parameters:
            raise LookupError(f"there is no {new} or {destroy}")

        def fresh(frame: Frame) -> list[Value]:
            slot = frame.slot(each.size)
            end = [call(destroy, [["stack", slot]])] if name == new else []
            return [Value(["stack", slot], lambda inner: [*inner, *end])]

        def begun(frame: Frame) -> list[Value]:
            found = self._accepted(new)
            if found is None:
                raise LookupError(f"no call of {new} is accepted")
            slot = frame.slot(each.size)
            at = Choice("", lambda _: [Value(["stack", slot])])
            end = [] if name == destroy else [call(destroy, [["stack", slot]])]

            def wrap(inner: list[Statement]) -> list[Statement]:
                return self._made(new, [at, *found.choices[1:]], frame, None, [*inner, *end])

            return [Value(["stack", slot], wrap)]

        first, second = Choice("uninitialised", fresh, 2), Choice("begun", begun, 0)
        right, wrong = (first, second) if name == new else (second, first)
        return [right], [wrong, *NOT_OBJECTS]

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
            units = self._units[name] = self._derived(name)
        except LookupError as error:
            return str(error)
        words = "no call was tried"
        for choices in islice(product(*(unit.right for unit in units)), _MOST):
            found = self._with_program(Call(name, "right", 0, choices))
            refused, words = self._load(found.program) if found.program else (-1, found.why)
            if not refused:
                return found
            if any(text in words for text in _FORBIDDEN):
                break
        return words

    def edges(self, right: Call) -> Iterator[tuple[Edge, Call]]:
        """One unit at the edge."""
        for edge in self._single(right):
            yield edge, self._with(right, (edge,))

    def pairs(self, right: Call, refused: Collection[Edge]) -> tuple[list[Call], int]:
        """Two units at the edge, one of which alone was refused: the first ones, and how many there are in all."""
        single = self._single(right)
        found = [
            (one, two)
            for number, one in enumerate(single)
            for two in single[number + 1 :]
            if one[0] != two[0] and (one in refused or two in refused)
        ]
        return [self._with(right, pair) for pair in found[:_MOST_PAIRS]], len(found)

    def _single(self, right: Call) -> list[Edge]:
        return [(at, edge) for at, unit in enumerate(self._units[right.kfunc]) for edge in unit.edges]

    def _with(self, right: Call, edges: Sequence[Edge]) -> Call:
        choices, units = list(right.choices), self._units[right.kfunc]
        for at, edge in edges:
            choices[at] = edge
        label = ", ".join(f"{units[at].name} {edge.label}" for at, edge in edges)
        return self._with_program(Call(right.kfunc, label, sum(edge.rank for _, edge in edges), choices))

    def _with_program(self, call: Call) -> Call:
        try:
            call.program = self._program(call.kfunc, call.choices)
        except LookupError as error:
            call.why = str(error)
        return call
