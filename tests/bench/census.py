# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the census costs: the seconds that it adds to a cell."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.fleet import this_machine
from runner.engine.plan import CellOrder, Files, cell_orders, payloads
from runner.matrix import load_matrix
from runner.model import Outcome
from runner.model.deadline import Deadline
from runner.probes import Expectations
from tests.bench.boot import cells
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 600
POLL_S = 0.05


def census_s() -> Figure:
    """The claims and the census, less the claims alone, each in a guest of its own; the least of ROUNDS.

    Counted is the emulator's processor time: on an idle machine that is what one waits, on a busy one little more.
    """
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "7")
    expectations = Expectations.load(Path(), load_matrix(Path("matrix.yaml")).file.probes)
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    packed = payloads((cell,), expectations, cache=cache_root(), offline=False, deadline=limit)
    (whole,) = cell_orders((cell,), expectations)
    alone = CellOrder(
        cell=cell,
        asks=tuple(ask for ask in whole.asks if ask.kind == "claims"),
        modules=tuple(it for file in expectations.files for it in file.family.modules),
    )
    payload = packed["little"]
    rounds = [(_cpu_s(alone, payload), _cpu_s(whole, payload)) for _ in range(ROUNDS)]
    without, full = (min(column) for column in zip(*rounds, strict=True))
    how = f"{full:.2f} s of cpu with the census, {without:.2f} s without, {cell.id}, tcg, {ROUNDS} rounds"
    return Figure(full - without, "s", how, at_most=3)


def _cpu_s(order: CellOrder, payload: Files) -> float:
    """The processor seconds of a whole cell's guest."""
    with tempfile.TemporaryDirectory(dir=cache_root()) as folder, ThreadPoolExecutor(1) as pool:
        ran = pool.submit(run_cell, order, payload, this_machine(offline=False), Path(folder), lambda phase, note: None)
        ticks = 0
        while not ran.done():
            ticks = max(ticks, _emulator_ticks())
            time.sleep(POLL_S)
    result = ran.result()
    if result.outcome is not Outcome.RAN or result.unasked:
        raise RuntimeError(f"{order.cell.id}: {result.outcome}: {result.cause}")
    return ticks / os.sysconf("SC_CLK_TCK")


def _emulator_ticks() -> int:
    """Of the emulator that this process started, by way of others."""
    processes = {int(path.parent.name): _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
    ticks = 0
    for name, parent, used in processes.values():
        ancestor = parent
        while ancestor in processes and ancestor != os.getpid():
            ancestor = processes[ancestor][1]
        if name.startswith("qemu-system") and ancestor == os.getpid():
            ticks = max(ticks, used)
    return ticks


def _stat(path: Path) -> tuple[str, int, int]:
    """Name, parent, ticks used; see proc(5)."""
    try:
        head, _, rest = path.read_text().rpartition(")")
    except OSError:
        return "", 0, 0  # it has ended
    fields = rest.split()
    return head.partition("(")[2], int(fields[1]), int(fields[11]) + int(fields[12])
