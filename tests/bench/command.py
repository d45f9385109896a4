# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner exec true` adds to a boot."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.fleet import this_machine
from runner.engine.plan import cell_orders, payloads
from runner.model.deadline import Deadline
from runner.probes import Expectations
from runner.probes.commands.written import CommandEntry
from tests.bench.boot import cells
from tests.bench.measure import Figure

ROUNDS = 5
LIMIT_S = 600


def command_ratio() -> Figure:
    """The seconds from the end of the boot to that of the agent, over those of the same guest's boot; no snapshot."""
    with tempfile.TemporaryDirectory(dir=cache_root()) as name:
        rounds = [_round(Path(name)) for _ in range(ROUNDS)]
    boot, command = (statistics.median(column) for column in zip(*rounds, strict=True))
    how = f"{command:.2f} s for push, agent and `true` over {boot:.2f} s of boot, tcg, {ROUNDS} rounds"
    return Figure(statistics.median(command / boot for boot, command in rounds), "x", how, at_most=0.15)


def _round(folder: Path) -> tuple[float, float]:
    """Seconds: the boot, and all that follows it."""
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "6.12")
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    expectations = Expectations.load(Path(), [CommandEntry(command=("true",))])
    cell = cell.model_copy(update={"probes": tuple(file.name for file in expectations.files)})
    (order,) = cell_orders((cell,), expectations)
    payload = payloads((cell,), expectations, cache=cache_root(), offline=False, deadline=limit)["little"]
    result = run_cell(order, payload, this_machine(offline=False), folder, lambda phase, note: None)
    states = [row.state for row in expectations.rows(result)]
    boot_s, command_s = result.timings.boot_s, result.timings.probe_s
    if states != ["passed"] or boot_s is None or command_s is None:
        raise RuntimeError(f"{cell.id}: {result.outcome}: {result.cause}; {states}")
    return boot_s, command_s
