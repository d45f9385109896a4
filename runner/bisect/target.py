"""What a bisection asks of each kernel, and what a kernel's result answers to it. Pure.

A probe is asked of every kernel, whatever its `since` and `until` say: where an answer changed is what is sought.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from runner.errors import UserError
from runner.model import Ask, Cell, CellResult, ImagePin, Outcome, Pin, ProgType, Row
from runner.model.version import KernelVersion
from runner.probes import KINDS, Expectations, Kind
from runner.results.bisections import BisectionQuestion
from runner.text import nearest

CRASHED = "crashed the kernel"


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """What one result says: an answer that is equal where kernels behave alike, or why there is none."""

    answer: str
    cause: str = ""


@dataclass(frozen=True)
class Target:
    """A probe, or the state of a subject, with all that is known about it. `probe` is empty for a state.

    `about` are the probes that tell something of the subject and type: its state depends on all of them.
    """

    question: BisectionQuestion
    probe: str
    about: frozenset[str]
    expectations: Expectations
    refs: tuple[str, ...] = ()  # the sources that what is claimed names
    _judged: deque[tuple[CellResult, tuple[Row, ...]]] = field(
        default_factory=lambda: deque(maxlen=4), repr=False, compare=False
    )

    def asks(self, version: KernelVersion | None, *, fully: bool) -> tuple[Ask, ...]:
        """What answers the question; `fully`: all that tells something of the subject, its declaration too."""
        types = tuple(it for it in ProgType if it == self.question.type)
        wanted = self.about if fully or not self.probe else {self.probe}
        return tuple(ask for ask in self.expectations.asks(version, types) if ask.probe in wanted)

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
                and row.type == about.type
            ),
            None,
        )

    def read(self, result: CellResult) -> TargetAnswer:
        """What a kernel's result says to the question."""
        if result.outcome is not Outcome.RAN:
            return TargetAnswer("", f"{result.outcome}: {result.cause}" if result.cause else str(result.outcome))
        row = self.row(result)
        if row is None:
            return TargetAnswer("", "the kernel was not asked about it")
        if row.crashed:
            return TargetAnswer(CRASHED)
        if not row.answered:
            return TargetAnswer("", row.cause)
        told = {answer.probe for answer in result.answers} | {*result.crashed}
        if unasked := [it for it in self.asks(result.cell.kernel.judged_as, fully=False) if it.probe not in told]:
            return TargetAnswer("", f"{unasked[0].probe} was not asked")
        return TargetAnswer(row.answer or row.state or row.observed, row.cause)

    def known_issue(self, result: CellResult) -> str:
        """The id of the known issue that this answer shows; of a state, one that keeps it from being the best."""
        rows = self.rows(result)
        mine = [row for row in rows if (row.subject, row.type) == (self.question.subject, self.question.type)]
        if self.probe:
            mine = [row for row in mine if row.probe == self.probe]
        elif (best := next((row for row in mine if row.state), None)) and best.state == _kind(best).states[-1].word:
            return ""
        return next((row.known_issue for row in mine if row.known_issue), "")

    def evidence(self, result: CellResult) -> dict[str, str]:
        """What was observed, in words; of a state also what the probes of the same subject observed first."""
        row = self.row(result)
        return dict(_kind(row).shown(result, row)) if row else {}

    def declared(self, result: CellResult) -> tuple[str, ...]:
        """Lines of C about the subject, as far as some kind of probe tells them."""
        for row in self.rows(result):
            if (row.subject, row.type) == (self.question.subject, self.question.type) and (
                lines := tuple(_kind(row).declared(row))
            ):
                return lines
        return ()


def _kind(row: Row) -> Kind[Any]:
    return KINDS[row.kind]


def find(word: str, expectations: Expectations) -> Target:
    """`PROBE` or `SUBJECT`, with `:TYPE` where there are several. Raises UserError, with the nearest name."""
    name, _, type_ = word.partition(":")
    rows = expectations.rows(_NEVER_RAN)
    probes = [row for row in rows if row.verdict and row.probe == (f"{name}:{row.type}" if row.type else name)]
    states = [row for row in rows if row.state and row.subject == name]
    if not (probes or states):
        names = dict.fromkeys(
            [row.probe.partition(":")[0] for row in rows if row.verdict] + [row.subject for row in rows]
        )
        hint = nearest(name, names, "bpf/*.yaml has the probes and what they are about")
        raise UserError(f"{name!r} is neither a probe nor a subject that is known", hint=hint)
    types = tuple(dict.fromkeys(row.type for row in probes or states))
    if type_ and type_ not in types:
        raise UserError(f"nothing is known of {name} for {type_!r}", hint=f"like {name}:{types[0]}")

    def about(subject: str, type_: str) -> frozenset[str]:
        return frozenset(row.probe for row in rows if (row.subject, row.type) == (subject, type_))

    if probes:
        row = next(row for row in probes if type_ in {"", row.type})
        said = next((it for it in expectations.said() if it.probe == row.probe), None)
        question = BisectionQuestion(
            target=row.probe, subject=row.subject, type=row.type, says=said.says if said else ""
        )
        everywhere, refs = expectations.everywhere(row.probe), said.refs if said else ()
        return Target(question, row.probe, about(row.subject, row.type), everywhere, refs)
    shown = [row.type for row in rows if row.verdict and row.subject == name]  # the types of which more is known
    type_ = type_ or next((it for it in types if f"_{it}_" in name), shown[0] if shown else types[0])
    refs = tuple(ref for it in expectations.said() if it.subject == name for ref in it.refs)
    question = BisectionQuestion(target=f"{name}:{type_}" if type_ else name, subject=name, type=type_)
    return Target(question, "", about(name, type_), expectations, refs)


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
