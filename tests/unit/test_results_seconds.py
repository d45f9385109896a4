"""What cells took earlier, for the order of the next run."""

from __future__ import annotations

from pathlib import Path

from runner.model import CellResult, Outcome, Timings
from runner.results.store import ResultStore
from tests.unit import results_samples as samples


def test_the_last_time_that_a_cell_ran_counts(tmp_path: Path) -> None:
    one = samples.CELLS[0]
    with ResultStore(tmp_path / "results.db") as store:
        for number, (taken_s, outcome) in enumerate([(30.0, Outcome.RAN), (20.0, Outcome.RAN), (5.0, Outcome.LOST)]):
            run = samples.run(cells=(one,), run_id=f"run-{number}")
            store.begin(run)
            timings = Timings(prepare_s=2.0, total_s=taken_s)
            store.add(run.id, CellResult(cell=one, outcome=outcome, accel="tcg", timings=timings))
        assert store.seconds() == {one.id: {"tcg": 18.0}}
