# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection asks of each kernel, and what a kernel's result answers to it. Pure.

A probe is asked of every kernel, whatever its `since` and `until` say: where an answer changed is what is sought.
"""

from __future__ import annotations

import operator
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from pydantic import JsonValue

from runner.errors import UserError
from runner.model import Ask, AskedCell, Cell, CellResult, ImagePin, Outcome, Pin, ProgType, Row, Sha256
from runner.model.version import KernelVersion
from runner.probes import KINDS, Expectations
from runner.results.bisections import BisectionQuestion
from runner.text import nearest

CRASHED = "crashed the kernel"


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """What one result says: an answer that is equal where kernels behave alike, or why there is none.

    `number` is what was counted, where a bound of it is asked about.
    """

    answer: str
    cause: str = ""
    number: int | None = None

    def __str__(self) -> str:
        counted = "" if self.number is None else f" ({self.number})"
        return f"{self.answer}{counted}" if self.answer else f"no answer: {self.cause}"


@dataclass(frozen=True, slots=True)
class Bound:
    """`insns>900000`: a question about a number that the kernel counted."""

    number: str
    sign: str
    value: int

    @classmethod
    def split(cls, word: str) -> tuple[str, Self | None]:
        """What stands before the bound, and the bound, if `word` ends in one."""
        found = _BOUND.fullmatch(word)
        if found is None:
            return word, None
        return found["name"], cls(found["number"], found["sign"], int(found["value"].replace("_", "")))

    def __str__(self) -> str:
        return f"{self.number}{self.sign}{self.value}"

    def answer(self, counted: int) -> str:
        """`insns>900000`, or the opposite."""
        holds, opposite = _SIGNS[self.sign]
        return str(self if holds(counted, self.value) else replace(self, sign=opposite))


_SIGNS: Final = {">=": (operator.ge, "<"), "<=": (operator.le, ">"), ">": (operator.gt, "<="), "<": (operator.lt, ">=")}
_BOUND = re.compile(rf"(?P<name>.+):(?P<number>[a-z_]+)\s*(?P<sign>{'|'.join(_SIGNS)})\s*(?P<value>\d[\d_]*)")


@dataclass(frozen=True)
class Target:
    """A probe, or the state of a subject, with all that is known about it. `probe` is empty for a state.

    `about` are the probes that tell something of the subject and type: its state depends on all of them. Of an item
    (a program of an object, a test of a command) `probe` is the row's, and `about` the probe that has the item.
    `users`: it is about files of the user's.
    """

    question: BisectionQuestion
    probe: str
    about: frozenset[str]
    expectations: Expectations
    refs: tuple[str, ...] = ()  # the sources that what is claimed names
    item: str = ""
    users: bool = False
    bound: Bound | None = None
    _judged: deque[tuple[CellResult, tuple[Row, ...]]] = field(
        default_factory=lambda: deque(maxlen=4), repr=False, compare=False
    )

    def asks(self, version: KernelVersion | None, *, fully: bool) -> tuple[Ask, ...]:
        """What answers the question; `fully`: all that tells something of the subject, its declaration too."""
        types = tuple(it for it in ProgType if it == self.question.type)
        wanted = self.about if fully or self.item or not self.probe else {self.probe}
        asks = (ask for ask in self.expectations.asks(version, types) if ask.probe in wanted)
        return tuple(_narrowed(ask, self.item) for ask in asks)

    def was_asked(self, then: AskedCell | None, version: KernelVersion | None, programs: Mapping[str, Sha256]) -> bool:
        """Was a kernel asked the same in another run? There a file may have had other bytes.

        `programs`: the digests of what would be pushed now.
        """
        if then is None:
            return False
        others = {ask.probe: ask for ask in then.asks}
        # a file of another architecture may be in one alone
        changed = {name: it for name, it in programs.items() if then.programs.get(name, it) != it}
        return all(
            ask.probe in others
            and _body(ask) == _body(others[ask.probe], ask.only)
            and not KINDS[ask.kind].programs(ask, changed)
            for ask in self.asks(version, fully=False)
        )

    def rows(self, result: CellResult) -> tuple[Row, ...]:
        """All that is judged of a result; the last few are remembered, for each is looked at several times."""
        rows = next((rows for known, rows in self._judged if known is result), None)
        if rows is None:
            rows = self.expectations.rows(result)
            self._judged.append((result, rows))
        return rows

    def row(self, result: CellResult) -> Row | None:
        """The judged answer; None where the kernel was not asked."""
        about = self.question
        return next(
            (
                row
                for row in self.rows(result)
                if (row.probe == self.probe if self.probe else row.state and row.subject == about.subject)
                and self._is_about(row)
            ),
            None,
        )

    def _is_about(self, row: Row) -> bool:
        """Of a user's item the type is not known before it was asked."""
        return row.subject == self.question.subject and (self.users or row.type == self.question.type)

    def read(self, result: CellResult) -> TargetAnswer:
        """What a kernel's result says to the question."""
        if result.outcome is not Outcome.RAN:
            return TargetAnswer("", f"{result.outcome}: {result.cause}" if result.cause else str(result.outcome))
        row = self.row(result)
        if row is None:
            return TargetAnswer("", self._missing(result))
        if row.crashed:
            return TargetAnswer(CRASHED)
        if not row.answered:
            return TargetAnswer("", row.cause)
        told = {answer.probe for answer in result.answers} | {*result.crashed}
        if unasked := [it for it in self.asks(result.cell.kernel.judged_as, fully=False) if it.probe not in told]:
            return TargetAnswer("", f"{unasked[0].probe} was not asked")
        words = " ".join(dict.fromkeys(filter(None, (row.state, row.answer)))) or row.observed
        if self.bound is None or row.errno:
            return TargetAnswer(words, row.cause)
        if self.bound.number not in row.numbers:
            there = f"; there are {', '.join(row.numbers)}" if row.numbers else ""
            return TargetAnswer("", f"{self.bound.number} was not counted{there}")
        number = row.numbers[self.bound.number]
        return TargetAnswer(self.bound.answer(number), row.cause, number)

    def _missing(self, result: CellResult) -> str:
        """Why there is no row: the probe that has the item may tell."""
        whole = next((row for row in self.rows(result) if row.probe in self.about), None)
        if whole is None:
            return "the kernel was not asked about it"
        return whole.cause if whole.crashed or not whole.answered else f"{whole.probe} ran, and told of no {self.item}"

    def known_issue(self, result: CellResult) -> str:
        """The id of the known issue that this answer shows; of a state, one that keeps it from being the best."""
        rows = self.rows(result)
        mine = [row for row in rows if self._is_about(row)]
        if self.probe:
            mine = [row for row in mine if row.probe == self.probe]
        elif (own := next((row for row in mine if row.state), None)) and own.state == KINDS[own.kind].best:
            return ""
        return next((row.known_issue for row in mine if row.known_issue), "")

    def evidence(self, result: CellResult) -> dict[str, str]:
        """What was observed, in words; where a number is asked about, each number apart."""
        if (row := self.row(result)) is None:
            return {}
        shown = dict(KINDS[row.kind].shown(result, row))
        if self.bound:
            shown.pop("numbers", None)
            shown |= {name: str(number) for name, number in row.numbers.items()}
        return shown

    def declared(self, result: CellResult) -> tuple[str, ...]:
        """Lines of C about the subject, as far as some kind of probe tells them."""
        for row in self.rows(result):
            if self._is_about(row) and (lines := tuple(KINDS[row.kind].declared(row))):
                return lines
        return ()


def _body(ask: Ask, only: str = "") -> Mapping[str, JsonValue]:
    """What an answer depends on, or that of one item."""
    narrow = ask.model_copy(update={"only": only or ask.only})
    return KINDS[ask.kind].essence(narrow).body


def _narrowed(ask: Ask, item: str) -> Ask:
    """The same about one item. An object as a whole is asked about with its parts: these tell why it is refused."""
    alone = ask.items and (item in ask.programs or ":" in item or ask.careful)
    return ask.model_copy(update={"only": item, "careful": True}) if alone else ask


def find(word: str, expectations: Expectations) -> Target:
    """`PROBE` or `SUBJECT`, with `:TYPE` where there are several; `OBJECT/PROGRAM`, with `:NUMBER>N` for its number.

    Raises UserError, with the nearest name.
    """
    name, bound = Bound.split(word)
    rows = expectations.rows(_NEVER_RAN)
    if "/" in name or _is_users(name, rows):
        return _item(name, bound, rows, expectations)
    if bound:
        raise UserError(f"{name} counts nothing", hint="only programs have numbers, like lb/ingress:insns>900000")
    name, _, type_ = name.partition(":")
    probes = [row for row in rows if row.verdict and row.probe == (f"{name}:{row.type}" if row.type else name)]
    states = [row for row in rows if row.state and row.subject == name]
    if not (probes or states):
        raise _unknown(name, rows)
    types = tuple(dict.fromkeys(row.type for row in probes or states))
    if type_ and type_ not in types:
        raise UserError(f"nothing is known of {name} for {type_!r}", hint=f"like {name}:{types[0]}")
    if probes:
        row = next(row for row in probes if type_ in {"", row.type})
        probe, subject, type_ = row.probe, row.subject, row.type
        said = [it for it in expectations.said() if it.probe == probe][:1]
    else:
        shown = [row.type for row in rows if row.verdict and row.subject == name]  # the types of which more is known
        type_ = type_ or next((it for it in types if f"_{it}_" in name), shown[0] if shown else types[0])
        probe, subject = "", name
        said = [it for it in expectations.said() if it.subject == name]
    about = frozenset(row.probe for row in rows if (row.subject, row.type) == (subject, type_))
    refs = tuple(ref for it in said for ref in it.refs)
    question = BisectionQuestion(
        target=probe or (f"{name}:{type_}" if type_ else name),
        subject=subject,
        type=type_,
        says=said[0].says if probe and said else "",
    )
    return Target(question, probe, about, expectations.everywhere(probe), refs)


def _item(name: str, bound: Bound | None, rows: Iterable[Row], expectations: Expectations) -> Target:
    """A map of an object, which has a colon, and a test of a command are not known before a kernel was asked."""
    probe, _, item = name.partition("/")
    kinds = {row.probe: row.kind for row in rows}
    kind = kinds.get(name, "")
    if not kind and ":" in item and f"{probe}/{item.partition(':')[0]}" not in kinds:
        kind = next((it for known, it in kinds.items() if known.startswith(f"{probe}/")), "")
    if not kind and item and _is_users(probe, rows):
        kind = kinds[probe]
    if not kind and (found := _call(name, expectations)):
        return found
    if not kind:
        raise _unknown(name, rows)
    if bound and bound.number not in (counts := KINDS[kind].counts):
        raise UserError(f"no kernel counts {bound.number!r}", hint=nearest(bound.number, counts))
    question = BisectionQuestion(target=f"{name}:{bound}" if bound else name, subject=name)
    alone = expectations.everywhere(probe)
    alone = replace(alone, known={kind: alone.known[kind]})
    return Target(question, name, frozenset({probe}), alone, item=item, users=True, bound=bound)


def _call(name: str, expectations: Expectations) -> Target | None:
    """`boundaries:tc/KFUNC ARGUMENTS`: an item of a probe whose items are not known before a kernel was asked."""
    probe, _, item = name.partition("/")
    for type_ in (it for it in ProgType if probe.endswith(f":{it}")):
        for ask in expectations.asks(None, (type_,)):
            if ask.probe == probe and ask.careful and item:
                known = {ask.kind: expectations.known[ask.kind]}
                question = BisectionQuestion(target=name, subject=item, type=type_)
                return Target(question, name, frozenset({probe}), replace(expectations, known=known), item=item)
    return None


def _is_users(probe: str, rows: Iterable[Row]) -> bool:
    """Is it a probe as a whole that is about files of the user's?"""
    return any(row.probe == probe and KINDS[row.kind].users for row in rows)


def _unknown(name: str, rows: Iterable[Row]) -> UserError:
    names = dict.fromkeys([row.probe.partition(":")[0] for row in rows if row.verdict] + [row.subject for row in rows])
    hint = nearest(name, names, "bpf/*.yaml has the probes and what they are about")
    return UserError(f"there is no probe, kfunc or program {name!r}", hint=hint)


# Its rows say what could be asked.
_NEVER_RAN = CellResult(
    cell=Cell(
        id="none",
        name="none",
        kernel=Pin(source="tree:/none", arch="x86_64", version="6.0", release="none"),
        image=ImagePin(suite="none", arch="x86_64", packages=()),
        probes=(),
    ),
    outcome=Outcome.SKIPPED,
)
