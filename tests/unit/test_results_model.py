# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run never loses a cell, and the last result of a repeated cell counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from runner.errors import UserError
from runner.model import Outcome
from runner.results.model import NEVER_FINISHED, JudgedRun, new_run_id
from tests.unit import results_samples as samples


def test_cell_without_a_result_is_judged_as_never_finished() -> None:
    judged = samples.judged(samples.result(samples.CELLS[0]))
    assert [cell.id for cell in judged.cells] == [cell.id for cell in samples.CELLS]
    assert judged.cells[0].result.outcome is Outcome.RAN
    for cell in judged.cells[1:]:
        assert (cell.result.outcome, cell.result.cause) == (Outcome.INFRA_FAILED, NEVER_FINISHED)
        assert cell.result.attempts == 0
        assert cell.rows
        assert not [row for row in cell.rows if not row.cause.endswith(NEVER_FINISHED)]


def test_last_result_counts_and_the_first_is_kept() -> None:
    lost = samples.result(samples.CELLS[0], Outcome.LOST, "ssh dropped")
    judged = samples.judged(lost, samples.result(samples.CELLS[0]))
    assert judged.cells[0].result.outcome is Outcome.RAN
    assert judged.cells[0].result.attempts == 2
    assert judged.cells[0].earlier == (lost,)


def test_judged_run_refuses_a_missing_cell() -> None:
    judged = samples.clean_run()
    with pytest.raises(ValidationError, match="judged are"):
        JudgedRun(run=judged.run, cells=judged.cells[:-1])


def test_run_refuses_strangers_and_twins() -> None:
    with pytest.raises(ValidationError, match=r"not in the run: 7\.3\.4-arm64"):
        samples.run(samples.result(samples.CELLS[-1]), cells=samples.CELLS[:-1])
    with pytest.raises(ValidationError, match="two cells with one id"):
        samples.run(cells=(samples.CELLS[0], samples.CELLS[0]))


def test_unknown_cell_names_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        samples.clean_run().cell("6.12.17-arm64")
    assert "6.12.117-arm64" in caught.value.hint


def test_run_ids_sort_by_time() -> None:
    start = datetime(2026, 11, 3, 23, 59, 59, tzinfo=UTC)
    ids = [new_run_id(start + timedelta(seconds=after)) for after in range(3)]
    assert ids == sorted(ids)
    assert ids[0].startswith("20261103-235959-")
    assert len({new_run_id(start) for _ in range(20)}) > 1
