# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What every report, comparison and query works on: judged answers, whatever kind of probe gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.model.answers import Splat
from runner.model.words import NO_ANSWER, Plain, Verdict


@dataclass(frozen=True, slots=True)
class Mark:
    """How a word is shown; a mark needs no colour to be told apart."""

    sign: str
    ascii: str  # for terminals without UTF-8
    style: str  # of rich


@dataclass(frozen=True, slots=True)
class StateWord:
    """A state of a kind of probe. The lower rank is the worse; equal ranks are neither."""

    word: str
    rank: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Row:
    """What a kernel answered to one probe about one subject, judged.

    A row has a `state` (what is so on this kernel; the grid shows these), a `verdict` (what was expected, held against
    it), or both. Its build, architecture and run are those of the cell that holds it: equal answers of many runs
    share one tuple of rows.
    """

    kind: str  # a folder of runner/probes
    probe: str  # alloc-tcp:tc, census:tc
    subject: str  # a kfunc; a program of an object, a test of a command
    type: str = ""  # the program type, where there is one
    state: str = ""  # a word of the kind's STATES, or NO_ANSWER; empty: the row has a verdict alone
    verdict: Verdict | None = None  # None: nothing was expected
    cause: str = ""  # why it is not the best state, has no answer, or does not apply
    expected: str = ""
    observed: str = ""
    answer: str = ""  # in words that are equal where kernels behave alike; empty: none, or the state says it all
    true: bool | None = None  # what the probe claims, whatever was expected of this kernel; None: not known
    crashed: bool = False  # the probe took the kernel down
    known_issue: str = ""  # the id of the KnownIssue that explains why it is broken
    hidden: bool = False  # no answer, and repeating will not help: the kernel refuses before it looks
    errno: int | None = None
    log: str = ""
    details: Mapping[str, object] = field(default_factory=dict)  # JSON; what else the kind shows closely and exports

    @property
    def word(self) -> str:
        """The state, or else the verdict."""
        return self.state or str(self.verdict or NO_ANSWER)

    @property
    def answered(self) -> bool:
        return self.word != NO_ANSWER

    @property
    def numbers(self) -> Mapping[str, int]:
        """What the kernel counted, by name, where the kind has that in `details`."""
        found = self.details.get("numbers")
        return found if isinstance(found, dict) else {}


class JudgedSplat(Splat):
    """A splat, and the id of the KnownIssue that allows it."""

    known_issue: str = ""


class KnownIssue(Plain):
    """A deviation whose cause is understood. What it explains is shown apart, and does not fail a run."""

    id: str
    what: str
    reason: str
    link: str
    # its kernels were run, every probe that it is about was answered, and none of the answers is the deviation any more
    gone: bool = False
