# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A thousand cells on 64 workers: what the controller does for each, and whether it grows. Guests are fakes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.bench.measure import Figure

CELLS, WORKERS = 1000, 64
HALF = CELLS // 2


def _measure(folder: Path) -> dict[str, Any]:
    """In a process of its own, whose only work is that of a controller: rounds, and the store."""
    from runner.engine.execute import execute
    from runner.engine.fleet import this_machine_alone
    from runner.engine.plan import Progress
    from runner.engine.storing import StoreSink
    from runner.model import CellResult
    from runner.results.store import ResultStore
    from tests import fakes
    from tests.faults.project import VERSIONS, cells, plan

    each = len(VERSIONS)
    wanted = tuple(
        cell.model_copy(update={"id": f"{cell.id}-{lap}"})
        for lap in range(-(-CELLS // each))
        for cell in cells(["fine"] * each)
    )[:CELLS]
    todo = plan(wanted, folder / "runs" / "r", census=True, fleet=this_machine_alone(WORKERS))
    resident: list[int] = []

    class Resident(fakes.Told):
        def progress(self, _: Progress, /) -> None:
            pass

        def result(self, _: CellResult, /) -> None:
            resident.append(_resident_kib())

    with ResultStore(folder / "results.db") as store:
        begun, cpu = time.monotonic(), _cpu_s()
        execute(todo, [StoreSink(store), Resident()])
        spent, wall = _cpu_s() - cpu, time.monotonic() - begun
        complete = sum(not result.unasked for result in store.load("r").results)
    return {"cpu_s": spent, "wall_s": wall, "complete": complete, "resident_kib": resident}


def _cpu_s() -> float:
    """Of this process alone: its workers are not counted."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident_kib() -> int:
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")
    )


@cache
def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.scale", name], check=True, stdout=subprocess.PIPE, text=True
        )
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if document["complete"] != CELLS:
        raise RuntimeError(f"{document['complete']} of {CELLS} cells are complete")
    return document


def controller_ms() -> Figure:
    document = _run()
    how = f"{CELLS} cells on {WORKERS} workers, all complete, {document['wall_s']:.0f} s; with the store"
    return Figure(1000 * document["cpu_s"] / CELLS, "ms", how, at_most=30)


def controller_growth() -> Figure:
    """Resident size at the last result over that at the middle one."""
    resident = _run()["resident_kib"]
    how = f"{resident[-1] / 1024:.0f} MiB after {CELLS} cells, {resident[HALF] / 1024:.0f} MiB after {HALF}"
    return Figure(resident[-1] / resident[HALF], "x", how, at_most=1.1)


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]))))  # noqa: T201
