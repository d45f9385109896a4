"""The agent's lines are hostile until parsed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.transcript import Transcript
from runner.model import CensusAsk, ProgType
from tests import fakes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_the_probe_in_flight_is_known_until_its_answer_comes() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "ask", "probe": "claim-0:tc"}')
    assert transcript.in_flight == "claim-0:tc"
    transcript.feed('{"event": "observation", "probe": "claim-0:tc", "load_errno": 22, "log": "R1 !read_ok"}')
    assert transcript.in_flight == ""
    assert transcript.observations["claim-0:tc"].load_errno == 22
    assert [ask.probe for ask in transcript.unanswered(transcript.asks)] == ["claim-1:tc", "claim-2:tc"]


def test_answers_to_what_was_not_asked_are_noise() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "observation", "probe": "other", "load_errno": 0}')
    transcript.feed('{"event": "ask", "probe": "/etc/passwd"}')
    assert transcript.observations == {}
    assert transcript.in_flight == ""
    assert len(transcript.noise) == 2


def test_an_answer_with_a_wrong_type_is_noise() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "observation", "probe": "claim-0:tc", "load_errno": "0x16"}')
    assert transcript.observations == {}


@given(st.text() | JSON.map(json.dumps) | st.dictionaries(st.just("event"), JSON, min_size=1).map(json.dumps))
def test_no_line_raises_or_answers_anything(line: str) -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed(line)
    assert transcript.observations == {}
    assert transcript.census == {}


def test_deep_nesting_is_noise() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed("[" * 200_000)
    assert len(transcript.noise) == 1


CENSUS = CensusAsk(probe="census:tc", prog_type=ProgType.TC, kfuncs=("bpf_a", "bpf_b", "bpf_c", "bpf_gone"))


def in_a_census(*lines: dict[str, object]) -> Transcript:
    transcript = Transcript((CENSUS, *fakes.asks(1)))
    told = [{"kfunc": name, "object": "vmlinux", "prototype": f"void {name}()"} for name in ("bpf_a", "bpf_b", "bpf_c")]
    start = {"event": "kfuncs", "kfuncs": told, "missing": ["bpf_gone", "bpf_never_asked", 7]}
    for line in ({"event": "ask", "probe": "census:tc"}, start, *lines):
        transcript.feed(json.dumps(line))
    return transcript


def answers(*names: str) -> dict[str, object]:
    return {"event": "census", "probe": "census:tc", "answers": [{"kfunc": name, "load_errno": 13} for name in names]}


def test_answers_of_a_census_hold_what_was_told_before() -> None:
    transcript = in_a_census(answers("bpf_a", "bpf_b"), {"event": "done", "probe": "census:tc"})
    assert transcript.census["bpf_a", "tc"].prototype == "void bpf_a()"
    assert transcript.missing == ("bpf_gone",), "what was not asked about is not missing"
    assert transcript.done == {"census:tc": ""}
    assert transcript.in_flight == ""


def test_an_answer_about_a_kfunc_that_was_not_told_is_noise() -> None:
    transcript = in_a_census(answers("bpf_x"), {"event": "census", "probe": "census:tc", "answers": "all"})
    assert transcript.census == {}
    assert len(transcript.noise) == 2


def test_after_a_death_the_rest_of_a_census_is_asked_carefully() -> None:
    transcript = in_a_census(answers("bpf_a"))
    assert transcript.look_closer(died=True)
    rest = transcript.unanswered(transcript.asks)[0]
    assert isinstance(rest, CensusAsk)
    assert (rest.careful, rest.skip) == (True, ("bpf_a",))
    transcript.feed('{"event": "ask", "probe": "census:tc"}')
    transcript.feed('{"event": "asking", "probe": "census:tc", "kfunc": "bpf_b"}')
    assert transcript.in_flight == "census:tc:bpf_b"
    assert not transcript.look_closer(died=True), "now it is known who did it"
    rest = transcript.unanswered(transcript.asks)[0]
    assert isinstance(rest, CensusAsk)
    assert rest.skip == ("bpf_a", "bpf_b")


def test_a_kfunc_after_which_the_guest_is_silent_has_no_answer() -> None:
    transcript = in_a_census()
    transcript.look_closer(died=False)
    transcript.feed('{"event": "ask", "probe": "census:tc"}')
    transcript.feed('{"event": "asking", "probe": "census:tc", "kfunc": "bpf_b"}')
    transcript.give_up("the guest said nothing for 30 s")
    seen = transcript.census["bpf_b", "tc"]
    assert (seen.failed, seen.load_errno, seen.object) == ("the guest said nothing for 30 s", None, "vmlinux")
    assert transcript.in_flight == ""


@pytest.mark.parametrize(("probe", "kfunc"), [("census:tc", "b:tc"), ("census:tc", ""), ("claim-0:tc", "bpf_a")])
def test_whatever_a_guest_names_before_it_is_silent_can_be_given_up(probe: str, kfunc: str) -> None:
    transcript = in_a_census()
    transcript.feed(json.dumps({"event": "asking", "probe": probe, "kfunc": kfunc}))
    transcript.give_up("silent")
    assert {(name, seen.failed) for (name, _), seen in transcript.census.items()} <= {(kfunc, "silent")}
    assert transcript.in_flight == ""


def test_a_claim_is_not_looked_at_more_closely() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "ask", "probe": "claim-0:tc"}')
    assert not transcript.look_closer(died=True)
    transcript.give_up("silent")
    assert transcript.observations["claim-0:tc"].failed == "silent"
