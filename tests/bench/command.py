# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner exec true` costs: all that a cell does after its boot, over the boot."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.machine import this_machine
from runner.engine.plan import cell_orders, payloads
from runner.model import Outcome
from runner.model.deadline import Deadline
from runner.probes import Expectations
from runner.probes.commands.written import CommandEntry
from tests.bench.boot import cells
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 600


def command_ratio() -> Figure:
    """The seconds from the boot's end to the command's answer, the agent's own start included."""
    with tempfile.TemporaryDirectory(dir=cache_root()) as name:
        rounds = [_round(Path(name)) for _ in range(ROUNDS)]
    boot, command = (statistics.median(column) for column in zip(*rounds, strict=True))
    how = f"{command:.2f} s for `true` over {boot:.2f} s of boot, tcg, {ROUNDS} rounds"
    return Figure(command / boot, "x", how, at_most=0.15)


def _round(folder: Path) -> tuple[float, float]:
    """Seconds: the boot, and what comes then."""
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "6.12")
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    expectations = Expectations.load(Path(), [CommandEntry(command=("true",))])
    cell = cell.model_copy(update={"probes": tuple(file.name for file in expectations.files)})
    (order,) = cell_orders((cell,), expectations)
    payload = payloads((cell,), expectations, cache=cache_root(), offline=False, deadline=limit)["little"]
    result = run_cell(order, payload, this_machine(offline=False), folder, lambda phase, note: None)
    states = [row.state for row in expectations.rows(result)]
    if states != ["passed"] or result.outcome is not Outcome.RAN:
        raise RuntimeError(f"{cell.id}: {result.outcome}: {result.cause}; {states}")
    boot_s, probe_s = result.timings.boot_s, result.timings.probe_s
    assert boot_s is not None
    assert probe_s is not None
    return boot_s, probe_s
