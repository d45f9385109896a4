# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every answer that is stored, over all matrix runs: which kernel build, when, and the rows of each.

A year of nightly runs holds few different rows. What was judged once is found in runner.results.rowcache.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from runner.model import Build, Cell, CellResult, Outcome, Row
from runner.probes.expectations import Bulk, Expectations
from runner.results.availability import Topic
from runner.results.model import JudgedCell, JudgedRun, RunKind, judge_run
from runner.results.packed import PackedError, SteadyReader
from runner.results.rowcache import NAME, RowCache, RowChunks, row_cache
from runner.results.store import ResultStore
from runner.results.stored import StoredResult

log = logging.getLogger(__name__)

_BATCH = 50  # results that are judged, and whose rows are then kept together
_Found = TypeVar("_Found")


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
    cause: str
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
        return next((it for it in reversed(self.measured) if _answered(it, topic)), self.measured[-1])


def matrix_finals(store: ResultStore) -> list[StoredResult]:
    """Those of matrix runs. A cell of another run was asked a part of what is known, and stands for no kernel."""
    return [it for it in store.finals() if RunKind.of(it.run) is RunKind.MATRIX]


def measurements(store: ResultStore, expectations: Expectations, subject: str = "") -> tuple[Measured, ...]:
    """What matrix runs answered, the earliest first; with `verdicts` about a subject, where one is given."""
    finals = matrix_finals(store)

    def found(rows: RowCache) -> tuple[Measured, ...]:
        return tuple(_measured(store, expectations, rows, finals, subject))

    return _with_rows(store, expectations, found)


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
        given = it.run, it.started, it.cell, it.build, it.outcome, it.cause
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
    expectations, rows = _rows(store, expectations, different, finals, judged)
    for run_id in run_ids:
        run, mine = store.load(run_id, answers=False), runs[run_id]
        cells = []
        for result in map(run.final, run.cells):
            known = mine.get(result.cell.id)
            cell = JudgedCell(
                result=result,
                rows=rows[known.digest] if known else expectations.rows(result),
                splats=expectations.splats(result),
                earlier=run.attempts(result.cell.id)[:-1],
            )
            cells.append(cell)
        issues = expectations.known_issues([(it.result, it.rows) for it in cells])
        yield JudgedRun(run=run, cells=tuple(cells), known_issues=issues)


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


def different(answers: Iterable[Measured | KnownBuild]) -> list[Mapping[Topic, Row]]:
    """Their states, each only once."""
    return list({id(it.states): it.states for it in answers}.values())


def _last_answers(group: Sequence[Measured]) -> Mapping[Topic, Row]:
    last = group[-1].states
    if len(different(group)) == 1:
        return last
    merged: dict[Topic, Row] = {}
    for each in group:
        merged |= {topic: row for topic, row in each.states.items() if row.answered}
    return {**{topic: row for each in group for topic, row in each.states.items()}, **merged}


def _answered(measured: Measured, topic: Topic) -> bool:
    row = measured.states.get(topic)
    return row is not None and row.answered
