# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two runs of real kernels' answers compared: what may vary is no change, and every other answer is one."""

from __future__ import annotations

import pytest

from runner.model import CellResult, Crash, Outcome
from runner.probes.census.answers import taken
from runner.probes.claims.answers import Observation
from runner.results.diff import Change, Difference, Trend, difference
from runner.results.model import of_run
from tests.answers import answers_of, seen_of, with_answers
from tests.unit.agent_samples import result
from tests.unit.test_results_statements import judged

PROBE = "alloc-tcp:tc"


def altered(seen: CellResult, **changes: object) -> CellResult:
    observations = tuple(one.model_copy(update=changes) if one.probe == PROBE else one for one in seen_of(seen))
    return with_answers(seen, claims=observations)


def diff(before: tuple[CellResult, ...], after: tuple[CellResult, ...]) -> Difference:
    return difference(of_run(judged(*before)), of_run(judged(*after)))


def about(found: Difference, name: str) -> list[Change]:
    return [change for change in found.changes if change.key.name == name]


def test_the_same_answers_are_no_difference_whatever_else_varies() -> None:
    seen = result("6.12.117")
    elsewhere = altered(seen.model_copy(update={"host": "other", "attempts": 2, "console": "x"}), retval=7)
    assert diff((seen,), (elsewhere,)).nothing


@pytest.mark.parametrize(
    ("changes", "kind", "after"),
    [
        ({"load_errno": 22, "log": "R1 bad"}, Trend.WORSE, "broken: load refused: -EINVAL"),
        ({"run_errno": 5}, Trend.UNANSWERED, "no answer: "),
        ({"fields": {"acquired": 0, "error": -12}}, Trend.WORSE, "broken: "),
        ({"failed": "bug"}, Trend.UNANSWERED, "no answer: "),
    ],
)
def test_every_other_answer_is_one(changes: dict[str, object], kind: Trend, after: str) -> None:
    other = result("6.18.15")
    found = diff((result("6.12.117"), other), (altered(result("6.12.117"), **changes), other))
    [change] = about(found, PROBE)
    assert (change.kind, change.key.cell) == (kind, "6.12.117-x86_64")
    assert change.before.startswith("holds: ")
    assert change.after.startswith(after)
    assert not found.nothing


def test_states_outcomes_crashes_and_cells_count() -> None:
    seen, older = result("6.12.117"), result("6.1.192")
    older = older.model_copy(update={"cell": older.cell.model_copy(update={"name": "6.1"})})
    [crash] = about(diff((seen,), (seen.model_copy(update={"crashes": (Crash(probe=PROBE),)}),)), PROBE)
    assert (crash.kind, crash.after) == (Trend.WORSE, "crashed the kernel")
    [state] = about(diff((seen,), (with_answers(seen, census=()),)), "bpf_skb_ct_alloc (xdp)")
    assert state.kind is Trend.UNANSWERED
    lost = CellResult(cell=seen.cell, outcome=Outcome.LOST, cause="ssh", answers=answers_of((Observation(probe="x"),)))
    [cell] = diff((seen,), (lost,)).changes  # once, not for every claim
    assert (cell.kind, cell.before, cell.after) == (Trend.UNANSWERED, "ran", "lost: ssh")
    assert diff((seen, older), (seen,)).gone == ("6.1.192-x86_64",)
    assert diff((seen,), (seen, older)).new == ("6.1.192-x86_64",)


@pytest.mark.parametrize("moved", [{"object": "nf_nat"}, {"load_errno": 13}])
def test_same_state_from_elsewhere_is_a_change(moved: dict[str, object]) -> None:
    seen = result("6.12.117")
    census = tuple(
        one.model_copy(update=moved) if (one.kfunc, one.prog_type) == ("bpf_skb_ct_alloc", "xdp") else one
        for one in taken(seen).answers
    )
    [change] = about(diff((seen,), (with_answers(seen, census=census),)), "bpf_skb_ct_alloc (xdp)")
    assert change.kind in {Trend.OTHERWISE, Trend.WORSE}
    assert change.before != change.after
