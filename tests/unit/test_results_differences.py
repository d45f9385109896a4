"""Two runs compared answer by answer."""

from __future__ import annotations

import pytest

from runner.model import CellResult, Crash, Observation, Outcome
from runner.results.differences import Difference, differences
from tests.unit.agent_samples import result
from tests.unit.test_results_statements import judged

PROBE = "alloc-tcp:tc"


def altered(seen: CellResult, **changes: object) -> CellResult:
    observations = tuple(one.model_copy(update=changes) if one.probe == PROBE else one for one in seen.observations)
    return seen.model_copy(update={"observations": observations})


def test_the_same_answers_are_no_difference_whatever_else_varies() -> None:
    seen = result("6.12.117")
    elsewhere = altered(seen.model_copy(update={"host": "other", "attempts": 2, "console": "x"}), retval=7)
    assert differences(judged(seen), judged(elsewhere)) == ()


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({"load_errno": 22, "log": "R1 bad"}, "broken, load 22, run 0"),
        ({"run_errno": 5}, "no answer, load 0, run 5"),
        ({"fields": {"acquired": 0, "error": -12}}, "broken, load 0, run 0"),
        ({"failed": "bug"}, "no answer, failed"),
    ],
)
def test_every_other_answer_is_one(changes: dict[str, object], after: str) -> None:
    before = judged(result("6.12.117"), result("6.18.15"))
    now = judged(altered(result("6.12.117"), **changes), result("6.18.15"))
    found = [one for one in differences(before, now) if one.what == PROBE]
    assert found == [Difference(cell="6.12.117-x86_64", what=PROBE, before="holds, load 0, run 0", after=after)]


def test_states_outcomes_crashes_and_cells_count() -> None:
    seen = result("6.12.117")
    before = judged(seen)

    def what(now: CellResult) -> set[str]:
        return {one.what for one in differences(before, judged(now))}

    assert what(seen.model_copy(update={"crashes": (Crash(probe=PROBE),)})) == {PROBE}
    without_census = what(seen.model_copy(update={"census": ()}))
    assert "bpf_skb_ct_alloc (xdp)" in without_census
    lost = CellResult(cell=seen.cell, outcome=Outcome.LOST, cause="ssh", observations=(Observation(probe="x"),))
    assert {"outcome", PROBE, "bpf_skb_ct_alloc (tc)"} <= what(lost)
    assert [(one.cell, one.after) for one in differences(judged(seen, result("6.1.192")), before)] == [
        ("6.1.192-x86_64", "not in the run")
    ]
    assert [(one.cell, one.before) for one in differences(before, judged(seen, result("6.1.192")))] == [
        ("6.1.192-x86_64", "not in the run")
    ]
