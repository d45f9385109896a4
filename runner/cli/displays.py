"""The displays of a run: a live board on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.engine.plan import Phase, Plan, Progress, RunEnd
from runner.model import CellResult, Outcome
from runner.reports.summary import Totals

_ACTIVE = (Phase.PREPARING, Phase.BOOTING, Phase.PROBING)


@dataclass(slots=True)
class Board:
    """Where every cell is, and since when."""

    cell_ids: tuple[str, ...]
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    phases: dict[str, tuple[Phase, float, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.phases = dict.fromkeys(self.cell_ids, (Phase.WAITING, self.began, ""))

    def take(self, progress: Progress) -> None:
        if progress.cell_id in self.phases:
            self.phases[progress.cell_id] = (progress.phase, self.clock(), progress.note)

    @property
    def elapsed_s(self) -> float:
        return self.clock() - self.began

    def counts(self) -> str:
        """`3 waiting · 1 booting · 1 probing · 3 done · 24 s`"""
        number = Counter(phase for phase, _, _ in self.phases.values())
        parts = [f"{number[phase]} {phase}" for phase in Phase if number[phase]]
        return " · ".join([*parts, f"{self.elapsed_s:.0f} s"])

    def active(self) -> Iterable[tuple[str, Phase, float, str]]:
        """Cell, phase, seconds in it, note; in the order of the matrix."""
        now = self.clock()
        for cell_id, (phase, since, note) in self.phases.items():
            if phase in _ACTIVE:
                yield cell_id, phase, now - since, note


class Display:
    """A sink that shows a Board. `describe` says in a few words what came of a cell."""

    def __init__(self, console: Console, describe: Callable[[CellResult], str]) -> None:
        self._console = console
        self._describe = describe
        self._board = Board(())
        self._width = 0
        self._live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def began(self, plan: Plan) -> None:
        self._board = Board(tuple(order.cell.id for order in plan.orders))
        self._width = max((len(cell_id) for cell_id in self._board.cell_ids), default=0)
        if self._live:
            self._live.start()

    def finished(self, _: RunEnd) -> None:
        if self._live:
            self._live.stop()

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for cell_id, phase, seconds, note in self._board.active():
            table.add_row(" ", cell_id, Text(phase, style="cyan"), f"{seconds:4.0f} s", Text(note, style="dim"))
        return Group(table, Text(f"  {self._board.counts()}", style="dim"))

    def progress(self, progress: Progress) -> None:
        self._board.take(progress)
        if not self._live and progress.phase in _ACTIVE:
            self._line(progress.cell_id, str(progress.phase), progress.note)

    def result(self, result: CellResult) -> None:
        """A finished cell stays on the screen."""
        said = self._describe(result)
        if not self._live:
            self._line(result.cell.id, "done", said)
            return
        good = result.outcome is Outcome.RAN
        mark = Text("✓", style="green") if good else Text("✗", style="red")
        took = f"{result.timings.total_s:6.1f} s" if result.timings.total_s is not None else " " * 8
        line = Text.assemble("  ", mark, f" {result.cell.id:<{self._width}}  {took}  ", said)
        self._console.print(line, overflow="ellipsis", no_wrap=True)

    def _line(self, cell_id: str, phase: str, note: str) -> None:
        text = f"{self._board.elapsed_s:7.1f} s  {cell_id:<{self._width}}  {phase:<9}  {note}".rstrip()
        self._console.print(Text(text), soft_wrap=True)


@dataclass(slots=True)
class JsonLines:
    """A sink: a JSON object per line. `describe` says in a few words what came of a cell.

        {"event": "cells", "cells": ["6.1.192-x86_64", ...]}
        {"event": "progress", "cell": ..., "phase": "booting", "note": ""}
        {"event": "result", "cell": ..., "outcome": "ran", "cause": "", "attempts": 1, "timings": {...}, "summary": ...}
        {"event": "finished", "run": ..., "exit": 0, "cells": {"ran": 8}, "claims": {"holds": 1680}}

    Each has `at_s`, seconds since the first. Fields and events are added, never renamed. Each line is out before the
    next thing happens.
    """

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
