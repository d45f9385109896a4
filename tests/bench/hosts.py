# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How late a run ends because one of its hosts is slow."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from runner.engine.execute import execute
from runner.engine.fleet import Fleet, Host
from runner.engine.plan import Phase, Progress
from runner.model import CellResult
from tests import fakes
from tests.bench.measure import Figure

_CELLS = 10


def slow_host() -> Figure:
    """Two hosts, one of half the speed: the end over the best possible. Real workers, fake guests that only wait."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = tuple(
            Host(speed, {"x86_64": 1}, {"x86_64": "tcg"}, cache=str(folder / speed)) for speed in ("fast", "slow")
        )
        orders = [fakes.cell_order("work", number=number) for number in range(_CELLS)]
        begun: list[float] = []
        ended: dict[str, float] = {}

        class Clock(fakes.Told):
            def progress(self, progress: Progress) -> None:
                if progress.phase is Phase.PREPARING:
                    begun.append(time.monotonic())

            def result(self, result: CellResult) -> None:
                ended[result.cell.id] = time.monotonic()

        execute(fakes.plan(folder, *orders, fleet=Fleet(hosts)), [Clock()])
    best = min(max(n, 2 * (_CELLS - n)) for n in range(_CELLS + 1)) * fakes.WORK_S
    taken = max(ended.values()) - min(begun)
    how = (
        f"{len(ended)} cells of {fakes.WORK_S:g} s, a host of half the speed: {taken:.1f} s, best possible {best:.1f} s"
    )
    return Figure(taken / best, "x", how, at_most=1.25)
