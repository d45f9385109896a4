# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Stored answers, judged: those of a run, a kernel or a cell, and every one of the matrix runs, in the order of time.

A year of nightly runs holds few different rows. What was judged once is found in runner.results.rowcache.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from runner.errors import UserError
from runner.model import ANSWERS, Build, Cell, CellResult, Outcome, Row
from runner.probes.expectations import Bulk, Expectations
from runner.results.availability import Topic
from runner.results.diff import Difference, difference
from runner.results.model import CoveredRun, JudgedRun, Run, RunKind, Side, judge_run, judged_cell, of_run
from runner.results.packed import PackedError, SteadyReader
from runner.results.rowcache import NAME, RowCache, RowChunks, row_cache
from runner.results.store import ResultStore
from runner.results.stored import MAKES_RESULTS, StoredResult
from runner.text import counted, nearest

log = logging.getLogger(__name__)

_BATCH = 50  # results that are judged, and whose rows are then kept together
_Found = TypeVar("_Found")
_LAST = re.compile(r"last(?:~(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell of a run. `states` is the same object wherever the answers were the same; empty when it did not run.

    `verdicts` are the rows about one subject that have no state, where that was asked for. No row has its log.
    """

    run: str
    started: datetime
    cell: Cell
    build: Build
    outcome: Outcome
    states: Mapping[Topic, Row]
    verdicts: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownBuild:
    """What is known of one build: the last answer to each question, and who gave it."""

    build: Build
    states: Mapping[Topic, Row]
    measured: tuple[Measured, ...]  # those that ran, the earliest first

    def evidence(self, topic: Topic) -> Measured:
        """The last one that answered."""
        return next((it for _, it in reversed(answers(topic, self.measured))), self.measured[-1])


def matrix_finals(store: ResultStore) -> list[StoredResult]:
    """Those of matrix runs. A cell of another run was asked a part of what is known, and stands for no kernel."""
    return [it for it in store.finals() if RunKind.of(it.run) is RunKind.MATRIX]


def measurements(store: ResultStore, expectations: Expectations, subject: str = "") -> tuple[Measured, ...]:
    """What matrix runs answered, the earliest first; with `verdicts` about a subject, where one is given."""
    finals = matrix_finals(store)
    return _with_rows(store, expectations, lambda rows: tuple(_measured(store, expectations, rows, finals, subject)))


def judged_run(store: ResultStore, expectations: Expectations, run_id: str) -> JudgedRun:
    """A run, and its rows kept: no report over all runs waits for them. What is kept of an earlier run was judged then.

    Of such a cell the rows have no logs.
    """
    run = store.load(run_id)
    grown = expectations.grown(run.results)
    finals = {it.cell.id: it for it in matrix_finals(store) if it.run == run_id}

    def found(rows: RowCache) -> JudgedRun:
        judged = _judged(store, grown, rows, finals.values())

        def rows_of(result: CellResult) -> tuple[Row, ...]:
            final = finals.get(result.cell.id) if result.is_kept else None
            return rows.every(judged[final.digest]) if final else grown.rows(result)

        return judge_run(run, grown, rows_of)

    return _with_rows(store, grown, found)


def _with_rows(store: ResultStore, expectations: Expectations, work: Callable[[RowCache], _Found]) -> _Found:
    path = store.path.with_name(NAME)
    try:
        with row_cache(path, expectations.digest) as rows:
            return work(rows)
    except (sqlite3.Error, PackedError, ValueError):
        log.warning("%s is damaged or the disk is full: all answers are judged again", path)
        path.unlink(missing_ok=True)
        with row_cache(None, expectations.digest) as rows:
            return work(rows)


def _measured(
    store: ResultStore, expectations: Expectations, rows: RowCache, finals: Sequence[StoredResult], subject: str
) -> Iterator[Measured]:
    judged = _judged(store, expectations, rows, finals)
    states: dict[int, Mapping[Topic, Row]] = {}
    for it in finals:
        given = it.run, it.started, it.cell, it.build, it.outcome
        if it.outcome is not Outcome.RAN:
            yield Measured(*given, {})
            continue
        mine = judged[it.digest]
        if mine.states not in states:
            states[mine.states] = {Topic(row.subject, row.type, row.kind): row for row in rows.rows(mine.states)}
        yield Measured(*given, states[mine.states], rows.rows(mine.of(subject)) if subject else ())


def _judged(
    store: ResultStore, expectations: Expectations, rows: RowCache, finals: Iterable[StoredResult]
) -> Mapping[bytes, RowChunks]:
    """Everything that ran. What was not judged before is, and is kept."""
    judged = rows.judged()
    new = {it.digest: it for it in finals if it.outcome is Outcome.RAN and it.digest not in judged}
    by_kernel = sorted(new.values(), key=lambda it: it.cell.id)
    bulk, reader = Bulk(expectations), SteadyReader()
    for at in range(0, len(by_kernel), _BATCH):
        results = [(it.digest, *reader.read(store.lines(it), it.cell)) for it in by_kernel[at : at + _BATCH]]
        judged |= rows.add([(digest, bulk.rows(result, context)) for digest, result, context in results])
    return judged


def judged_runs(
    store: ResultStore, expectations: Expectations, run_ids: Sequence[str], judged: JudgedRun | None = None
) -> Iterator[JudgedRun]:
    """These runs, to be looked at one after another: without answers, and with rows that have no particulars in what
    is shown of them.

    What answered alike is read and judged once, or was in `judged`, of the same expectations; a name that one of the
    kernels has is looked for in all.
    """
    finals = [it for it in store.finals() if it.outcome is Outcome.RAN]
    runs: dict[str, dict[str, StoredResult]] = defaultdict(dict)
    for it in finals:
        if it.run in run_ids:
            runs[it.run][it.cell.id] = it
    different = {it.digest: it for mine in runs.values() for it in mine.values()}
    grown, rows = _rows(store, expectations, different, finals, judged)

    def shown(run_id: str) -> JudgedRun:
        def rows_of(result: CellResult) -> tuple[Row, ...]:
            known = runs[run_id].get(result.cell.id)
            return rows[known.digest] if known else grown.rows(result)

        return judge_run(store.load(run_id, answers=False), grown, rows_of)

    return map(shown, run_ids)


def _rows(
    store: ResultStore,
    expectations: Expectations,
    different: Mapping[bytes, StoredResult],
    finals: Iterable[StoredResult],
    judged: JudgedRun | None,
) -> tuple[Expectations, Mapping[bytes, tuple[Row, ...]]]:
    """What these results teach, and the rows of each. Those in `judged` stand, unless other results teach more."""
    cells = {(judged.run_of(it.id), it.id): it for it in judged.cells} if judged else {}
    rows: dict[bytes, tuple[Row, ...]] = {
        it.digest: cells[it.run, it.cell.id].rows for it in finals if (it.run, it.cell.id) in cells
    }
    by_kernel = sorted(different.items(), key=lambda each: each[1].cell.id)
    reader = SteadyReader()
    read = {digest: reader.read(store.lines(it), it.cell) for digest, it in by_kernel if digest not in rows}
    known = expectations.grown(judged.run.results if judged else ())
    grown = known.grown(result for result, _ in read.values())
    if judged and grown.known != known.known:
        return _rows(store, expectations, different, finals, None)
    bulk = Bulk(grown)
    return grown, rows | {digest: bulk.rows(*it) for digest, it in read.items()}


def builds(measured: Iterable[Measured]) -> tuple[KnownBuild, ...]:
    """What is known of every build that ran, by architecture, then version. The last answer wins."""
    groups: dict[Build, list[Measured]] = defaultdict(list)
    for each in measured:
        if each.outcome is Outcome.RAN:
            groups[each.build].append(each)
    known = [KnownBuild(build, _last_answers(group), tuple(group)) for build, group in groups.items()]
    return tuple(sorted(known, key=lambda it: (it.build.arch, it.build.order)))


def different(known: Iterable[Measured | KnownBuild]) -> list[Mapping[Topic, Row]]:
    """Their states, each only once."""
    return list({id(it.states): it.states for it in known}.values())


def _last_answers(group: Sequence[Measured]) -> Mapping[Topic, Row]:
    last = group[-1].states
    if len(different(group)) == 1:
        return last
    merged: dict[Topic, Row] = {}
    for each in group:
        merged |= {topic: row for topic, row in each.states.items() if row.answered}
    return {**{topic: row for each in group for topic, row in each.states.items()}, **merged}


_Known = TypeVar("_Known", Measured, KnownBuild)


def answers(topic: Topic, known: Iterable[_Known]) -> list[tuple[Row, _Known]]:
    """Those that answered, in their order: the timeline of a topic."""
    return [(row, it) for it in known if (row := it.states.get(topic)) is not None and row.answered]


# --- which answers are meant ------------------------------------------------------------------------------------------


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
        return _side(store, expectations, word, last.values(), is_run=False)
    if finals:
        raise UserError(f"{word} has no answer in the stored runs", hint=f"runner cell show {finals[-1].cell.id}")
    named = ", ".join(info.id for info in infos[:5])
    raise UserError(f"the store has no run, kernel or cell {word!r}", hint=f"the last runs: {named}")


def baseline(store: ResultStore, expectations: Expectations, word: str, cells: Iterable[Cell]) -> Side:
    """`word`: the file of another store (its last run), or a run's id; or `last`: of each of these kernels of the
    matrix the last stored answer, so that a lost run in between hides no change. Raises UserError when it is none."""
    if word == "last":
        wanted = {(cell.name, cell.arch) for cell in cells}
        finals = {(it.cell.name, it.cell.arch): it for it in matrix_finals(store) if it.outcome in ANSWERS}
        last = [it for kernel, it in finals.items() if kernel in wanted]
        return _side(store, expectations, "the last answers", last, is_run=True)
    if "/" in word or Path(word).is_file():
        with ResultStore(Path(word), read_only=True, busy_s=store.busy_s) as other:
            return of_run(judge_run(other.load(), expectations))
    return of_run(judge_run(store.load(word), expectations))


def _side(
    store: ResultStore, expectations: Expectations, name: str, finals: Collection[StoredResult], *, is_run: bool
) -> Side:
    cells = tuple(judged_cell(store.result(it), expectations) for it in finals)
    return Side(name, cells, {it.cell.id: it.run for it in finals}, is_run)


def compare(before: Side, after: Side, expectations: Expectations) -> Difference:
    """What changed from one to the other; earlier boots of a newer cell that answered count as well."""
    boots = {cell.id: [it for it in cell.earlier if it.outcome in ANSWERS] for cell in after.cells}
    earlier = {cell: [judged_cell(it, expectations) for it in mine] for cell, mine in boots.items()}
    return difference(before, after, earlier)
