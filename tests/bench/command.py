# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner exec true` adds to a boot."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.machine import this_machine
from runner.engine.plan import cell_orders, payloads
from runner.model.deadline import Deadline
from runner.probes import Expectations
from runner.probes.commands.written import CommandEntry
from tests.bench.boot import cells
from tests.bench.load import BEGUN
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 600


def command_ratio() -> Figure:
    """The guest's seconds from the command's begin to the next one's, over those of the boot."""
    with tempfile.TemporaryDirectory(dir=cache_root()) as name:
        rounds = [_round(Path(name)) for _ in range(ROUNDS)]
    boot, command = (statistics.median(column) for column in zip(*rounds, strict=True))
    how = f"{command:.2f} s for `true` over {boot:.2f} s of boot, tcg, {ROUNDS} rounds"
    return Figure(command / boot, "x", how, at_most=0.15)


def _round(folder: Path) -> tuple[float, float]:
    """Seconds: the boot, and the first command."""
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "6.12")
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    names = ("first", "end")  # where that begins, the one before it has ended
    expectations = Expectations.load(Path(), [CommandEntry(command=("true",), id=name) for name in names])
    cell = cell.model_copy(update={"probes": tuple(file.name for file in expectations.files)})
    (order,) = cell_orders((cell,), expectations)
    payload = payloads((cell,), expectations, cache=cache_root(), offline=False, deadline=limit)["little"]
    result = run_cell(order, payload, this_machine(offline=False), folder, lambda phase, note: None)
    states = [row.state for row in expectations.rows(result)]
    begun = {found["probe"]: float(found["at_s"]) for found in BEGUN.finditer(result.console)}
    if states != ["passed"] * 2 or result.timings.boot_s is None or begun.keys() != set(names):
        raise RuntimeError(f"{cell.id}: {result.outcome}: {result.cause}; {states}; {begun}")
    return result.timings.boot_s, begun["end"] - begun["first"]
