# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kind of probe is. Each is a folder beside this file whose `KIND` is one; runner/agent/NAME.py asks its probes.

Nothing else names a kind: reports, comparisons and the engine work on its asks, answers and rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from runner.errors import first_of
from runner.model import (
    NO_ANSWER,
    Answer,
    Ask,
    Asked,
    CellResult,
    Mark,
    Outcome,
    Plain,
    ProgType,
    Row,
    SharedFile,
    StateWord,
    Verdict,
)
from runner.model.version import KernelVersion
from runner.probes.files import VMLINUX, ProbeFile, Said
from runner.probes.lessons import Judged, Learning, Lesson

CRASHED = "crashed the kernel"
OTHERS = "others"  # the family of what has none begins so
UNNAMED = "the kernel's BTF does not name it"
NO_ANSWER_WORD = StateWord(NO_ANSWER, -1, Mark("?", "?", "bold magenta"))

Pairs = Iterable[tuple[str, str]]  # a word, and what it is


@dataclass(frozen=True, slots=True)
class Need:
    """An option of a kernel's .config, named without CONFIG_. A kernel without a `vital` one is not booted."""

    option: str
    why: str
    module: str = ""  # what it is where it is built as a module
    vital: bool = False
    where: str = ""  # needed only where this option is set


class GridPlace(NamedTuple):
    """Where a grid shows a subject. Without a group subjects are sorted; in one they stay in the order of the rows."""

    name: str
    group: str = ""  # has a title
    rank: int = 0  # in it
    noun: str = ""  # what its rows are called when they are counted, if not by the noun of the kind
    earlier: str = ""  # the subject of an earlier build in the same boot, which it is compared with; empty: no builds


KnownT = TypeVar("KnownT")


class Kind(Generic[KnownT]):
    """One kind. `KnownT` is what a project says about it: frozen, and its repr tells it from every other one."""

    name: ClassVar[str]  # of its folder; the kind of its asks, answers and rows; its section of an export
    noun: ClassVar[str] = "answer"  # what one of its rows is called: "3648 claims"
    subject: ClassVar[str] = "subject"  # what its rows are about: the head of that column
    log_title: ClassVar[str] = "Log of the load"  # what the log of one of its rows is called
    question: ClassVar[str] = "{subject}s by kernel"  # what a grid of its states answers; `{programs}` of a type
    states: ClassVar[tuple[StateWord, ...]] = ()  # that its rows may have, the worst first
    # how a grid shows the best state against what is expected, and the worst as expected; it then tells what is broken,
    # and why there is no answer
    judged_states: ClassVar[tuple[StateWord, ...]] = ()
    one_type: ClassVar[bool] = False  # a subject has one type, which only an answer tells
    # the types that a run must have an answer of, and that a grid shows unless all are wanted; None: all
    due: ClassVar[frozenset[str] | None] = None
    keys: ClassVar[type[Plain] | None] = None  # its keys of bpf/NAME.yaml
    entry: ClassVar[type[Plain] | None] = None  # its mapping among the matrix's `probes`; the first field is the key
    pattern: ClassVar[type[Plain] | None] = None  # of an answer, in bpf/known-issues.yaml
    evidence: ClassVar[tuple[str, ...]] = ()  # kinds that are judged before it: it gets their rows
    reads: ClassVar[tuple[str, ...]] = ()  # kinds whose answers `judge` looks at besides its own
    # of an answer's body: logs that `judge` and `shows` read only by `says`, `verdict_line` and the others of
    # runner.probes.verifier, which see no address and no BTF id: rows are then the same whatever these are
    logs: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()  # the numbers that its rows may have: Row.numbers
    circumstances: ClassVar[tuple[str, ...]] = ()  # of an answer's body: how fast it came, and the like; no row has it
    apart: ClassVar[frozenset[str]] = frozenset()  # of an ask's body: no answer depends on it, as it is for the host
    steady: ClassVar[bool] = True  # does the same guest give the same answer? Otherwise none is kept for a later run
    options: ClassVar[tuple[str, ...]] = ()  # of the kernel's .config, kept with each result
    needs: ClassVar[tuple[Need, ...]] = ()
    shell: ClassVar[bool] = False  # has its module in the guest a `shell`, which opens one where a probe's files are?
    users: ClassVar[bool] = False  # is a question about files of the user's, which change between runs?
    learning: ClassVar[Learning | None] = None  # how rows teach what to expect, of a kind whose probes have `expect`
    unpacked: ClassVar[tuple[str, ...]] = ()  # modules that are taken from a kernel, with what they depend on

    def load(self, root: Path, files: Sequence[ProbeFile]) -> KnownT:
        """What the project at `root` says. Raises UserError with FILE:LINE when it is wrong."""
        raise NotImplementedError

    def recalled(self, asked: Asked) -> KnownT | None:
        """What was said when this was asked, of a kind whose asks tell that; None: they do not, or none is of it."""
        return None

    def grown(self, known: KnownT, results: Iterable[CellResult]) -> KnownT:
        """With what these results teach: a name that one kernel has is looked for in all of them."""
        return known

    def everywhere(self, known: KnownT, probe: str) -> KnownT:
        """What is known, with `probe` asked of every kernel, whatever its `since` and `until` are.

        What its answer does not depend on may be left out.
        """
        return known

    def essence(self, ask: Ask) -> Ask:
        """The ask without what no answer depends on. Equal asks have one answer."""
        return without(ask, self.apart) if self.apart else ask

    def files(self, ask: Ask) -> Collection[str] | None:
        """Of the pushed files, the names of those that its answer may depend on. None: all."""
        return None

    def programs(self, ask: Ask, pushed: Mapping[str, str]) -> dict[str, str]:
        """Of the digests of pushed files, by name, those of `files`."""
        names = self.files(ask)
        return {name: digest for name, digest in pushed.items() if names is None or name in names}

    def asks(self, known: KnownT, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        """What to ask a kernel of this version; `types` where programs of any type can be asked about.

        None: its version tells nothing, see `Pin.judged_as`.

        What may take the kernel down comes last: each such boot costs seconds.
        """
        raise NotImplementedError

    def reminded(self, ask: Ask, last: Callable[[], CellResult | None]) -> Ask:
        """The ask, with what its answer is held against of the last result of this kernel that answered the probe."""
        return ask

    def resumed(self, ask: Ask, answers: Iterable[Answer]) -> Ask:
        """The ask for another guest, with what that must know of these answers of the last one."""
        return ask

    def modules(self, known: KnownT) -> Iterable[str]:
        """To load before anything is asked, besides those of the files."""
        return ()

    def objects(self, known: KnownT) -> Iterable[str]:
        """The names of the BPF objects to compile: bpf/NAME.bpf.c."""
        return ()

    def pushed(self, known: KnownT, arch: str) -> Mapping[str, bytes]:
        """By name, what lies beside the agent in guests of this architecture besides those objects.

        Raises UserError when there is nothing for this architecture.
        """
        return {}

    def shared(self, ask: Ask, uname: str, payload: Mapping[str, bytes]) -> Mapping[str, SharedFile]:
        """What guests of this architecture are shown of this machine when this is asked, by path."""
        return {}

    def about(self, known: KnownT, probes: Collection[str]) -> KnownT | None:
        """What judges these probes, of a kind whose rows depend on no answer of it to other ones, nor on `evidence`."""
        return None

    def judge(self, result: CellResult, known: KnownT, earlier: Sequence[Row]) -> Iterable[Row]:
        """The rows of one cell, also of one that did not run. `earlier` are the rows of the kinds in `evidence`."""
        raise NotImplementedError

    def shows(self, pattern: Any, result: CellResult, row: Row) -> bool:
        """Is the answer behind the row as the `pattern` says?"""
        return False

    def said(self, known: KnownT) -> Iterable[Said]:
        """What is claimed, each with who says it."""
        return ()

    def learn(self, known: Any, cells: Judged) -> Lesson:
        """What these cells teach about the `expect` entries of its probes."""
        return self.learning.lesson(self, known, cells) if self.learning else Lesson()

    def begun(self, known: KnownT, probe: str) -> Mapping[str, object]:
        """How an entry of bpf/NAME.yaml about this probe begins."""
        return {"id": probe}

    def is_of(self, entry: Mapping[str, object], probe: str) -> bool:
        """Is this entry of bpf/NAME.yaml about the probe?"""
        return entry.get("id") == probe

    def left(self, result: CellResult) -> Mapping[str, bytes]:
        """Files that a guest left, by path; a guest's own names, which are hostile."""
        return {}

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        """What another boot must answer too: the probe, which part of its answer (or item), and that.

        No addresses, nor what a timer has left. `held` are probes whose expectation held: what they counted may differ.
        """
        for answer in result.of(self.name):
            yield answer.probe, answer.item or "answer", answer.failed or json.dumps(answer.body, sort_keys=True)

    # --- how its rows are shown

    def shown(self, result: CellResult, row: Row) -> Pairs:
        """The raw answer behind a row."""
        return ()

    def brief(self, row: Row) -> str:
        """What a list of states shows besides the state and its cause."""
        return ""

    def shown_as(self, row: Row) -> StateWord:
        """What a grid shows of a row with a state."""
        if self.judged_states:
            against, expected = self.judged_states
            if row.state == self.best and row.verdict is Verdict.BROKEN:
                return against
            held = row.verdict in (Verdict.HOLDS, Verdict.NOT_APPLICABLE) or row.known_issue
            if row.state == self.states[0].word and held:
                return expected
        return self.word(row.state)

    def place(self, subject: str) -> GridPlace:
        """Where, and under which name."""
        return GridPlace(subject)

    def family(self, row: Row) -> str:
        """The heading below which long tables list its subject; empty: this row does not tell it."""
        return ""

    def noun_of(self, row: Row) -> str:
        """What it is called when rows are counted."""
        return self.place(row.subject).noun or self.noun

    def title(self, rows: Sequence[Row]) -> str:
        """Of a group, which has these rows."""
        return self.place(rows[0].subject).group

    def declared(self, row: Row) -> Iterable[str]:
        """What the kernel declares the subject to be, in lines."""
        return ()

    def exported(self, result: CellResult, rows: Sequence[Row]) -> list[Mapping[str, object]]:
        """Its section of an export, JSON. Fields are added, never renamed."""
        answers = {it.probe: it.model_dump(mode="json") for it in result.of(self.name) if not it.item}
        return [
            {
                "probe": row.probe, "subject": row.subject, "type": row.type, "state": row.state,
                "verdict": row.verdict, "expected": row.expected, "observed": row.observed, "crashed": row.crashed,
                "cause": row.cause, "known_issue": row.known_issue, "hidden": row.hidden, "errno": row.errno,
                "log": row.log, **row.details, "answer": answers.get(row.probe),
            }
            for row in rows
        ]  # fmt: skip

    def imported(self, entry: Mapping[str, Any]) -> Answer | None:
        """The raw answer in an entry of such a section; None: it has none. Raises ValueError, KeyError."""
        return Answer.model_validate(entry["answer"]) if entry.get("answer") else None

    def word(self, state: str) -> StateWord:
        """How a state is shown."""
        return next((each for each in self.states if each.word == state), NO_ANSWER_WORD)

    def rank(self, state: str) -> int | None:
        """Of two ranks the lower is the worse one. None: not an answer."""
        return next((each.rank for each in self.states if each.word == state), None)

    @property
    def best(self) -> str:
        """The state that needs no explanation; empty where there are no states."""
        return self.states[-1].word if self.states else ""

    def is_due(self, row: Row) -> bool:
        """Does a run lack something when this row has no answer?"""
        return not row.hidden and (self.due is None or row.type in self.due)


def without(ask: Ask, keys: Collection[str]) -> Ask:
    """The ask without these keys of its body."""
    return ask.model_copy(update={"body": {key: it for key, it in ask.body.items() if key not in keys}})


def nonsense(error: ValidationError) -> str:
    """Why an answer that the agent gave is none."""
    return f"the agent's answer is none: {first_of(error)}"


def not_asked(result: CellResult, probe: str) -> str:
    """Why a probe without an answer has none."""
    if result.outcome is not Outcome.RAN:
        return f"{result.outcome}: {result.cause}" if result.cause else str(result.outcome)
    return result.cause or f"{probe} was not asked"


def unready(result: CellResult, holder: str, option: str = "") -> str:
    """Why it shows nothing that a kfunc of `holder` (vmlinux, a module) is missing; empty when `holder` was there.

    `option` builds the module: what is built in has its kfuncs in vmlinux.
    """
    facts = result.facts
    if VMLINUX not in facts.btf:
        return "the kernel has no BTF"
    if holder == VMLINUX or result.config.get(option) == "y":
        return ""
    if result.config.get(option) == "n":
        return f"CONFIG_{option} is not set"
    if holder not in facts.modules:
        return f"module {holder} was not loaded"
    if reason := facts.modules[holder]:
        return f"module {holder} did not load: {reason}"
    return "" if holder in facts.btf else f"module {holder} has no BTF in this kernel"


def built_without(result: CellResult, holder: str, option: str) -> str:
    """Why the kernel was built without the kfuncs of `holder`, which `option` builds; empty: it may have them."""
    config = result.config
    if config.get("DEBUG_INFO_BTF") == "n":
        return "CONFIG_DEBUG_INFO_BTF is not set"
    if config.get(option) == "n":
        return f"CONFIG_{option} is not set"
    loaded = config.get(option) != "y" and result.facts.modules.get(holder) == ""
    if loaded and config.get("DEBUG_INFO_BTF_MODULES") == "n":
        return "CONFIG_DEBUG_INFO_BTF_MODULES is not set: no module has kfuncs"
    return ""
