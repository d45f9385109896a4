# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What can happen to workers, with real xdist workers; guests are fakes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.engine.execute import execute
from runner.engine.fleet import this_machine_alone
from runner.engine.plan import Phase
from runner.errors import InfraError
from runner.model import CellResult, Limits, Outcome
from tests import fakes
from tests.faults.leftovers import Place, nothing_left
from tests.faults.project import cells, plan

RAN, LOST, INFRA, DEAD = Outcome.RAN, Outcome.LOST, Outcome.INFRA_FAILED, Outcome.BOOT_FAILED
# what a cell does -> how its attempts end, and a word of the cause of the last one that failed
TABLE: dict[str, tuple[list[Outcome], str]] = {
    "fine": ([RAN], ""),
    "kills-worker-once": ([LOST, RAN], "the worker died: it ended without a word"),
    "kills-worker": ([LOST, LOST], "the worker died: it ended without a word"),
    "stops-worker-once": ([LOST, RAN], "it was not done within cell_s and end_s"),
    "bug": ([INFRA, INFRA], "an unexpected exception in a worker: ZeroDivisionError: a mistake of ours"),
    "full-disk": ([INFRA, INFRA], "No space left on device"),
    "broken-disk": ([INFRA, INFRA], "Input/output error"),
    "boot-silent": ([INFRA, INFRA], "the console stayed empty"),
    "drops": ([LOST, LOST], "the ssh connection broke"),
    "drops-once": ([LOST, RAN], "the ssh connection broke"),
    "boot-panics": ([DEAD, DEAD], "Kernel panic"),
    "ends-early-once": ([INFRA, RAN], "the agent ended too early"),
    "nonsense": ([RAN], ""),
}


def test_every_cell_comes_back_with_all_its_answers(tmp_path: Path) -> None:
    told, store_like = fakes.Told(), fakes.Told()
    orders = [fakes.cell_order(number=number) for number in range(6)]
    end = execute(fakes.plan(tmp_path, *orders, fleet=this_machine_alone(2)), [store_like, told])
    assert end.complete
    assert told.events == store_like.events
    assert (told.events[0], told.events[-1], told.events.count("began")) == ("began", "finished complete", 1)
    results, progress = told.results, told.phases
    assert sorted(result.cell.id for result in results) == [f"6.12.{n}-x86_64" for n in range(6)]
    assert {result.outcome for result in results} == {Outcome.RAN}
    seen = {(len(result.answers), result.unasked, "Linux version" in result.console) for result in results}
    assert seen == {(3, (), True)}
    assert Counter(event.phase for event in progress) == {
        Phase.PREPARING: 6,
        Phase.BOOTING: 6,
        Phase.PROBING: 6,
        Phase.DONE: 6,
    }


def test_every_cell_ends_as_it_must_beside_all_the_others(tmp_path: Path) -> None:
    wanted = cells(list(TABLE), Limits(cell_s=4, end_s=0.5))
    told = fakes.Told()
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        assert execute(plan(wanted, tmp_path, fleet=this_machine_alone(2)), [told]).complete
    for cell in wanted:
        outcomes, word = TABLE[cell.name]
        mine = [result for result in told.results if result.cell.id == cell.id]
        assert [result.outcome for result in mine] == outcomes, (cell.name, [result.cause for result in mine])
        assert [result.attempts for result in mine] == list(range(1, len(outcomes) + 1))
        assert word in next((result.cause for result in reversed(mine) if result.outcome is not RAN), "")
        if outcomes[-1] is RAN:
            assert len(mine[-1].answers) == 6
            assert mine[-1].unasked == ()


@dataclass
class Failing(fakes.Told):
    """A sink that fails at its first result."""

    error: BaseException = field(default_factory=Exception)

    def result(self, result: CellResult) -> None:
        super().result(result)
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        InfraError("results.db: database or disk is full", hint="is the disk full?"),
        ZeroDivisionError("ours"),
        SystemExit("rich, when nobody reads stdout any more"),
    ],
)
def test_the_exception_of_a_sink_ends_the_run_and_is_the_callers(
    tmp_path: Path, error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    told, sink = fakes.Told(), Failing(error=error)
    wanted = cells(["fine"] * 3)
    with nothing_left(Place(tmp_path, tmp_path / "scratch")), pytest.raises(type(error)) as caught:
        execute(plan(wanted, tmp_path), [sink, told])
    assert caught.value is error
    assert len(sink.results) == 1
    assert told.results == []  # it stands behind the one that failed
    assert sink.events[-1] == told.events[-1] == "finished failed"
    assert capfd.readouterr().err == ""
