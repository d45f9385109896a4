# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The agent's lines are hostile until parsed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.cellrecord import CellRecord
from runner.engine.plan import Delivery
from runner.engine.transcript import ProbeItem, Transcript
from runner.model import Answer, Ask
from tests import fakes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_the_probe_in_flight_is_known_until_its_answer_comes() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "begin", "probe": "claim-0:tc"}')
    assert str(transcript.in_flight) == "claim-0:tc"
    transcript.feed('{"event": "answer", "probe": "claim-0:tc", "body": {"load_errno": 22, "log": "R1 !read_ok"}}')
    assert transcript.in_flight is None
    assert transcript.answers[ProbeItem("claim-0:tc")].body["load_errno"] == 22
    assert [ask.probe for ask in transcript.unanswered(transcript.asks)] == ["claim-1:tc", "claim-2:tc"]


def test_answers_to_what_was_not_asked_are_noise() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed('{"event": "answer", "probe": "other", "body": {"load_errno": 0}}')
    transcript.feed('{"event": "begin", "probe": "/etc/passwd"}')
    assert transcript.answers == {}
    assert transcript.in_flight is None
    assert len(transcript.noise) == 2


@pytest.mark.parametrize("wrong", ['"body": "0x16"', '"item": 7', '"body": {}, "also": 1'])
def test_an_answer_of_another_form_is_noise(wrong: str) -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed(f'{{"event": "answer", "probe": "claim-0:tc", {wrong}}}')
    assert transcript.answers == {}
    assert len(transcript.noise) == 1


@given(st.text() | JSON.map(json.dumps) | st.dictionaries(st.just("event"), JSON, min_size=1).map(json.dumps))
def test_no_line_raises_or_answers_anything(line: str) -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed(line)
    assert transcript.answers == {}


def test_deep_nesting_is_noise() -> None:
    transcript = Transcript(fakes.asks())
    transcript.feed("[" * 200_000)
    assert len(transcript.noise) == 1


CENSUS = Ask(kind="census", probe="census:tc", items=True)


def in_a_census(*lines: dict[str, object]) -> Transcript:
    transcript = Transcript((CENSUS, *fakes.asks(1)))
    for line in ({"event": "begin", "probe": "census:tc"}, *lines):
        transcript.feed(json.dumps(line))
    return transcript


def begin(item: str, probe: str = "census:tc") -> dict[str, object]:
    return {"event": "begin", "probe": probe, "item": item}


def answer(item: str = "") -> dict[str, object]:
    return {"event": "answer", "probe": "census:tc", "item": item, "body": {"load_errno": 13} if item else {}}


def test_the_answer_without_an_item_ends_a_probe() -> None:
    transcript = in_a_census(answer("bpf_a"), answer("bpf_b"))
    assert str(transcript.in_flight) == "census:tc"
    assert transcript.unanswered((CENSUS,)) == (CENSUS,)
    transcript.feed(json.dumps(answer()))
    assert transcript.in_flight is None
    assert transcript.unanswered((CENSUS,)) == ()
    assert [it.item for it in transcript.answers.values()] == ["bpf_a", "bpf_b", ""]


def test_after_a_loss_the_rest_of_the_items_is_asked_carefully() -> None:
    transcript = in_a_census(answer("bpf_a"))
    assert transcript.ask_carefully(ProbeItem("census:tc"))
    rest = transcript.unanswered(transcript.asks)[0]
    assert (rest.careful, rest.skip) == (True, ("bpf_a",))
    for line in ({"event": "begin", "probe": "census:tc"}, begin("bpf_b")):
        transcript.feed(json.dumps(line))
    assert str(transcript.in_flight) == "census:tc:bpf_b"
    assert not transcript.ask_carefully(ProbeItem("census:tc", "bpf_b")), "now it is known which one"
    transcript.close(ProbeItem("census:tc", "bpf_b"))
    assert transcript.unanswered(transcript.asks)[0].skip == ("bpf_a", "bpf_b")


def test_what_took_the_kernel_down_is_not_asked_again_by_an_ask_that_was_careful_from_the_start() -> None:
    ask = Ask(kind="boundaries", probe="boundaries:tc", items=True, careful=True)
    transcript = Transcript((ask,))
    transcript.close(ProbeItem("boundaries:tc", "bpf_x from NULL"))
    assert [it.skip for it in transcript.unanswered((ask,))] == [("bpf_x from NULL",)]


@pytest.mark.parametrize(("probe", "item"), [("census:tc", "b:tc"), ("census:tc", ""), ("claim-0:tc", "bpf_a")])
def test_whatever_a_guest_names_before_it_is_silent_can_be_given_up(probe: str, item: str) -> None:
    transcript = in_a_census(begin(item, probe))
    assert transcript.in_flight == ProbeItem(probe, item)
    transcript.give_up(transcript.in_flight, "silent")
    assert {place: one.failed for place, one in transcript.answers.items()} == {ProbeItem(probe, item): "silent"}


def test_a_probe_without_items_is_not_asked_carefully() -> None:
    assert not Transcript(fakes.asks()).ask_carefully(ProbeItem("claim-0:tc"))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("claim-0:tc", ProbeItem("claim-0:tc")),
        ("census:tc", ProbeItem("census:tc")),
        ("census:tc:bpf_a", ProbeItem("census:tc", "bpf_a")),
        ("claim-0:tc:bpf_a", None),
        ("census", None),
        ("", None),
    ],
)
def test_a_name_on_the_console_is_one_that_was_asked(name: str, place: ProbeItem | None) -> None:
    assert in_a_census().place(name) == place


def part(name: str, data: str) -> str:
    return json.dumps({"event": "part", "name": name, "data": data})


ANSWER = '{"event": "answer", "probe": "claim-%d:tc", "body": {"runs": []}}'


def test_parts_belong_to_the_next_answer_alone() -> None:
    transcript = Transcript(fakes.asks())
    for line in (part("lost", "x"), '{"event": "begin", "probe": "claim-0:tc"}', part("a", "1"), part("b", "2")):
        transcript.feed(line)
    for line in (part("a", "3"), ANSWER % 0, ANSWER % 1):
        transcript.feed(line)
    assert transcript.answers[ProbeItem("claim-0:tc")].body == {"runs": [], "parts": {"a": "13", "b": "2"}}
    assert transcript.answers[ProbeItem("claim-1:tc")].body == {"runs": []}


def test_parts_have_room_together_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.engine.transcript._MAX_PARTS", 20)
    transcript = Transcript(fakes.asks())
    for number in range(100):
        transcript.feed(part(f"{number:04}", "x"))
    transcript.feed(ANSWER % 0)
    transcript.feed(part("a", "whole"))
    transcript.feed(ANSWER % 1)
    assert transcript.answers[ProbeItem("claim-0:tc")].body["parts"] == {f"{number:04}": "x" for number in range(4)}
    assert transcript.answers[ProbeItem("claim-0:tc")].body["dropped"] == [f"{number:04}" for number in range(4, 100)]
    assert transcript.answers[ProbeItem("claim-1:tc")].body["parts"] == {"a": "whole"}


def test_a_sign_of_life_changes_nothing() -> None:
    transcript = Transcript(fakes.asks())
    for line in ('{"event": "begin", "probe": "claim-0:tc"}', part("a", "1"), '{"event": "alive"}', part("a", "2")):
        transcript.feed(line)
    assert str(transcript.in_flight) == "claim-0:tc"
    assert (transcript.answers, transcript.noise) == ({}, [])
    transcript.feed(ANSWER % 0)
    assert transcript.answers[ProbeItem("claim-0:tc")].body["parts"] == {"a": "12"}


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (r'"body": {"log": "\udcff!"}', Answer(kind="claims", probe="claim-0:tc", body={"log": "?!"})),
        (r'"body": {"\uDCFF": 1}', Answer(kind="claims", probe="claim-0:tc", body={"?": 1})),
        (r'"failed": "\ud83d\ude00 \ud800"', Answer(kind="claims", probe="claim-0:tc", failed="\N{GRINNING FACE} ?")),
    ],
)
def test_what_is_no_text_is_replaced_so_that_the_answer_can_be_sent(event: str, answer: Answer) -> None:
    order = fakes.cell_order()
    transcript = Transcript(order.asks)
    transcript.feed(f'{{"event": "answer", "probe": "claim-0:tc", {event}}}')
    assert list(transcript.answers.values()) == [answer]
    sent = Delivery(result=CellRecord(order, transcript).freeze("host", "")).packed()
    assert Delivery.unpacked(sent).result is not None
