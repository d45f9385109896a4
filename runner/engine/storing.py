"""The store as a sink: a result is on the disk before anybody else is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from runner.engine.orders import Progress
from runner.engine.plan import Plan, RunEnd
from runner.engine.prepare import asked_of
from runner.model import ANSWERS, CellResult, Outcome
from runner.results.asked import read_asked, write_asked
from runner.results.missing import missing_cells
from runner.results.model import Run
from runner.results.store import ResultStore


@dataclass(slots=True)
class StoreSink:
    """Begins a run in the store, or continues one that is there; cells that are new to it are added to it.

    A result without an answer does not take the place of an answer that the run has already.
    """

    store: ResultStore
    _run_id: str = ""
    _answered: set[str] = field(default_factory=set)
    _started: datetime | None = None  # of a run that begins here

    def began(self, plan: Plan) -> None:
        self._run_id, cells = plan.run.id, tuple(order.cell for order in plan.orders)
        if any(info.id == plan.run.id for info in self.store.runs()):
            run = self.store.load(plan.run.id)
            there = {cell.id for cell in run.cells}
            if new := [cell for cell in cells if cell.id not in there]:
                self.store.widen(run.id, [*run.cells, *new])
            self._answered = there - {cell.id for cell in missing_cells(run)}
        else:
            self.store.begin(Run(**dict(plan.run), cells=cells))
            self._answered, self._started = set(), plan.run.started
        self._keep_asked(plan)

    def _keep_asked(self, plan: Plan) -> None:
        """What each cell was asked last, so that `runner cell repro` can ask it again."""
        reports = self.store.path.parent
        asked, before = asked_of(plan.orders, plan.payload), read_asked(reports, plan.run.id)
        if before:
            cells, objects = {**before.cells, **asked.cells}, {**before.objects, **asked.objects}
            asked = asked.model_copy(update={"cells": cells, "objects": objects})
        write_asked(reports, plan.run.id, asked)

    def progress(self, progress: Progress) -> None:
        pass

    def result(self, result: CellResult) -> None:
        if result.outcome in ANSWERS or result.cell.id not in self._answered:
            self.store.add(self._run_id, result)
        if result.outcome is Outcome.RAN:
            self._answered.add(result.cell.id)

    def finished(self, end: RunEnd) -> None:
        if end.complete:
            # by a clock that does not jump while the run goes on
            now = self._started + timedelta(seconds=end.ran_s) if self._started else datetime.now(UTC)
            self.store.finish(end.run_id, now)
