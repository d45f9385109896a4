"""The agent's lines are hostile until parsed."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runner.execution.transcript import Transcript
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
