# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which stored answers are meant: by a word, or by the cells of a matrix when nothing is named."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.errors import UserError
from runner.model import ANSWERS, Cell, Outcome
from runner.probes import Expectations
from runner.results.diff import Difference, Side, difference, of_run
from runner.results.model import CoveredRun, Run, RunKind, judge_run, judged_cell
from runner.results.series import matrix_finals
from runner.results.store import ResultStore
from runner.results.stored import MAKES_RESULTS, StoredResult
from runner.text import counted, nearest

_LAST = re.compile(r"last(?:~(\d{1,4}))?")


def newest(store: ResultStore, cells: Sequence[Cell], *, consoles: bool = False) -> tuple[Run, tuple[CoveredRun, ...]]:
    """The run that answered for exactly `cells`, if one did; else one put together of the runs that did.

    That one has the id and the dates of the last run. A kernel of which another build is pinned by now is covered by
    its newest build that answered. A result without an answer counts only for a cell that has none with one. A cell
    that was never run has no result. Raises UserError when the store has no run.
    """
    last = store.load(consoles=consoles)
    infos = {info.id: info for info in store.runs()}
    finals: dict[tuple[str, str], list[StoredResult]] = defaultdict(list)
    for final in matrix_finals(store):
        finals[final.cell.name, final.cell.arch].append(final)
    found = [(cell, _of_cell(finals[cell.name, cell.arch], cell)) for cell in cells]
    chosen = {it.cell.id if it else cell.id: (it.cell if it else cell, it) for cell, it in found}
    gave: dict[str, list[str]] = {}
    for cell, it in chosen.values():
        if it:
            gave.setdefault(it.run, []).append(cell.id)
    sources = tuple(
        CoveredRun(run=infos[name], cells=tuple(ids), partial=infos[name].finished_cells < len(cells))
        for name, ids in sorted(gave.items(), key=lambda it: infos[it[0]].started, reverse=True)
    )
    runs = {name: last if name == last.id else store.load(name, consoles=consoles) for name in gave}
    for run in runs.values() if len(runs) == 1 else [last]:
        if gave.keys() <= {run.id} and [cell.id for cell in run.cells] == list(chosen):
            return run, sources
    results = [result for cell, it in chosen.values() if it for result in runs[it.run].attempts(cell.id)]
    shown = tuple(cell for cell, _ in chosen.values())
    return last.model_copy(update={"cells": shown, "results": tuple(results)}), sources


def run_of_cell(store: ResultStore, cell_id: str) -> str:
    """The id of the matrix run with the newest answer of a cell; of one that no matrix run has, any run.

    Raises UserError, naming cells there are, when the store has none of this id.
    """
    finals = store.finals()
    mine = [it for it in finals if it.cell.id == cell_id]
    of_matrix = [it for it in mine if RunKind.of(it.run) is RunKind.MATRIX]
    if found := _newest_answer(of_matrix or mine):
        return found.run
    known = [*dict.fromkeys(it.cell.id for it in reversed(finals))]
    hint = nearest(cell_id, known, f"the newest: {', '.join(known[:8])}" if known else MAKES_RESULTS)
    raise UserError(f"{store.path} has no cell {cell_id!r}", hint=hint)


def _of_cell(mine: Sequence[StoredResult], cell: Cell) -> StoredResult | None:
    """`mine` are those of its kernel, whichever build that was."""
    same = _newest_answer([it for it in mine if it.cell.id == cell.id])
    return same if same and same.outcome in ANSWERS else _newest_answer(mine) or same


def _newest_answer(finals: Sequence[StoredResult]) -> StoredResult | None:
    """The newest answer, or else the newest result."""
    return next((it for it in reversed(finals) if it.outcome in ANSWERS), finals[-1] if finals else None)


# --- what is compared ------------------------------------------------------------------------------------------------


def side(store: ResultStore, expectations: Expectations, word: str) -> Side:
    """`word`: a run's id, `last`, `last~1`; or a kernel (6.12.117) or a cell: its last stored answer.

    Raises UserError when the store has no such run or no answer of such a kernel.
    """
    infos, run_id = store.runs(), word
    if found := _LAST.fullmatch(word):
        back, runs = int(found[1] or 0), [info.id for info in infos if info.kind is RunKind.MATRIX]
        if back >= len(runs):
            raise UserError(
                f"{word}: the store has only {counted(len(runs), 'run')}", hint="`runner report runs` lists them"
            )
        run_id = runs[back]
    if any(info.id == run_id for info in infos):
        return of_run(judge_run(store.load(run_id), expectations))
    finals = [it for it in matrix_finals(store) if word in (it.cell.id, it.cell.kernel.version)]
    last = {it.cell.id: it for it in finals if it.outcome is Outcome.RAN}
    if last:
        return _judged(store, expectations, word, last.values(), is_run=False)
    if finals:
        raise UserError(f"{word} has no answer in the stored runs", hint=f"runner cell show {finals[-1].cell.id}")
    named = ", ".join(info.id for info in infos[:5])
    raise UserError(f"the store has no run, kernel or cell {word!r}", hint=f"the last runs: {named}")


def baseline(store: ResultStore, expectations: Expectations, word: str, cells: Iterable[Cell]) -> Side:
    """`word`: the file of another store (its last run), or a run's id; or `last`: of each of these kernels of the
    matrix the last stored answer, so that a lost run in between hides no change. Raises UserError when it is none."""
    if word == "last":
        wanted = {(cell.name, cell.arch) for cell in cells}
        finals = ((it.cell.name, it.cell.arch, it) for it in matrix_finals(store) if it.outcome in ANSWERS)
        last = {(name, arch): it for name, arch, it in finals if (name, arch) in wanted}
        return _judged(store, expectations, "the last answers", last.values(), is_run=True)
    if "/" in word or Path(word).is_file():
        with ResultStore(Path(word), read_only=True, busy_s=store.busy_s) as other:
            return of_run(judge_run(other.load(), expectations))
    return of_run(judge_run(store.load(word), expectations))


def _judged(
    store: ResultStore, expectations: Expectations, name: str, finals: Iterable[StoredResult], *, is_run: bool
) -> Side:
    finals = tuple(finals)
    cells = tuple(judged_cell(store.result(it), expectations) for it in finals)
    return Side(name, cells, {it.cell.id: it.run for it in finals}, is_run)


def compare(before: Side, after: Side, expectations: Expectations) -> Difference:
    """What changed from one to the other; earlier boots of a newer cell that answered count as well."""
    return difference(
        before,
        after,
        {
            cell.id: [judged_cell(result, expectations) for result in cell.earlier if result.outcome in ANSWERS]
            for cell in after.cells
        },
    )
