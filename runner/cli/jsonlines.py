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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console

from runner.engine.orders import Progress
from runner.model import CellResult
from runner.reports.summary import Totals


@dataclass(slots=True)
class JsonLines:
    """Each line is out before the next thing happens."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    _began: float | None = None

    def cells(self, ids: Iterable[str]) -> None:
        self._say("cells", cells=list(ids))

    def progress(self, progress: Progress) -> None:
        self._say("progress", cell=progress.cell_id, phase=progress.phase, note=progress.note)

    def result(self, result: CellResult, summary: str) -> None:
        known = result.model_dump(mode="json", include={"outcome", "cause", "attempts", "host", "accel", "timings"})
        self._say("result", cell=result.cell.id, **known, summary=summary)

    def finished(self, run_id: str, figures: Totals, status: int) -> None:
        self._say("finished", run=run_id, exit=status, cells=figures.cells, claims=figures.claims)

    def _say(self, event: str, **fields: object) -> None:
        if self._began is None:
            self._began = self.clock()
        line = {"event": event, "at_s": round(self.clock() - self._began, 3), **fields}
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()


class EventConsole(Console):
    """A console on stderr for people, which the display of a run also tells of events."""

    def __init__(self, events: JsonLines) -> None:
        super().__init__(stderr=True, highlight=False)
        self.events = events
