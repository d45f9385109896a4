# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What CI reads while a run goes on, one JSON object per line, on stdout alone; and what people see of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from runner.cli.booting import Display, JsonLines
from runner.engine.plan import CellOrder, Phase, Progress
from runner.model import Outcome
from runner.reports.summary import totals
from tests import fakes
from tests.unit import results_samples as samples


def test_a_run_in_lines(tmp_path: Path) -> None:
    out, now = io.StringIO(), [100.0]
    events = JsonLines(lambda result: f"{result.outcome}: \x1b[1m", out, clock=lambda: now[0])
    cell = samples.CELLS[0]
    events.began(fakes.plan(tmp_path, CellOrder(cell=cell, asks=(), modules=())))
    now[0] += 1.5
    events.progress(Progress(cell_id=cell.id, phase=Phase.BOOTING, note="boot 2"))
    events.result(samples.result(cell, Outcome.LOST, "ssh\nwent\u2028away"))
    events.exits("a-run", totals(samples.mixed_run()), 1)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(out.getvalue().split("\n")) == len(lines) + 1 == 5
    assert out.getvalue().isascii()
    assert [(line["event"], line["at_s"]) for line in lines] == [
        ("cells", 0.0),
        ("progress", 1.5),
        ("result", 1.5),
        ("finished", 1.5),
    ]
    assert lines[0]["cells"] == [cell.id]
    assert (lines[1]["cell"], lines[1]["phase"], lines[1]["note"]) == (cell.id, "booting", "boot 2")
    assert (lines[2]["outcome"], lines[2]["cause"], lines[2]["attempts"]) == ("lost", "ssh\nwent\u2028away", 1)
    assert lines[2]["timings"]["total_s"] == 20.0
    assert lines[3]["exit"] == 1
    assert lines[3]["cells"] == {"ran": 6, "boot failed": 1, "infrastructure failed": 1}


def test_what_a_guest_says_does_not_reach_the_terminal(tmp_path: Path) -> None:
    cell, out = samples.CELLS[0], io.StringIO()
    display = Display(Console(file=out, width=200), lambda result: result.cause)
    display.began(fakes.plan(tmp_path, CellOrder(cell=cell, asks=(), modules=())))
    display.progress(Progress(cell_id=cell.id, phase=Phase.BOOTING, note="\x1b]0;note\x07"))
    display.result(samples.result(cell, Outcome.BOOT_FAILED, "kernel panicked: \x1b[31mred"))
    assert out.getvalue().splitlines()[1].endswith("kernel panicked: red")
    assert "\x1b" not in out.getvalue()
