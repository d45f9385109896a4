"""What a run answered that the one before it did not: a line per change, however many cells share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.model import Outcome, State, Verdict
from runner.reports.text import plain
from runner.results.model import JudgedCell, JudgedRun

# kernels are known by their names in the matrix: their versions change from run to run
_Place = tuple[str, str]
_STATES = (State.ABSENT, State.NOT_ALLOWED, State.REGISTERED, State.USABLE)
_Answers = Mapping[tuple[str, str], tuple[str, str]]  # (what, kind) -> (answer, its rank as a letter)


@dataclass(frozen=True, slots=True)
class Change:
    """`trend` is better, worse or changed; `where` are cells."""

    what: str
    before: str
    after: str
    trend: str
    where: tuple[str, ...]


def changes(runs: Sequence[JudgedRun]) -> dict[str, tuple[Change, ...]]:
    """For each run its changes. A cell is held against its last earlier answer: runs of a part of the matrix do not
    make the others look new. What has no answer, before or after, is no change.
    """
    last: dict[_Place, _Answers] = {}
    found = {}
    for judged in sorted(runs, key=lambda judged: judged.run.started):
        grouped: dict[tuple[str, str, str, str], list[str]] = {}
        for cell in judged.cells:
            place = (cell.result.cell.name, cell.result.cell.arch)
            answers = _answers(cell)
            for change in _differences(last.get(place, {}), answers):
                grouped.setdefault(change, []).append(cell.id)
            if cell.result.outcome is Outcome.RAN:
                last[place] = answers
        found[judged.run.id] = tuple(Change(*change, tuple(where)) for change, where in grouped.items())
    return found


def _answers(cell: JudgedCell) -> _Answers:
    answers = {}
    for state in cell.states:
        if state.state is not State.NO_ANSWER:
            name = f"{plain(state.kfunc)} ({state.prog_type})"
            answers["kfunc", name] = (str(state.state), str(_STATES.index(state.state)))
    for claim in cell.claims:
        if claim.verdict in (Verdict.HOLDS, Verdict.BROKEN):
            answers["claim", plain(claim.probe)] = (str(claim.verdict), "1" if claim.verdict is Verdict.HOLDS else "0")
    return answers


def _differences(before: _Answers, after: _Answers) -> Iterator[tuple[str, str, str, str]]:
    for key, (answer, rank) in after.items():
        old, old_rank = before.get(key, (answer, rank))
        if old != answer:
            yield key[1], old, answer, "better" if rank > old_rank else "worse"
