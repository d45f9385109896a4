"""What a user may name to compare: a run, a kernel, a cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError
from runner.model import ANSWERS, Cell, Outcome
from runner.probes import Expectations
from runner.results.diff import Difference, Matching, Names, difference, match_kernels, match_runs
from runner.results.model import JudgedCell, JudgedRun, RunInfo, RunKind, judge_run, judged_cell
from runner.results.series import matrix_finals
from runner.results.store import ResultStore
from runner.text import counted

_LAST = re.compile(r"last(?:~(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Side:
    """`runs`: which run each cell comes from, by the cell's id. `is_run`: a whole run, compared by name."""

    name: str
    cells: tuple[JudgedCell, ...]
    runs: Mapping[str, str]
    is_run: bool


def side(store: ResultStore, expectations: Expectations, word: str) -> Side:
    """`word`: a run's id, `last`, `last~1`; or a kernel (6.12.117) or a cell: its last stored answer."""
    infos = store.runs()
    if found := _LAST.fullmatch(word):
        back, runs = int(found[1] or 0), [info for info in infos if info.kind is RunKind.MATRIX]
        if back >= len(runs):
            raise UserError(f"{word}: the store has only {counted(len(runs), 'run')}")
        return of_run(judge_run(store.load(runs[back].id), expectations))
    if any(info.id == word for info in infos):
        return of_run(judge_run(store.load(word), expectations))
    return _of_kernel(store, expectations, word, infos)


def of_run(run: JudgedRun) -> Side:
    return Side(f"run {run.run.id}", run.cells, dict.fromkeys((cell.id for cell in run.cells), run.run.id), True)


def compare(before: Side, after: Side, expectations: Expectations) -> tuple[Difference, Names]:
    """What changed from one to the other; an earlier boot of a newer cell counts as well."""
    both_runs = before.is_run and after.is_run
    matching: Matching = (match_runs if both_runs else match_kernels)(before.cells, after.cells)
    earlier = {cell.id: _earlier(cell, expectations) for cell in after.cells if cell.earlier}
    return difference(matching, earlier), Names(before.name, after.name, before.runs, after.runs, both_runs)


def _earlier(cell: JudgedCell, expectations: Expectations) -> tuple[JudgedCell, ...]:
    """Earlier boots that answered, judged."""
    return tuple(judged_cell(result, expectations) for result in cell.earlier if result.outcome in ANSWERS)


def _of_kernel(store: ResultStore, expectations: Expectations, word: str, infos: tuple[RunInfo, ...]) -> Side:
    finals = [it for it in matrix_finals(store) if word in (it.cell.id, it.cell.kernel.version)]
    last = {it.cell.id: it for it in finals if it.outcome is Outcome.RAN}
    if not last:
        if finals:
            raise UserError(f"{word} has no answer in the stored runs", hint=f"runner cell show {finals[-1].cell.id}")
        runs = ", ".join(info.id for info in infos[:5])
        raise UserError(f"the store has no run, kernel or cell {word!r}", hint=f"the last runs: {runs}")
    cells = tuple(judged_cell(store.result(it), expectations) for it in last.values())
    return Side(word, cells, {cell_id: it.run for cell_id, it in last.items()}, False)


def last_answers(store: ResultStore, expectations: Expectations, cells: Iterable[Cell]) -> Side:
    """Of each of these kernels of the matrix, the last stored answer, so that a lost run in between hides no change."""
    wanted = {(cell.name, cell.arch) for cell in cells}
    last = {}
    for it in matrix_finals(store):
        if (it.cell.name, it.cell.arch) in wanted and it.outcome in ANSWERS:
            last[it.cell.name, it.cell.arch] = it
    found = tuple(judged_cell(store.result(it), expectations) for it in last.values())
    return Side("the last answers", found, {it.cell.id: it.run for it in last.values()}, True)


def baseline(store: ResultStore, expectations: Expectations, word: str, cells: Iterable[Cell]) -> Side:
    """`word`: `last`, the file of another store (its last run), or a run's id. Raises UserError when it is none."""
    if word == "last":
        return last_answers(store, expectations, cells)
    if "/" in word or Path(word).is_file():
        with ResultStore(Path(word), read_only=True, busy_s=store.busy_s) as other:
            return of_run(judge_run(other.load(), expectations))
    return of_run(judge_run(store.load(word), expectations))
