# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The search, over planted answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.bisect.search import Tally, Tell, expected_rounds, search, spread, votes
from runner.model import Outcome
from runner.results.bisections import Reply, Why

MANY = 1000
SAMPLES = 4


@dataclass
class Planted:
    """Kernels with planted answers: `changes` are the places at which the answer changes; `odd` replaces one's."""

    changes: Sequence[int] = ()
    dead: frozenset[int] = frozenset()
    odd: dict[int, Callable[[int], str]] = field(default_factory=dict)  # by how often it was asked before
    size: int = MANY
    rounds: int = 0
    asked: list[int] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [f"k{at}" for at in range(self.size)]

    def answer(self, at: int) -> str:
        return "old" if sum(change <= at for change in self.changes) % 2 == 0 else "new"

    def ask(self, batch: Mapping[str, Why], tell: Tell) -> None:
        self.rounds += 1
        for key, why in batch.items():
            at = int(key.removeprefix("k"))
            before = self.asked.count(at)
            self.asked.append(at)
            if at in self.dead:
                tell(Reply(candidate=key, why=why, cause="panic", outcome=Outcome.BOOT_FAILED))
            else:
                said = self.odd[at](before) if at in self.odd else self.answer(at)
                tell(Reply(candidate=key, why=why, answer=said))

    def bisection(self, slots: int, replies: list[Reply] | None = None) -> Tally:
        return search(self.keys, [] if replies is None else replies, self.ask, slots=slots, samples=SAMPLES)


def ends(tally: Tally) -> list[tuple[int, int]]:
    return [(gap.low, gap.high) for gap in tally.edges]


def bound(slots: int, extra: int = 0) -> int:
    """The two ends, the search, the two ends of the change once more, and the samples."""
    return ceil(2 / slots) + expected_rounds(MANY, slots) + ceil((2 + SAMPLES) / slots) + extra


slots_ = st.sampled_from([1, 2, 3, 8, 16])
place_ = st.integers(1, MANY - 1)


@settings(max_examples=12, deadline=None)
@given(slots_, place_)
def test_one_change_is_found_within_its_rounds(slots: int, change: int) -> None:
    planted = Planted([change])
    tally = planted.bisection(slots)
    assert ends(tally) == [(change - 1, change)]
    assert tally[change - 1].confirmed
    assert tally[change].confirmed
    assert tally.monotonic
    assert planted.rounds <= bound(slots)


@settings(max_examples=8, deadline=None)
@given(slots_, place_, st.randoms(use_true_random=False))
def test_those_that_do_not_boot_are_skipped_and_named(slots: int, change: int, random: Random) -> None:
    dead = frozenset(random.sample(range(1, MANY - 1), 100)) - {0, MANY - 1}
    planted = Planted([change], dead)
    tally = planted.bisection(slots)
    low = max(at for at in range(change) if at not in dead)
    high = min(at for at in range(change, MANY) if at not in dead)
    assert ends(tally) == [(low, high)]
    assert tally.edges[0].dead == tuple(range(low + 1, high))
    unlucky = len(dead & set(planted.asked))
    assert planted.rounds <= bound(slots, ceil(unlucky / slots) + 1)


@settings(max_examples=8, deadline=None)
@given(slots_, place_, place_)
@example(slots=1, change=875, odd=999)
def test_one_that_wavers_leads_nobody_astray(slots: int, change: int, odd: int) -> None:
    """It lies first, and tells the truth from then on."""
    planted = Planted([change])
    truth = planted.answer(odd)
    planted.odd[odd] = lambda before: truth if before else {"old": "new", "new": "old"}[truth]
    tally = planted.bisection(slots)
    assert ends(tally) == [(change - 1, change)]
    if odd in planted.asked:
        assert tally.wavering == [odd]
        assert (tally[odd].agree, tally[odd].boots) == (3, 4)
        assert planted.rounds <= 2 * bound(slots) + 4
    else:
        assert planted.rounds <= bound(slots)


def test_one_that_never_makes_up_its_mind_is_skipped() -> None:
    planted = Planted([500], odd={499: lambda before: ("old", "new")[before % 2]})
    tally = planted.bisection(4)
    assert ends(tally) == [(498, 500)]
    assert tally.edges[0].dead == (499,)
    assert tally[499].boots == 7


@settings(max_examples=6, deadline=None)
@given(slots_, st.integers(150, 250), st.integers(450, 550), st.integers(750, 850))
def test_a_change_that_is_undone_is_found_with_all_its_edges(slots: int, first: int, second: int, third: int) -> None:
    """The ends differ, and so does something between them."""
    planted = Planted([first, second, third])
    tally = planted.bisection(slots)
    assert ends(tally) == [(first - 1, first), (second - 1, second), (third - 1, third)]
    assert not tally.monotonic
    assert planted.rounds <= 3 * bound(slots)


def test_fixed_and_broken_again_between_equal_ends() -> None:
    tally = Planted([200, 600]).bisection(2)
    assert ends(tally) == [(199, 200), (599, 600)]
    assert not tally.monotonic


def test_ends_that_do_not_boot() -> None:
    tally = Planted([500], frozenset(range(60)) | frozenset(range(990, MANY))).bisection(3)
    assert ends(tally) == [(499, 500)]
    assert tally.answered[0] == 63
    assert tally.answered[-1] == MANY - 1 - 15


def test_nobody_answers() -> None:
    planted = Planted(dead=frozenset(range(MANY)))
    tally = planted.bisection(4)
    assert not tally.answered
    assert len(planted.asked) < 40


@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_candidates(size: int) -> None:
    tally = Planted([1], size=size).bisection(2)
    assert ends(tally) == ([(0, 1)] if size > 1 else [])
    assert tally[0].answer == "old"


def test_what_the_store_knows_is_not_asked_but_confirmed() -> None:
    planted = Planted([500])
    known = [Reply(candidate=f"k{at}", why=Why.KNOWN, answer=planted.answer(at)) for at in (0, 498, 499, 500, 999)]
    tally = planted.bisection(2, known)
    assert ends(tally) == [(499, 500)]
    assert planted.asked[:2] == [499, 500]
    assert len(planted.asked) == 2 + SAMPLES


def test_a_fresh_boot_outvotes_the_store() -> None:
    planted = Planted([500])
    known = [Reply(candidate=f"k{at}", why=Why.KNOWN, answer="old") for at in (0, 520)]
    tally = planted.bisection(2, known)
    assert ends(tally) == [(499, 500)]


@settings(max_examples=5, deadline=None)
@given(st.integers(2, 5), place_, st.integers(1, 25))
def test_a_killed_bisection_goes_on_and_asks_nothing_twice(slots: int, change: int, killed_after: int) -> None:
    class Killed(Exception):
        pass

    whole = Planted([change])
    expected = whole.bisection(slots)
    first = Planted([change])
    replies: list[Reply] = []

    def stop() -> None:
        if len(replies) == killed_after:
            raise Killed

    with suppress(Killed):
        search(first.keys, replies, first.ask, slots=slots, samples=SAMPLES, kept=stop)
    second = Planted([change])
    tally = second.bisection(slots, [Reply.model_validate_json(reply.model_dump_json()) for reply in replies])
    assert ends(tally) == ends(expected)
    # what the round that was cut short had not told is asked again, and no more than that
    assert len(first.asked) + len(second.asked) <= len(whole.asked) + slots


def test_asking_everyone() -> None:
    planted = Planted([3], frozenset({5}), size=7)
    tally = search(planted.keys, [], planted.ask, slots=2, samples=0, every=True)
    assert sorted(set(planted.asked)) == list(range(7))
    assert ends(tally) == [(2, 3)]
    assert tally[2].confirmed
    assert tally.dead == [5]


def test_a_reply_that_never_came_is_no_answer() -> None:
    tally = search(["a", "b"], [], lambda _batch, _tell: None, slots=2, samples=1)
    assert tally.dead == [0, 1]


def test_votes() -> None:
    def said(*answers: str) -> list[Reply]:
        return [Reply(candidate="k", why=Why.SEARCH, answer=answer) for answer in answers]

    assert votes(said("a")).answer == "a"
    assert not votes(said("a")).confirmed
    assert votes(said("a", "a")).confirmed
    assert votes(said("a", "b")).open
    assert votes(said("", "")).dead
    three = votes(said("a", "b", "a", "a"))
    assert (three.answer, three.agree, three.boots, three.open) == ("a", 3, 4, False)


def test_slots_go_where_the_gaps_are_large() -> None:
    tally = Tally([str(at) for at in range(101)], ())
    small, large = tally.gap(0, 10), tally.gap(10, 100)
    assert spread([small, large], 3) == [32, 55, 77]
    assert spread([tally.gap(0, 3)], 5) == [1, 2]
