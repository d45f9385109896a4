# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wall clock jumps; limits, times taken and the order of runs do not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner import cli
from runner.cli import running
from runner.cli.running import Engine
from runner.engine import cellrecord, storing
from runner.engine.cellrun import run_cell
from runner.engine.plan import Plan, RunEnd, Sink
from runner.model import CellResult, Outcome
from runner.results.store import ResultStore
from tests import fakes
from tests.faults.machine import disturbed
from tests.faults.project import cells, orders, write_project

HOUR = timedelta(hours=1)


class Jumping(datetime):
    """A clock that is an hour further, or an hour back, whenever it is read."""

    step = HOUR
    moment = datetime(2026, 11, 3, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003
        cls.moment += cls.step
        return cls.moment


@pytest.fixture(params=[HOUR, -HOUR], ids=["forward", "back"])
def jumping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jumping, "step", request.param)
    for module in (storing, running, cellrecord):
        monkeypatch.setattr(module, "datetime", Jumping)


def test_a_cells_times_and_limits_do_not_jump(jumping: None, tmp_path: Path) -> None:
    (order,) = orders(cells(["fine"]))
    result = run_cell(order, {}, disturbed(offline=True), tmp_path, lambda phase, note: None)
    assert result.outcome is Outcome.RAN
    taken = [seconds for seconds in result.timings.model_dump().values() if seconds is not None]
    assert 0 <= min(taken) <= max(taken) < HOUR.total_seconds() / 2


def test_the_last_run_is_the_last_one(jumping: None, tmp_path: Path) -> None:
    project = write_project(tmp_path, ["fine"])

    def answered(plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
        return fakes.told(plan, sinks, (CellResult(cell=order.cell, outcome=Outcome.RAN) for order in plan.orders))

    engine = Engine(lambda *_, **__: {}, answered)
    words = ["matrix", "run", "--matrix", str(project / "matrix.yaml"), "--offline", "-n", "1"]
    for name in ("first", "second", "third"):
        cli.run([*words, "--run-id", name], engine)
    with ResultStore(project / "reports" / "results.db", read_only=True) as store:
        assert [info.id for info in store.runs()] == ["third", "second", "first"]
        assert store.load().id == "third"
        assert not [
            it.wall_s for it in store.runs() if it.wall_s is None or not 0 <= it.wall_s < HOUR.total_seconds() / 2
        ]
