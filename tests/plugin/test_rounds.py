"""Real xdist workers, fake guests: what comes back when nothing happens to them. tests/faults has the rest."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from runner.engine.controller import execute
from runner.engine.fleet import this_machine_alone
from runner.engine.orders import Phase
from runner.model import Outcome
from tests import fakes


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
    assert all(len(result.observations) == 3 and not result.unasked for result in results)
    assert all("Linux version" in result.console for result in results)
    assert Counter(event.phase for event in progress) == {
        Phase.PREPARING: 6,
        Phase.BOOTING: 6,
        Phase.PROBING: 6,
        Phase.DONE: 6,
    }
