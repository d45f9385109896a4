# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The store as a sink of `execute`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import JsonValue

from runner.engine.plan import Ended, Plan
from runner.engine.storing import StoreSink, reminded
from runner.model import Answer, Ask, CellResult, Outcome
from runner.results.model import Run
from runner.results.store import ResultStore
from tests import fakes


def result(plan: Plan, at: int, outcome: Outcome = Outcome.RAN) -> CellResult:
    order = plan.orders[at]
    return CellResult(cell=order.cell, outcome=outcome, attempts=order.attempt)


def test_a_run_that_is_executed_twice_is_one_run_and_gets_the_new_cells(tmp_path: Path) -> None:
    plan = fakes.plan(tmp_path, *(fakes.cell_order(number=number) for number in range(3)))
    first, rest = replace(plan, orders=plan.orders[:1]), replace(plan, orders=plan.orders[1:])
    with ResultStore(tmp_path / "results.db") as store:
        fakes.told(first, [StoreSink(store)], [result(first, 0)], Ended.INTERRUPTED)
        assert store.load("r").finished is None
        fakes.told(rest, [StoreSink(store)], [result(rest, 1)])
        run = store.load("r")
    assert [cell.id for cell in run.cells] == [order.cell.id for order in plan.orders]
    assert [it.cell.id for it in run.results] == [plan.orders[0].cell.id, plan.orders[2].cell.id]
    assert run.finished is not None


def test_what_gave_no_answer_does_not_take_the_place_of_an_answer(tmp_path: Path) -> None:
    plan = fakes.plan(tmp_path, *(fakes.cell_order(number=number) for number in range(2)))
    with ResultStore(tmp_path / "results.db") as store:
        fakes.told(plan, [StoreSink(store)], [result(plan, 0), result(plan, 1, Outcome.LOST)])
        fakes.told(plan, [StoreSink(store)], [result(plan, at, Outcome.INFRA_FAILED) for at in (0, 1)])
        run = store.load("r")
    assert [run.final(cell).outcome for cell in run.cells] == [Outcome.RAN, Outcome.INFRA_FAILED]


def test_a_run_ends_by_a_clock_that_does_not_jump(tmp_path: Path) -> None:
    started = datetime.now(UTC) - timedelta(hours=5)
    plan = fakes.plan(tmp_path, fakes.cell_order())
    plan = replace(plan, run=plan.run.model_copy(update={"started": started}))
    with ResultStore(tmp_path / "results.db") as store:
        fakes.told(plan, [StoreSink(store)], [result(plan, 0)])
        assert store.load("r").wall_s == 1.0


def test_the_pause_before_a_run_is_resumed_is_not_counted(tmp_path: Path) -> None:
    plan = fakes.plan(tmp_path, fakes.cell_order())
    begun = plan.run.model_copy(update={"started": datetime.now(UTC) - timedelta(days=3)})
    with ResultStore(tmp_path / "results.db") as store:
        store.begin(Run(**dict(begun), cells=tuple(order.cell for order in plan.orders)))
        fakes.told(plan, [StoreSink(store)], [result(plan, 0)])
        wall_s = store.load("r").wall_s
    assert wall_s is not None
    assert wall_s < 60


def test_an_ask_is_reminded_of_the_last_answer_of_its_kernel(tmp_path: Path) -> None:
    settings: JsonValue = {"limits": {"growth": "25%"}}
    asks = (Ask(kind="objects", probe="lb", body={"settings": settings}), Ask(kind="census", probe="census:tc"))
    cell = fakes.cell_order().cell
    cells = (cell, cell.model_copy(update={"name": "another-kernel"}))
    orders = [fakes.cell_order().model_copy(update={"cell": each, "asks": asks}) for each in cells]
    with ResultStore(tmp_path / "results.db") as store:
        assert [order.asks for order in reminded(store, orders)] == [asks, asks]
        for number, (name, insns) in enumerate((("load-1", 10), ("load-2", 20), ("repro-1", 30))):
            plan = fakes.plan(tmp_path, orders[0])
            started = plan.run.started + timedelta(hours=number)
            plan = replace(plan, run=plan.run.model_copy(update={"id": name, "started": started}))
            body: dict[str, JsonValue] = {"errno": 0, "log": processed(insns)}
            answer = Answer(kind="objects", probe="lb", item="good", body=body)
            fakes.told(plan, [StoreSink(store)], [result(plan, 0).model_copy(update={"answers": (answer,)})])
        first, second = reminded(store, orders)
    assert [ask.body.get("earlier") for ask in first.asks] == [{"good": 20}, None]
    assert second.asks == asks


def processed(insns: int) -> str:
    return f"processed {insns} insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 1 mark_read 0\n"
