"""The verdicts about one kfunc, over every cell that is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable

from runner.model import CellResult, ClaimVerdict
from runner.probes import ClaimFile, Question, judge_one, questions
from runner.results.series import Measured
from runner.results.store import ResultStore

_Asked = tuple[str, int | None]  # a probe, and the number of what was observed


class VerdictsAbout:
    """A function of a measured cell. Each different answer is judged once, whatever number of nights gave it.

    A verdict is of an answer, but also of whether it could be asked: where that differs, `states` are others.
    """

    def __init__(self, kfunc: str, store: ResultStore, claims: Iterable[ClaimFile]) -> None:
        self._store = store
        self._questions = {it.probe: it for it in questions(claims) if it.kfunc == kfunc}
        self._read: set[int] = set()  # numbers of observations
        self._probes: dict[int, str] = {}  # of those that are answers to the questions
        self._judged: dict[Hashable, ClaimVerdict] = {}
        self._of_kernel: dict[Hashable, dict[_Asked, ClaimVerdict]] = defaultdict(dict)
        self._like: dict[int, CellResult] = {}  # one result of those with the same states

    def __call__(self, measured: Measured) -> tuple[ClaimVerdict, ...]:
        seen = self._seen(measured)
        known = self._of_kernel[id(measured.states), measured.cell.kernel.version]
        asked = [(probe, seen.get(probe)) for probe in self._questions]
        for each in asked:
            if each not in known:
                known[each] = self._verdict(measured, *each)
        return tuple([known[each] for each in asked])

    def _seen(self, measured: Measured) -> dict[str, int]:
        """The number of what was observed, by its probe."""
        numbers = self._store.observed(measured.final)
        if not self._read.issuperset(numbers):
            new = self._store.observations(set(numbers) - self._read)
            self._read |= new.keys()
            self._probes |= {each: seen.probe for each, seen in new.items() if seen.probe in self._questions}
        return {self._probes[each]: each for each in filter(self._probes.__contains__, numbers)}

    def _verdict(self, measured: Measured, probe: str, number: int | None) -> ClaimVerdict:
        question = self._questions[probe]
        key = (id(measured.states), question.essence(measured.cell.kernel.upstream), probe, number)
        if key not in self._judged:
            self._judged[key] = self._judge(measured, question, number)
        return self._judged[key]

    def _judge(self, measured: Measured, question: Question, number: int | None) -> ClaimVerdict:
        like = self._result_like(measured)
        result = like.model_copy(update={"cell": measured.cell})
        seen = None if number is None else self._store.observations([number])[number]
        return judge_one(result, question, seen)

    def _result_like(self, measured: Measured) -> CellResult:
        """A result in which the same could be asked."""
        if id(measured.states) not in self._like:
            self._like[id(measured.states)] = self._store.result(measured.final)
        return self._like[id(measured.states)]
