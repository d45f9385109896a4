# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Features: which helpers may TC and XDP programs call, and which types of programs, maps and attachments are there?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

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
    StateWord,
)
from runner.model.version import KernelVersion
from runner.model.words import errno_name
from runner.probes.files import ProbeFile
from runner.probes.kind import UNNAMED, Kind, nonsense, not_asked
from runner.probes.verifier import plain_words, platform_trouble, verdict_line

NAME = "features"
HELPERS, MAPS, PROGRAMS, ATTACH = "bpf_func_id", "bpf_map_type", "bpf_prog_type", "bpf_attach_type"
_ENUMS = {MAPS: "BPF_MAP_TYPE_", PROGRAMS: "BPF_PROG_TYPE_", ATTACH: "BPF_"}
_FAMILIES = {HELPERS: "helpers", MAPS: "map types", PROGRAMS: "program types", ATTACH: "attach types"}
_FUNC, _ENDS = "BPF_FUNC_", ("_unspec", "_UNSPEC", "_DEPRECATED")
ABSENT, REFUSED, DECLARED, AVAILABLE = "absent", "not available", "declared", "available"
# What the verifier says when a program type may not call a helper: until 6.13 the first, from 6.14 on the last.
_NOT_FOR_TYPE = ("unknown func ", "invalid func ", "program of this type cannot use helper ")
_NOT_IN_PROBE = "helper call is not allowed in probe"


class FeaturesEntry(Plain):
    """The mapping `{features: all}` among the matrix's `probes`."""

    features: Annotated[Literal["all"], Field(description="helpers, and types of programs, maps and attachments")]


class _Helpers(Plain):
    """What the agent says of helpers; see runner/agent/features.py."""

    errnos: Mapping[str, int]
    words: Mapping[str, int]
    lines: tuple[str, ...]


class _Types(Plain):
    """What it says of the names of an enum."""

    values: Mapping[str, int]


@dataclass(frozen=True)
class KnownFeatures:
    """Is it asked at all, and which names has some kernel: of each enum, by what subjects are called. Sorted."""

    asked: bool = False
    names: tuple[tuple[str, str], ...] = ()


class Features(Kind[KnownFeatures]):
    """Its rows have a state: of a helper for programs of a type, of a type by itself."""

    name = NAME
    noun = "feature"
    subject = "feature"
    question = "Which kernel has which {subject}"
    due = frozenset()  # nothing is claimed about them
    states = (
        StateWord(ABSENT, 0, Mark("-", "-", "bright_black")),
        StateWord(REFUSED, 0, Mark("✗", "x", "yellow")),
        StateWord(DECLARED, 1, Mark("○", "o", "cyan")),
        StateWord(AVAILABLE, 2, Mark("✓", "+", "green")),
    )
    entry = FeaturesEntry

    def load(self, root: Path, files: Sequence[ProbeFile]) -> KnownFeatures:
        return KnownFeatures(any(isinstance(file.written, FeaturesEntry) for file in files))

    def grown(self, known: KnownFeatures, results: Iterable[CellResult]) -> KnownFeatures:
        if not known.asked:
            return known
        names = (named for result in results for it in result.of(NAME) for named in _named(it))
        return KnownFeatures(True, tuple(sorted({*known.names, *names})))

    def asks(self, known: KnownFeatures, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        for probe in _probes() if known.asked else ():
            what, prog_type = _of(probe)
            yield Ask(kind=NAME, probe=probe, body={"what": what, "prog_type": prog_type})

    def files(self, ask: Ask) -> Collection[str]:
        return ()

    def family(self, row: Row) -> str:
        return _FAMILIES[_of(row.probe)[0]]

    def judge(self, result: CellResult, known: KnownFeatures, earlier: Sequence[Row]) -> Iterable[Row]:
        answers = {answer.probe: answer for answer in result.of(NAME)}
        for probe in _probes() if known.asked else ():
            what, prog_type = _of(probe)
            names = [name for enum, name in known.names if enum == what]
            answer = answers.get(probe)
            if answer is None or answer.failed:
                why = answer.failed if answer else not_asked(result, probe)
                yield from (_row(probe, prog_type, name, NO_ANSWER, why) for name in names)
                continue
            try:
                said = {**dict.fromkeys(names, (ABSENT, UNNAMED)), **_states(what, answer)}
            except ValidationError as error:
                said = dict.fromkeys(names, (NO_ANSWER, nonsense(error)))
            for name, (state, cause) in said.items():
                yield _row(probe, prog_type, name, state, cause)


def _row(probe: str, prog_type: str, name: str, state: str, cause: str) -> Row:
    return Row(kind=NAME, probe=probe, subject=name, type=prog_type, state=state, cause=cause)


def _probes() -> Iterator[str]:
    """`features:tc` is about helpers, `features:bpf_map_type` about that enum."""
    yield from (f"{NAME}:{it}" for it in (*NETWORK_TYPES, *_ENUMS))


def _of(probe: str) -> tuple[str, str]:
    """The enum, and the program type of helpers."""
    word = probe.partition(":")[2]
    return (word, "") if word in _ENUMS else (HELPERS, word)


def _named(answer: Answer) -> Iterator[tuple[str, str]]:
    """What a kernel named. Nothing when the answer is none."""
    try:
        what = _of(answer.probe)[0]
        yield from ((what, name) for name in _states(what, answer))
    except ValidationError:
        return


def _states(what: str, answer: Answer) -> dict[str, tuple[str, str]]:
    """The state of each subject, and why it is not the best one. Raises ValidationError."""
    if answer.failed:
        return {}
    if what == HELPERS:
        said = _Helpers.model_validate(answer.body)
        return {
            f"bpf_{name.removeprefix(_FUNC)}": _helper(errno, said.lines[said.words[name]] if errno else "")
            for name, errno in said.errnos.items()
            if _is_one(name, _FUNC)
        }
    values = _Types.model_validate(answer.body).values
    return {name: _type(what, value) for name, value in values.items() if _is_one(name, _ENUMS[what])}


def _is_one(name: str, prefix: str) -> bool:
    """Enums also have a name for nothing, one for their end, and old names."""
    return name.startswith(prefix) and not name.endswith(_ENDS)


def _helper(errno: int, log: str) -> tuple[str, str]:
    words = plain_words(log)
    if errno == 0:
        return AVAILABLE, ""
    if any(text in words for text in (*_NOT_FOR_TYPE, _NOT_IN_PROBE)):
        return REFUSED, "programs of this type may not call it"
    if trouble := platform_trouble(errno, log):
        return NO_ANSWER, trouble
    return (AVAILABLE, "") if verdict_line(log) else (NO_ANSWER, f"refused without a word: -{errno_name(errno)}")


def _type(what: str, value: int) -> tuple[str, str]:
    """What the probe of a type says, which is 1, 0 or a negative errno; of attachments there is none."""
    if what == ATTACH:
        return DECLARED, "the kernel's BTF names it; nothing was attached"
    if value < 0:
        return NO_ANSWER, f"the probe of the type fails: -{errno_name(-value)}"
    return (AVAILABLE, "") if value else (REFUSED, "the kernel was built without it")


KIND = Features()
