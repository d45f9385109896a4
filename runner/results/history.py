"""How the answers about one kfunc changed from run to run: each change, when, on which kernels, and the evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.model import ClaimVerdict, KfuncState, Outcome, ProgType, State, Verdict
from runner.results.answers import steady
from runner.results.series import Measured, Row

Verdicts = Callable[[Measured], Sequence[ClaimVerdict]]  # those about the kfunc


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer that is not the one before, of the same kernel of the matrix and the same architecture.

    `probe` is empty where the state of the kfunc itself is meant. `before` is None for the first answer of all.
    `unanswered` are the runs in between in which there was none.
    """

    prog_type: ProgType
    probe: str
    before: str | None
    after: str
    old: Measured | None
    new: Measured
    unanswered: int = 0

    @property
    def when(self) -> datetime:
        return self.new.started


_Answer = KfuncState | ClaimVerdict


@dataclass(slots=True)
class _Line:
    """One question to one kernel of the matrix on one architecture."""

    prog_type: ProgType
    probe: str
    answer: _Answer | None = None  # the last one, `words` or not
    said: str | None = None  # by it
    words: str | None = None  # of the last answer that has any, and who gave it
    seen: Measured | None = None
    unanswered: int = 0

    def take(self, answer: _Answer | None, measured: Measured) -> Turn | None:
        """The change, if it is one. Equal answers are mostly the same object, which is put into words once."""
        if answer is not self.answer:
            self.answer, self.said = answer, _words(answer)
        if self.said is None:
            self.unanswered += 1
            return None
        turn = None
        if self.said != self.words and (self.words is None or steady(self.words)[0] != steady(self.said)[0]):
            unanswered = self.unanswered if self.seen else 0
            turn = Turn(self.prog_type, self.probe, self.words, self.said, self.seen, measured, unanswered)
        self.words, self.seen, self.unanswered = self.said, measured, 0
        return turn


def history(
    measured: Iterable[Measured], kfunc: str, verdicts: Verdicts, types: Iterable[ProgType]
) -> tuple[Turn, ...]:
    """Every change, the earliest first. `measured` is in the order of time."""
    rows = [Row(kfunc, prog_type) for prog_type in types]
    wanted = {row.prog_type for row in rows}
    kernels: dict[tuple[str, str], dict[tuple[ProgType, str], _Line]] = defaultdict(dict)
    turns: list[Turn] = []
    for each in measured:
        lines = kernels[each.cell.name, each.cell.arch]
        answers: list[tuple[ProgType, str, _Answer | None]]
        answers = [(row.prog_type, "", each.states.get(row)) for row in rows]
        if each.outcome is Outcome.RAN:
            answers += [(it.prog_type, it.probe, it) for it in verdicts(each) if it.prog_type in wanted]
        for prog_type, probe, answer in answers:
            line = lines.get((prog_type, probe)) or lines.setdefault((prog_type, probe), _Line(prog_type, probe))
            if turn := line.take(answer, each):
                turns.append(turn)
    return tuple(turn for turn in turns if not (turn.before is None and turn.probe))  # first answers: of the kfunc only


def _words(answer: _Answer | None) -> str | None:
    """None where there is none."""
    if answer is None:
        return None
    return _state_words(answer) if isinstance(answer, KfuncState) else _claim_words(answer)


def _state_words(state: KfuncState) -> str | None:
    if state.state is State.NO_ANSWER:
        return None
    return ": ".join(filter(None, (str(state.state), state.cause)))


def _claim_words(claim: ClaimVerdict) -> str | None:
    if claim.crashed:
        return "crashed the kernel"
    if claim.verdict is Verdict.NO_ANSWER:
        return None
    # what holds may differ in counters; what is broken is told by what was seen
    return f"{claim.verdict}: {claim.observed}" if claim.verdict is Verdict.BROKEN else str(claim.verdict)
