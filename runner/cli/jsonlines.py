"""`runner matrix run --format json`: a JSON object per line on stdout while a run goes on; all else goes to stderr.

    {"event": "cells", "cells": ["6.1.192-x86_64", ...]}
    {"event": "progress", "cell": ..., "phase": "booting", "note": ""}
    {"event": "result", "cell": ..., "outcome": "ran", "cause": "", "attempts": 1, "timings": {...}, "summary": ...}
    {"event": "finished", "run": ..., "exit": 0, "cells": {"ran": 8}, "claims": {"holds": 1680}}

Each has `at_s`, seconds since the first. Fields and events are added, never renamed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from runner.engine.orders import Progress
from runner.engine.plan import Plan, RunEnd
from runner.model import CellResult
from runner.reports.summary import Totals


@dataclass(slots=True)
class JsonLines:
    """A sink. Each line is out before the next thing happens. `describe` says in a few words what came of a cell."""

    describe: Callable[[CellResult], str]
    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    _began: float | None = None

    def began(self, plan: Plan) -> None:
        self._say("cells", cells=[order.cell.id for order in plan.orders])

    def progress(self, progress: Progress) -> None:
        self._say("progress", cell=progress.cell_id, phase=progress.phase, note=progress.note)

    def result(self, result: CellResult) -> None:
        known = result.model_dump(mode="json", include={"outcome", "cause", "attempts", "host", "accel", "timings"})
        self._say("result", cell=result.cell.id, **known, summary=self.describe(result))

    def finished(self, end: RunEnd) -> None:
        """A run may be executed twice, so its last line is for the command to say."""

    def exits(self, run_id: str, figures: Totals, status: int) -> None:
        self._say("finished", run=run_id, exit=status, cells=figures.cells, claims=figures.claims)

    def _say(self, event: str, **fields: object) -> None:
        if self._began is None:
            self._began = self.clock()
        line = {"event": event, "at_s": round(self.clock() - self._began, 3), **fields}
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()
