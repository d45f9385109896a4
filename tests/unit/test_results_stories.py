# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Since when, and what is not as one would expect: no more is said than was measured."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from runner.model import Outcome, Row, State
from runner.reports.over_time import over_time_document, over_time_report, since_words
from runner.results.availability import Topic
from runner.results.history import feature_facts
from runner.results.series import builds
from runner.results.stories import EventKind, Only, Overview, Story, overview
from tests.unit.tracking_samples import TC, XDP, A, N, Q, R, U, measured, simple, state

LESS = {(U, R), (U, N), (U, A), (R, N), (R, A)}


def told(*pairs: tuple[str, State], arch: str = "x86_64") -> Overview:
    return overview(builds(simple(version, of, arch=arch) for version, of in pairs))


def only_story(of: Overview) -> Story:
    (story,) = of.stories
    return story


def printed(what: RenderableType) -> str:
    stream = io.StringIO()
    Console(file=stream, width=240, color_system=None).print(what)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((("6.1.192", U), ("6.12.117", U)), "6.1.192 or earlier"),
        ((("6.1.192", A), ("6.12.117", U)), "after 6.1.192, by 6.12.117"),
        ((("6.12.116", A), ("6.12.117", U)), "6.12.117"),
        ((("6.12", A), ("6.12.1", U)), "6.12.1"),
        ((("7.3-rc7", A), ("7.3.1", U)), "after 7.3-rc7, by 7.3.1"),
        # backported: in each series on its own
        (
            (("6.1.150", A), ("6.1.191", U), ("6.12.100", A), ("6.12.117", U), ("6.18.1", U)),
            "after 6.1.150, by 6.1.191; after 6.12.100, by 6.12.117",
        ),
        ((("6.1.192", A), ("6.12.117", N)), "on no kernel"),
        ((("6.1.192", A), ("6.12.117", R)), "after 6.1.192, by 6.12.117"),
        ((("6.1.192", Q),), "no answer"),
        # a kernel without an answer narrows nothing
        ((("6.1.192", A), ("6.6.9", Q), ("6.12.117", U)), "after 6.1.192, by 6.12.117"),
    ],
)
def test_since_says_what_is_known(answers: tuple[tuple[str, State], ...], words: str) -> None:
    assert since_words(only_story(told(*answers))) == words


def test_order_is_that_of_versions_not_of_runs() -> None:
    kept = [simple("6.12.117", U, night=0), simple("6.1.192", A, night=5)]
    assert since_words(only_story(overview(builds(kept)))) == "after 6.1.192, by 6.12.117"


def test_getting_less_is_an_event_that_says_what_lies_between() -> None:
    found = told(("6.1.192", U), ("6.6.9", Q), ("6.12.117", R), ("6.18.15", U))
    (event,) = found.events
    assert event.kind is EventKind.LESS
    assert [(seen.build.upstream, it.state) for it, seen in event.answers] == [
        (found.builds[0].build.upstream, U),
        (found.builds[2].build.upstream, R),
    ]
    assert [str(it) for it in event.between] == ["6.6.9"]
    text = printed(over_time_report(found))
    assert "usable in 6.1.192, registered in 6.12.117; no answer from 6.6.9 in between" in text
    assert "because registered" in text
    assert "runner cell show 6.12.117-x86_64 --run night-0" in text


def test_nothing_in_between_is_said_and_neighbours_are() -> None:
    assert "nothing in between was measured" in printed(over_time_report(told(("6.1.192", U), ("6.12.117", A))))
    assert "6.12.117; neighbours" in printed(over_time_report(told(("6.12.116", U), ("6.12.117", A))))


def test_architectures_that_differ_on_one_version() -> None:
    kept = [
        simple("6.18.15", R),
        simple("6.18.15", U, arch="arm64"),
        simple("7.3.4", R),
        simple("7.3.4", U, arch="arm64"),
    ]
    events = overview(builds(kept)).events
    assert [event.kind for event in events] == [EventKind.ARCHITECTURES]  # told once, the stories show the rest
    assert [seen.build.arch for _, seen in events[0].answers] == ["x86_64", "arm64"]


def test_one_build_that_answered_differently_in_two_runs() -> None:
    kept = [simple("6.12.117", U, night=1), simple("6.12.117", Q, night=2), simple("6.12.117", A, night=3)]
    found = overview(builds(kept))
    (event,) = found.events
    assert event.kind is EventKind.RUNS
    assert [seen.run for _, seen in event.answers] == ["night-1", "night-3"]
    assert only_story(found).best == A  # the latest answer wins


def test_no_answer_and_a_lost_cell_take_nothing_away() -> None:
    kept = [
        simple("6.12.117", U, night=1),
        simple("6.12.117", Q, night=2),
        simple("6.12.117", U, night=3, outcome=Outcome.LOST),
    ]
    found = overview(builds(kept))
    assert not found.events
    assert only_story(found).best == U
    assert found.builds[0].evidence(TC).run == "night-1"


def test_a_kernel_that_was_never_asked_is_no_kernel_without_it() -> None:
    kept = [measured("6.1.192", {XDP: state(XDP, U)}), measured("6.12.117", {TC: state(TC, U), XDP: state(XDP, U)})]
    story = next(it for it in overview(builds(kept), Only(type=TC.type)).stories)
    assert since_words(story) == "6.12.117 or earlier"
    assert [str(it) for it in story.unanswered] == ["6.1.192"]


def test_document_holds_what_the_text_holds() -> None:
    document = over_time_document(told(("6.1.192", U), ("6.12.117", R)), {})
    assert document["availability"] == [
        {
            "kfunc": "bpf_ct_release", "prog_type": "tc", "arch": "x86_64", "best": "usable",
            "since": [{"after": None, "by": "6.1.192", "exact": False}],
            "segments": [
                {"state": "usable", "cause": "", "first": "6.1.192", "last": "6.1.192", "kernels": 1},
                {"state": "registered", "cause": "because registered", "first": "6.12.117", "last": "6.12.117",
                 "kernels": 1},
            ],
            "no_answer": [],
        }
    ]  # fmt: skip


def test_what_one_kernel_names_and_another_does_not_is_absent_there() -> None:
    arena, hash_ = (Topic(f"BPF_MAP_TYPE_{it}", "", "features") for it in ("ARENA", "HASH"))
    rows = {it: Row("features", "features:bpf_map_type", it.subject, state="available") for it in (arena, hash_)}
    none = {hash_: replace(rows[hash_], state="no answer")}
    kept = [measured("6.1.192", none), measured("6.6.9", {hash_: rows[hash_]}), measured("6.12.117", rows)]
    known = builds(kept)
    assert not overview(known).stories, "nothing is due of them"
    named = overview(known, Only(arena.subject)).stories
    beside = overview(known, Only(beside=True)).stories
    assert [it.topic for it in beside] == [arena, hash_]
    for story in (*named, beside[0]):
        assert since_words(story) == "after 6.6.9, by 6.12.117"
        assert [str(it) for it in story.unanswered] == ["6.1.192"]
    document = over_time_document(overview(known), {}, beside, feature_facts(known, {}))
    (first, _) = cast("list[dict[str, object]]", document["features"])
    assert (first["feature"], first["family"]) == (arena.subject, "map types")


@given(st.lists(st.sampled_from([U, R, N, A, Q]), min_size=1, max_size=12))
def test_every_answer_is_in_one_segment_and_events_are_where_it_gets_less(answers: list[State]) -> None:
    found = told(*((f"6.{at}.5", of) for at, of in enumerate(answers)))
    story = only_story(found)
    given_ = [of for of in answers if of is not Q]
    assert sum(segment.kernels for segment in story.segments) == len(given_)
    assert len(story.unanswered) == len(answers) - len(given_)
    less = sum((before, after) in LESS for before, after in pairwise(given_))
    assert len(found.events) == less
    best = max(given_, key=[A, N, R, U].index, default=Q)
    assert story.best == best
    has = [of in (U, R) for of in given_]
    assert len(story.since) == sum(it and not (at and has[at - 1]) for at, it in enumerate(has))
