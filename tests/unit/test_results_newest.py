# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a report covers that is told no run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model import Cell, CellResult, Outcome
from runner.results.model import Run, RunKind, new_run_id
from runner.results.series import newest, run_of_cell
from runner.results.store import ResultStore
from tests.unit import results_samples as samples

CELLS = samples.CELLS[:3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.db") as store:
        yield store


def keep(store: ResultStore, night: int, *results: CellResult, name: str = "", cells: tuple[Cell, ...] = ()) -> Run:
    cells = cells or tuple(result.cell for result in results)
    like = samples.run(cells=cells, run_id=name or f"night-{night}")
    run = like.model_copy(update={"started": samples.STARTED + timedelta(days=night)})
    store.begin(run)
    for result in results:
        store.add(run.id, result)
    return run


def test_a_whole_last_run_is_it(store: ResultStore) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    keep(store, 2, *map(samples.result, CELLS))
    run, (source,) = newest(store, CELLS)
    assert run == store.load("night-2")
    assert (source.run.id, source.cells, source.partial) == ("night-2", tuple(it.id for it in CELLS), False)


def test_a_later_run_of_another_matrix_hides_nothing_of_a_whole_one(store: ResultStore) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    keep(store, 2, cells=samples.CELLS[3:])
    run, (source,) = newest(store, CELLS)
    assert run == store.load("night-1")
    assert (source.run.id, source.partial) == ("night-1", False)


def test_a_partial_last_run_is_filled_up_and_said_to_be_partial(store: ResultStore) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    keep(store, 2, samples.result(CELLS[1], seed=1))
    run, sources = newest(store, CELLS)
    assert [result.cell.id for result in run.results] == [cell.id for cell in run.cells] == [it.id for it in CELLS]
    assert run.final(CELLS[1]).answers == samples.result(CELLS[1], seed=1).answers
    told = [(it.run.id, it.cells, it.partial) for it in sources]
    assert told == [("night-2", (CELLS[1].id,), True), ("night-1", (CELLS[0].id, CELLS[2].id), False)]


def test_a_lost_cell_does_not_hide_its_earlier_answer(store: ResultStore) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    keep(store, 2, samples.result(CELLS[0], Outcome.LOST, "gone"), *map(samples.result, CELLS[1:]))
    run, sources = newest(store, CELLS)
    assert run.final(CELLS[0]).outcome is Outcome.RAN
    assert [it.cells for it in sources] == [(CELLS[1].id, CELLS[2].id), (CELLS[0].id,)]
    assert run_of_cell(store, CELLS[0].id) == "night-1"


def test_a_cell_that_was_never_run_has_no_result_and_one_that_is_not_asked_for_is_not_covered(
    store: ResultStore,
) -> None:
    keep(store, 1, samples.result(CELLS[0]), samples.result(CELLS[2], Outcome.LOST, "gone"))
    run, _ = newest(store, CELLS[1:])
    assert [(run.final(cell).outcome, run.final(cell).attempts) for cell in run.cells] == [
        (Outcome.INFRA_FAILED, 0),
        (Outcome.LOST, 1),
    ]


def test_until_a_new_build_has_answered_the_one_before_is_covered(store: ResultStore) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    build = CELLS[0].model_copy(update={"id": f"6.1.999-{CELLS[0].arch}"})
    run, _ = newest(store, (build, *CELLS[1:]))
    assert run.cells[0] == CELLS[0]
    keep(store, 2, samples.result(build))
    run, _ = newest(store, (build, *CELLS[1:]))
    assert run.cells == (build, *CELLS[1:])


@pytest.mark.parametrize("kind", [kind for kind in RunKind if kind is not RunKind.MATRIX])
def test_runs_of_other_kinds_are_never_the_last_run(store: ResultStore, kind: RunKind) -> None:
    keep(store, 1, *map(samples.result, CELLS))
    other = new_run_id(samples.STARTED, kind)
    assert keep(store, 2, samples.result(CELLS[0], seed=1), name=other).kind is kind
    assert store.load().id == "night-1"
    assert newest(store, CELLS)[0].id == "night-1"
    assert run_of_cell(store, CELLS[0].id) == "night-1"
    assert store.load(other).id == other
    with pytest.raises(UserError, match="has no cell 'nope'") as caught:
        run_of_cell(store, "nope")
    assert CELLS[0].id in str(caught.value.hint)


def test_a_cell_that_only_another_kind_of_run_has_is_found_there(store: ResultStore) -> None:
    keep(store, 1, samples.result(CELLS[0]))
    keep(store, 2, samples.result(CELLS[1]), name=(load := new_run_id(samples.STARTED, RunKind.LOAD)))
    assert run_of_cell(store, CELLS[1].id) == load
