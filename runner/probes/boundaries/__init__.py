# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boundaries: what does the verifier accept, and the kernel not survive? Calls of kfuncs with arguments at the edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from runner.model import NETWORK_TYPES, Answer, Ask, CellResult, Mark, Plain, ProgType, Row, StateWord
from runner.model.version import KernelVersion
from runner.probes.boundaries.judge import (
    FINDINGS,
    NAME,
    NOT_RUN,
    REFUSED,
    SURVIVED,
    UNDERIVED,
    UNREACHED,
    rows_of,
    said_of,
)
from runner.probes.files import NO_KFUNCS, KfuncList, ProbeFile, load_kfuncs
from runner.probes.kind import GridPlace, Kind, Pairs

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
        yield from said_of(result)

    def shown(self, result: CellResult, row: Row) -> Pairs:
        yield from ((name, str(words)) for name, words in row.details.items() if words)

    def place(self, subject: str) -> GridPlace:
        kfunc, _, call = subject.partition(" ")
        return GridPlace(call or "no call", kfunc)


KIND = Boundaries()
