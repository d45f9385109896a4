# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boundaries: what does the verifier accept, and the kernel not survive? Calls of kfuncs with arguments at the edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from runner.model import (
    NETWORK_TYPES,
    NO_ANSWER,
    Answer,
    Ask,
    CellResult,
    Mark,
    Plain,
    ProgType,
    Row,
    State,
    StateWord,
    Verdict,
)
from runner.model.version import KernelVersion
from runner.model.words import ERRNO, errno_words
from runner.probes.boundaries.program import source
from runner.probes.files import NO_KFUNCS, KfuncList, ProbeFile, load_kfuncs
from runner.probes.kind import CRASHED, GridPlace, Kind, Pairs, nonsense
from runner.probes.verifier import permission, platform_trouble, verdict_line

NAME = "boundaries"
DIED, SPLAT, WROTE = "the kernel died", "the kernel complained", "wrote behind"
GREW, LEAKED = "keeps memory", "keeps references"
FINDINGS = (DIED, SPLAT, WROTE, GREW, LEAKED)
_REFERENCES = "refs:"  # before the names of counters; see runner/agent/references.py
UNDERIVED, NOT_RUN, UNREACHED, REFUSED, SURVIVED = "not derived", "not run", "not reached", "refused", "survived"
_EXPECTED = "the kernel lives, writes only to what it was given, and keeps nothing"
_Pattern = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_*?\[\]]+$")]


class BoundariesEntry(Plain):
    """The mapping `{boundaries: all}` among the matrix's `probes`."""

    boundaries: Annotated[
        Literal["all"] | tuple[_Pattern, ...],
        Field(description="the kfuncs that are called with arguments at the edge: all, or names with * and ?"),
    ]


@dataclass(frozen=True)
class Known:
    """The kfuncs to look for, and the patterns of those that are asked about: empty for none, `*` for all."""

    kfuncs: KfuncList = NO_KFUNCS
    among: tuple[str, ...] = ()


class Boundaries(Kind[Known]):
    """A row for each call, and for each kfunc of which no call can be derived."""

    name = NAME
    noun = "call"
    subject = "call"
    question = "What {programs} may pass to a kfunc, and whether the kernel survives it"
    states = (
        *(StateWord(word, 0, Mark("✗", "x", "red")) for word in FINDINGS),
        StateWord(UNDERIVED, 1, Mark("·", ".", "bright_black")),
        StateWord(NOT_RUN, 1, Mark("·", ".", "yellow")),
        StateWord(UNREACHED, 1, Mark("~", "~", "yellow")),
        StateWord(REFUSED, 1, Mark("-", "-", "bright_black")),
        StateWord(SURVIVED, 1, Mark("✓", "+", "green")),
    )
    entry = BoundariesEntry
    steady = False
    due = frozenset(NETWORK_TYPES)  # some kernels lack some of the other types

    def load(self, root: Path, files: Sequence[ProbeFile]) -> Known:
        entries = [file.written for file in files if isinstance(file.written, BoundariesEntry)]
        if not entries:
            return Known()
        whole = any(entry.boundaries == "all" for entry in entries)
        patterns = {pattern for entry in entries for pattern in entry.boundaries if entry.boundaries != "all"}
        return Known(load_kfuncs(root), ("*",) if whole else tuple(sorted(patterns)))

    def asks(self, known: Known, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        names: list[JsonValue] = [*sorted(known.kfuncs.names)]
        for prog_type in types if known.among else ():
            body: dict[str, JsonValue] = {"prog_type": prog_type, "kfuncs": names, "among": [*known.among]}
            yield Ask(kind=NAME, probe=f"{NAME}:{prog_type}", body=body, items=True, careful=True)

    def resumed(self, ask: Ask, answers: Iterable[Answer]) -> Ask:
        """Calls that were accepted need not be found again; those that call rightly may be needed by others.

        What is skipped without an answer took a guest down.
        """
        mine = {it.item: it for it in answers if it.probe == ask.probe}
        died = Counter(it.partition(" ")[0] for it in ask.skip if it not in mine)
        known: dict[str, JsonValue] = {}
        for name, answer in mine.items():
            accepted = answer.body.get("accepted")
            if isinstance(accepted, dict):
                left = (
                    it for it in accepted if (f"{name} {it}" == ask.only if ask.only else f"{name} {it}" not in mine)
                )
                known[name] = {label: accepted[label] for label in ("right", *left) if label in accepted}
        body: dict[str, JsonValue] = {**ask.body, "known": known, "died": dict(died)}
        return ask.model_copy(update={"body": body}) if known else ask

    def files(self, ask: Ask) -> Collection[str]:
        return ()

    def modules(self, known: Known) -> Iterable[str]:
        return known.kfuncs.modules if known.among else ()

    def judge(self, result: CellResult, known: Known, earlier: Sequence[Row]) -> Iterable[Row]:
        return rows_of(result)

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        for row in rows_of(result):
            yield row.probe.partition("/")[0], row.subject, row.state

    def shown(self, result: CellResult, row: Row) -> Pairs:
        yield from ((name, str(words)) for name, words in row.details.items() if words)

    def place(self, subject: str) -> GridPlace:
        kfunc, _, call = subject.partition(" ")
        return GridPlace(call or "no call", kfunc)


class _Sweep(Plain):
    """What the verifier said of the calls of one kfunc; see runner/agent/boundaries.py."""

    right: bool
    why: str = ""
    calls: Mapping[str, tuple[int, str]] = Field(default_factory=dict)
    pairs: tuple[int, int] = (0, 0)
    accepted: Mapping[str, tuple[int, Mapping[str, JsonValue]]] = Field(default_factory=dict)
    prototypes: Mapping[str, str] = Field(default_factory=dict)


class _Once(Plain):
    """One run: what the call returned (None: it was not reached), and where memory behind that it was given changed."""

    ret: int | None
    wrote: tuple[tuple[str, int], ...]


class _Run(Plain):
    """A call that was accepted, by how the memory that it is given was filled."""

    runs: Mapping[str, _Once] = Field(default_factory=dict)
    grew: Mapping[str, int] = Field(default_factory=dict)
    calls: int = 0
    contents: Mapping[str, str] = Field(default_factory=dict)  # of the memory, by what it is for, hexadecimal
    killed: int = 0  # the signal that ended the process whose program made the call
    refused: tuple[int, str] | None = None  # as in _Sweep, of a call that was asked about alone


def rows_of(result: CellResult) -> Iterator[Row]:
    """Of every kfunc that was asked about, and of a call that was asked about alone."""
    answers = result.of(NAME)
    by_probe: dict[str, dict[str, Answer]] = {it.probe: {} for it in answers}
    for answer in answers:
        by_probe[answer.probe][answer.item] = answer
    for probe, item in filter(None, (_place(it.probe) for it in result.crashes)):
        by_probe.setdefault(probe, {}).setdefault(item, _UNANSWERED)
    for probe, mine in by_probe.items():
        yield from _Judge(result, probe, mine).rows()


def _place(words: str) -> tuple[str, str] | None:
    """Probe and item of `boundaries:tc:ITEM`; None: of another kind."""
    kind, _, rest = words.partition(":")
    prog_type, _, item = rest.partition(":")
    return (f"{kind}:{prog_type}", item) if kind == NAME and item else None


class _Judge:
    """Of one probe in one cell; `answers` by their items."""

    def __init__(self, result: CellResult, probe: str, answers: Mapping[str, Answer]) -> None:
        self._result, self._probe, self._answers = result, probe, answers
        whole = answers.get("", _UNANSWERED)
        self._not_run = str(whole.body.get("not_run", ""))
        self._uncounted = str(whole.body.get("uncounted", ""))
        left_out = whole.body.get("left_out")
        self._left_out = left_out if isinstance(left_out, list) else []
        self._contents: dict[str, bytes] = {}
        for answer in answers.values():
            contents = answer.body.get("contents")
            self._contents |= _bytes(contents) if isinstance(contents, dict) else {}

    def rows(self) -> Iterator[Row]:
        if whole := self._answers.get("", _UNANSWERED).failed:
            yield _row(self._probe, "all calls", NO_ANSWER, whole)
        for item, answer in self._answers.items():
            name = item.partition(" ")[0]
            if item and item == name:
                yield from self._of_kfunc(answer)
            elif item and name not in self._answers:
                yield self._of_run(item)

    def _of_kfunc(self, answer: Answer) -> Iterator[Row]:
        probe, item = self._probe, answer.item
        if answer.failed:
            yield _row(probe, item, NO_ANSWER, answer.failed)
            return
        try:
            sweep = _Sweep.model_validate(answer.body)
        except ValidationError as error:
            yield _row(probe, item, NO_ANSWER, nonsense(error))
            return
        if not sweep.right:
            if permission(ERRNO["EINVAL"], sweep.why).state is State.NOT_ALLOWED:
                return  # the census says that
            yield _row(probe, item, UNDERIVED, verdict_line(sweep.why) or sweep.why)
            return
        tried, count = sweep.pairs
        if tried < count:
            cause = f"of {count} calls with two arguments at the edge, {tried} were asked about"
            yield _row(probe, f"{item} others", UNDERIVED, cause)
        for label, (errno, log) in sweep.calls.items():
            subject = f"{item} {label}"
            yield self._refused(subject, errno, log) if errno else self._of_run(subject, sweep)

    def _refused(self, subject: str, errno: int, log: str) -> Row:
        if errno < 0:
            return _row(self._probe, subject, UNDERIVED, verdict_line(log) or log)
        if trouble := platform_trouble(errno, log):
            return _row(self._probe, subject, NO_ANSWER, trouble)
        return _row(self._probe, subject, REFUSED, verdict_line(log) or errno_words(errno, ""))

    def _of_run(self, subject: str, sweep: _Sweep | None = None) -> Row:
        row = self._ran(subject)
        return self._with_source(row, sweep) if sweep and row.verdict is Verdict.BROKEN else row

    def _ran(self, subject: str) -> Row:
        probe, place = self._probe, f"{self._probe}:{subject}"
        answer = self._answers.get(subject, _UNANSWERED)
        if crash := next((it for it in self._result.crashes if it.probe == place), None):
            why = crash.cause.removeprefix(f"{DIED}: ") or CRASHED
            return _finding(_row(probe, subject, DIED, why), crashed=True)
        if splat := next((it for it in self._result.splats if it.probe == place and it.blames_kernel), None):
            return _finding(_row(probe, subject, SPLAT, splat.title))
        if answer is _UNANSWERED and (why := self._why_not_run(subject)):
            return _row(probe, subject, NOT_RUN, why)
        if answer is _UNANSWERED or answer.failed:
            return _row(probe, subject, NO_ANSWER, answer.failed or self._result.cause or "it was not run")
        try:
            run = _Run.model_validate(answer.body)
        except ValidationError as error:
            return _row(probe, subject, NO_ANSWER, nonsense(error))
        if run.refused:
            return self._refused(subject, *run.refused)
        returned = ", ".join(f"{name}: {_returned(once.ret)}" for name, once in run.runs.items())
        details = {"returned": returned or f"its process was ended by signal {run.killed}"}
        details |= {"references": f"not counted: {self._uncounted}"} if self._uncounted else {}
        wrote = {(what, at) for once in run.runs.values() for what, at in once.wrote}
        if wrote:
            what, first = min(wrote, key=lambda it: it[1])
            cause = f"{len(wrote)} bytes from {first} behind what it was given as {what}"
            return _finding(_row(probe, subject, WROTE, cause, details))
        if run.grew:
            return _finding(_row(probe, subject, *_grown(run), details))
        if run.runs and all(once.ret is None for once in run.runs.values()):
            return _row(probe, subject, UNREACHED, "nothing gave it the object that it needs", details)
        return replace(_row(probe, subject, SURVIVED, "", details), answer=details["returned"])

    def _why_not_run(self, subject: str) -> str:
        left_out = subject.partition(" ")[0] in self._left_out
        return "other calls of it took down enough guests" if left_out else self._not_run

    def _with_source(self, row: Row, sweep: _Sweep) -> Row:
        cell, (kfunc, _, label) = self._result.cell, row.subject.partition(" ")
        if label not in sweep.accepted:
            return row
        title = f"{row.subject}: {row.state} on {cell.kernel.version} ({cell.arch})"
        program = sweep.accepted[label][1]
        written = source(program, {kfunc: "", **sweep.prototypes}, self._contents, row.type, title)
        return replace(row, details={**row.details, "program": written})


_UNANSWERED = Answer(kind=NAME, probe=NAME)


def _bytes(contents: Mapping[str, JsonValue]) -> dict[str, bytes]:
    try:
        return {what: bytes.fromhex(str(digits)) for what, digits in contents.items()}
    except ValueError:
        return {}


def _grown(run: _Run) -> tuple[str, str]:
    """State and cause, of what grew most; a slab says more than a reference."""
    name, by = max(run.grew.items(), key=lambda it: (not it[0].startswith(_REFERENCES), it[1]))
    more = f"more after {run.calls} calls"
    if not name.startswith(_REFERENCES):
        return GREW, f"{by} objects of {name} {more}"
    counter, _, whose = name.removeprefix(_REFERENCES).partition(",")
    return LEAKED, f"{counter} of {whose.replace('+', ' ')} says {by} {more}"


def _returned(value: int | None) -> str:
    if value is None:
        return "not reached"
    return "an address" if abs(value) > 1 << 32 else str(value if value < 1 << 31 else value - (1 << 32))


def _row(probe: str, subject: str, state: str, cause: str, details: Mapping[str, object] | None = None) -> Row:
    """`probe/subject` is what `cell show` and `cell repro` take."""
    prog_type = probe.partition(":")[2]
    return Row(
        kind=NAME, probe=f"{probe}/{subject}", subject=subject, type=prog_type, state=state, cause=cause,
        details=details or {},
    )  # fmt: skip


def _finding(row: Row, *, crashed: bool = False) -> Row:
    return replace(row, verdict=Verdict.BROKEN, expected=_EXPECTED, observed=row.cause, crashed=crashed)


KIND = Boundaries()
