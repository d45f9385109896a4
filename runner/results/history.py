"""How the answers about one kfunc changed from run to run: each change, when, on which kernels, and the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.model import ClaimVerdict, KfuncState, Outcome, ProgType, State, Verdict
from runner.results.answers import steady
from runner.results.availability import Row
from runner.results.series import Measured

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


@dataclass(slots=True)
class _Line:
    """One question to one kernel of the matrix on one architecture."""

    words: str | None = None
    seen: Measured | None = None
    unanswered: int = 0

    def take(self, words: str | None, measured: Measured, prog_type: ProgType, probe: str) -> Iterator[Turn]:
        if words is None:
            self.unanswered += 1
            return
        if self.words is None or steady(self.words)[0] != steady(words)[0]:
            yield Turn(prog_type, probe, self.words, words, self.seen, measured, self.unanswered if self.seen else 0)
        self.words, self.seen, self.unanswered = words, measured, 0


def history(
    measured: Iterable[Measured], kfunc: str, verdicts: Verdicts, types: Iterable[ProgType]
) -> tuple[Turn, ...]:
    """Every change, the earliest first. `measured` is in the order of time."""
    types = tuple(types)
    lines: dict[tuple[str, str, ProgType, str], _Line] = {}
    turns: list[Turn] = []
    for each in measured:
        where = (each.cell.name, each.cell.arch)
        asked = [(prog_type, "", _state_words(each, Row(kfunc, prog_type))) for prog_type in types]
        if each.outcome is Outcome.RAN:
            said = (claim for claim in verdicts(each) if claim.prog_type in types)
            asked += [(claim.prog_type, claim.probe, _claim_words(claim)) for claim in said]
        for prog_type, probe, words in asked:
            line = lines.setdefault((*where, prog_type, probe), _Line())
            turns += line.take(words, each, prog_type, probe)
    return tuple(turn for turn in turns if not (turn.before is None and turn.probe))  # first answers: of the kfunc only


def _state_words(measured: Measured, row: Row) -> str | None:
    state: KfuncState | None = measured.states.get(row)
    if state is None or state.state is State.NO_ANSWER:
        return None
    return ": ".join(filter(None, (str(state.state), state.cause)))


def _claim_words(claim: ClaimVerdict) -> str | None:
    if claim.crashed:
        return "crashed the kernel"
    if claim.verdict is Verdict.NO_ANSWER:
        return None
    # what holds may differ in counters; what is broken is told by what was seen
    return f"{claim.verdict}: {claim.observed}" if claim.verdict is Verdict.BROKEN else str(claim.verdict)
