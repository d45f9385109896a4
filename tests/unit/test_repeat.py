# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Is an answer that came again the same one?"""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.keptanswers import answered, changed_answers
from runner.model import Ask, CellResult, Crash, Outcome, ProgType
from runner.probes.census.answers import CensusObservation
from runner.probes.claims.answers import Observation
from tests import fakes
from tests.answers import answers_of

PROBE = "alloc:tc"
ASKS = (Ask(kind="claims", probe=PROBE), Ask(kind="census", probe="census:tc", items=True))
SEEN = Observation(probe=PROBE, load_errno=0, run_errno=0, retval=0, fields={"error": -22, "timeout": 30})
REFUSED = Observation(probe=PROBE, load_errno=22, log="at 0xffff888012345678\nR1 type=scalar expected=ptr_\n")


def result(*seen: Observation, crashed: bool = False, census: tuple[CensusObservation, ...] = ()) -> CellResult:
    crashes = (Crash(probe=PROBE, cause="Kernel panic"),) if crashed else ()
    return CellResult(cell=fakes.cell(), outcome=Outcome.RAN, answers=answers_of(seen, census), crashes=crashes)


def changes(before: CellResult, after: CellResult) -> list[tuple[str, str, str]]:
    return [(one.what, one.before, one.after) for one in changed_answers(before, after, ASKS)]


def test_addresses_and_what_a_timer_has_left_are_no_change() -> None:
    later = SEEN.model_copy(update={"fields": {"error": -22, "timeout": 29}})
    assert changes(result(SEEN), result(later)) == []
    elsewhere = REFUSED.model_copy(update={"log": REFUSED.log.replace("0xffff888012345678", "0xffff888099999999")})
    assert changes(result(REFUSED), result(elsewhere)) == []


def test_what_a_claim_that_holds_allows_is_no_change() -> None:
    more = SEEN.model_copy(update={"fields": {"error": -22, "found": 3}})
    fewer = SEEN.model_copy(update={"fields": {"error": -22, "found": 2}})
    assert changed_answers(result(more), result(fewer), ASKS[:1], held={PROBE}) == ()
    assert changes(result(more), result(fewer)) == [("alloc:tc, found", "3", "2")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fields": {"error": -95}}, ("alloc:tc, error", "-22", "-95")),
        ({"load_errno": 13}, ("alloc:tc, load errno", "0", "13")),
        ({"run_errno": 5}, ("alloc:tc, run errno", "0", "5")),
        ({"retval": 2}, ("alloc:tc, returned", "0", "2")),
        ({"failed": "no memory"}, ("alloc:tc, not asked", "", "no memory")),
        ({"fields": {}}, ("alloc:tc, error", "-22", "no answer")),
    ],
)
def test_every_other_number_is(change: dict[str, Any], told: tuple[str, str, str]) -> None:
    assert told in changes(result(SEEN), result(SEEN.model_copy(update=change)))


def test_the_verifiers_last_line_counts_where_it_refused() -> None:
    other = REFUSED.model_copy(update={"log": "R1 must be referenced\n"})
    assert [what for what, *_ in changes(result(REFUSED), result(other))] == ["alloc:tc, last line of the log"]


def test_a_crash_is_an_answer_and_another_one() -> None:
    assert changes(result(crashed=True), result(crashed=True)) == []
    assert changes(result(crashed=True), result(SEEN)) == [
        ("alloc:tc", "crashed the kernel", "answered, and the kernel lived")
    ]
    assert answered(result(crashed=True), ASKS[0])
    assert answered(result(SEEN), ASKS[0])
    assert not answered(result(), ASKS[0])
    assert not answered(result(SEEN.model_copy(update={"failed": "x"})), ASKS[0])


def test_what_was_not_asked_again_is_not_compared() -> None:
    other = Observation(probe="other:tc", load_errno=0)
    assert changes(result(SEEN, other), result(SEEN)) == []


def test_the_census_is_compared_kfunc_by_kfunc() -> None:
    there = CensusObservation(kfunc="f", prog_type=ProgType.TC, object="vmlinux", load_errno=22)
    gone = there.model_copy(update={"load_errno": 13})
    assert changes(result(census=(there,)), result(census=(there,))) == []
    assert changes(result(census=(there,)), result(census=(gone,))) == [
        ("census:tc, f", "errno 22 in vmlinux", "errno 13 in vmlinux")
    ]


@pytest.mark.parametrize(("only", "told"), [("", True), ("bpf_f", True), ("bpf_g", False)])
def test_an_item_that_crashed_the_kernel_and_does_not_any_more_is_another_answer(only: str, told: bool) -> None:
    ask = ASKS[1].model_copy(update={"only": only})
    crashed = result().model_copy(update={"crashes": (Crash(probe="census:tc:bpf_f", cause="Kernel panic"),)})
    change = ("census:tc:bpf_f", "crashed the kernel", "no answer")
    assert [(one.what, one.before, one.after) for one in changed_answers(crashed, result(), (ask,))] == [change] * told
    assert answered(crashed, ask) is told
