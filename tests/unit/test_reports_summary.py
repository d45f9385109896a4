# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The end of a run's report: what is wrong, and how to look at it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from runner.cli.options import exit_status
from runner.model import Outcome, Row, State
from runner.reports.cell import cell_report
from runner.reports.summary import run_report, summary
from tests.unit import results_samples as samples
from tests.unit.rendering import render


def test_clean_summary_is_short() -> None:
    assert render(summary(samples.clean_run())).splitlines() == [
        "8 cells: 8 ran",
        "816 claims: 816 hold",
        "52.0 s in all; the cells took 98.0 s, 49.0 s on each of 2 slots (94% of the run)",
        "run 20261103-101501-3fa9 of 2026-11-03 10:15 UTC",
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_summary_names_all_that_is_wrong_and_how_to_look_at_it(width: int) -> None:
    text = render(summary(samples.mixed_run()), width)
    for cell in ("6.1.192-arm64", "6.12.117-x86_64", "6.18.15-arm64", "7.3.4-x86_64", "7.3.4-arm64"):
        assert re.search(rf"^  {re.escape(cell)} ", text, re.MULTILINE)
    assert not re.search(r"^  6\.1\.192-x86_64 ", text, re.MULTILINE)
    titles = ["Crashed the kernel", "Did not boot", "Broken", "Cell without an answer", "No answer"]
    assert [line for line in text.splitlines() if line in titles] == titles
    for command in (
        "runner cell show 6.18.15-arm64 --probe ct-release-2:xdp",
        "runner cell show 7.3.4-arm64",
        "runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp",
        "runner cell show 7.3.4-x86_64",
        "runner cell show 6.1.192-arm64 --probe ct-set-nat-info-10:tc",
    ):
        assert f"    {command}\n" in text  # whole, on a line of its own
    assert text.count("--probe xdp-ct-lookup-1:xdp") == 1  # one finding for both architectures
    assert "8 cells: 6 ran, 1 boot failed, 1 infrastructure failed" in text
    assert "816 claims: 607 hold, 3 broken, 206 no answer" in text


def test_summary_tells_open_kfuncs_that_no_claim_is_about() -> None:
    judged = samples.clean_run()

    def refused(row: Row) -> Row:
        return replace(row, state=State.NO_ANSWER, cause="BTF refused") if "dynptr" in row.subject else row

    cells = (samples.with_states(judged.cells[0], refused), *judged.cells[1:])
    opened = judged.model_copy(update={"cells": cells})
    assert exit_status(opened) == 2
    text = render(summary(opened))
    assert "? bpf_dynptr_from_skb (tc), bpf_dynptr_from_skb (xdp)  6.1.192 (x86_64)" in text
    assert "BTF refused" in text


def test_time_of_a_killed_run_is_not_invented() -> None:
    judged = samples.clean_run()
    killed = judged.model_copy(update={"run": judged.run.model_copy(update={"finished": None, "slots": None})})
    assert "the run did not come to its end; the cells took 98.0 s\n" in render(summary(killed))


def test_repeated_cell_is_told_although_it_ran() -> None:
    lost = samples.result(samples.CELLS[0], Outcome.LOST, "ssh dropped")
    judged = samples.judged(lost, *(samples.result(cell) for cell in samples.CELLS))
    assert re.search(r"6\.1\.192-x86_64 +ran +2 attempts", render(summary(judged)))
    assert "attempt 1  lost: ssh dropped" in render(cell_report(judged.cells[0]))
    assert "the cells took 118.0 s" in render(summary(judged))  # what the lost attempt took as well


def test_commands_of_an_older_run_name_it() -> None:
    text = render(run_report(samples.mixed_run(), is_last=False))
    run_id = samples.mixed_run().run.id
    assert f"    runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp --run {run_id}\n" in text
    assert text.count("runner cell show") == text.count(f"--run {run_id}") == 5


def test_report_of_a_run_is_grid_and_summary() -> None:
    text = render(run_report(samples.mixed_run(), every_hint="--all"))
    assert text.index("bpf_ct_release") < text.index("Why") < text.index("Broken\n") < text.index("8 cells")
