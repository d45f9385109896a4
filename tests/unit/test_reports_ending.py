# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The exit status says what the run says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.cli.options import exit_status
from runner.model import Crash, Outcome, ProgType, State, Verdict
from runner.results.model import judge_run
from tests.unit import results_samples as samples


def test_clean_run_is_0() -> None:
    assert exit_status(samples.clean_run()) == 0


@pytest.mark.parametrize("cell", range(8))
def test_missing_cell_is_never_0(cell: int) -> None:
    results = [samples.result(each) for at, each in enumerate(samples.CELLS) if at != cell]
    judged = samples.judged(*results)
    assert exit_status(judged) == 2
    # not even when the judge has nothing to say about a cell without a result
    silent = judge_run(judged.run, samples.Judge(samples.nothing))
    assert exit_status(silent) == 2


def test_run_without_cells_or_questions_is_not_0() -> None:
    assert exit_status(samples.judged(cells=())) == 2
    run = samples.run(samples.result(samples.CELLS[0]), cells=samples.CELLS[:1])
    assert exit_status(judge_run(run, samples.Judge(samples.nothing, samples.nothing))) == 2


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(Outcome.BOOT_FAILED, 1), (Outcome.LOST, 2), (Outcome.INFRA_FAILED, 2), (Outcome.SKIPPED, 2)],
)
def test_outcome_decides(outcome: Outcome, expected: int) -> None:
    results = [samples.result(cell) for cell in samples.CELLS[:-1]]
    assert exit_status(samples.judged(*results, samples.result(samples.CELLS[-1], outcome, "x"))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": Verdict.BROKEN}, 1),
        ({"verdict": Verdict.NO_ANSWER, "crashed": True}, 1),
        ({"verdict": Verdict.NO_ANSWER}, 2),
        ({"verdict": Verdict.NOT_APPLICABLE}, 0),
    ],
)
def test_one_verdict_decides(changes: dict[str, Any], expected: int) -> None:
    assert exit_status(samples.with_claim(samples.clean_run(), "6.18.15-x86_64", 7, **changes)) == expected


def test_broken_wins_over_unanswered() -> None:
    assert exit_status(samples.mixed_run()) == 1


def test_probe_that_crashed_or_was_never_asked_decides_without_a_verdict() -> None:
    for field, value, expected in (("crashes", Crash(probe="some:tc"), 1), ("unasked", "some:tc", 2)):
        results = [samples.result(cell) for cell in samples.CELLS]
        results[3] = results[3].model_copy(update={field: (value,)})
        assert exit_status(samples.judged(*results)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2),
        ({"hidden": True}, 0),  # the kernel has answered, but with another refusal: it always will
        ({"type": ProgType.NETFILTER}, 0),  # 6.1 has no such programs
    ],
)
def test_open_states_decide_when_something_can_be_done(changes: dict[str, Any], expected: int) -> None:
    more = replace(samples.state_row("bpf_x", ProgType.TC, State.NO_ANSWER, "c"), **changes)
    run = samples.clean_run().run
    judged = judge_run(run, samples.Judge(states=lambda of: (*samples.states(of), more)))
    assert exit_status(judged) == expected
