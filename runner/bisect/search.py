# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The search: which candidates to ask next, as a pure function of every reply so far.

k-section: with s slots, s candidates between two neighbours that answer differently are asked at once, which leaves
1/(s+1) of them: log(n)/log(s+1) rounds. Because it depends on the replies alone, a killed bisection can be resumed, a
wrong answer can be corrected, and all changes are found, not only the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner.results.bisections import Reply, Why

LEAD = 2  # a candidate that answers in several ways is asked until one of them leads by so much,
MOST = 7  # or so often; then it counts as one without an answer
_TRIES = 2  # boots without an answer, after which an end stays unconfirmed


@dataclass(frozen=True, slots=True)
class Votes:
    """What the replies of one candidate come to. `answer` is empty while it has none."""

    answer: str = ""
    boots: int = 0  # that gave an answer
    agree: int = 0  # of them, those that gave this one
    failed: int = 0  # boots without any
    fresh: int = 0  # boots for this bisection that gave this answer
    open: bool = False  # it wavers, and is to be asked once more
    wavers: bool = False

    @property
    def dead(self) -> bool:
        """It was asked and has no answer."""
        return not self.answer and (self.failed > 0 or self.boots > 0)

    @property
    def confirmed(self) -> bool:
        """At least two boots, one of them for this bisection, and no doubt."""
        return bool(self.answer) and self.fresh >= 1 and 2 * self.agree - self.boots >= LEAD

    @property
    def untried(self) -> bool:
        return not self.answer and not self.dead


def votes(replies: Sequence[Reply]) -> Votes:
    """What the replies of one candidate come to. Fresh boots outvote what the store knew."""
    failed = sum(not reply.answer for reply in replies)
    answers = [reply for reply in replies if reply.answer]
    fresh = [reply for reply in answers if reply.fresh]
    if len({reply.answer for reply in answers}) > 1 and fresh:
        answers = fresh
    if not answers:
        return Votes(failed=failed)
    ranking = Counter(reply.answer for reply in answers).most_common()
    leader, agree = ranking[0]
    lead = agree - (ranking[1][1] if len(ranking) > 1 else 0)
    wavers = len(ranking) > 1
    undecided = wavers and lead < LEAD
    return Votes(
        answer="" if undecided and len(answers) >= MOST else leader,
        boots=len(answers),
        agree=agree,
        failed=failed,
        fresh=sum(reply.answer == leader for reply in fresh),
        open=undecided and len(answers) < MOST,
        wavers=wavers,
    )


_NEVER_ASKED = Votes()


@dataclass(frozen=True, slots=True)
class Gap:
    """Two neighbours that answered; `inside` were not asked, `dead` have no answer."""

    low: int
    high: int
    inside: tuple[int, ...]
    dead: tuple[int, ...]


class Tally:
    """All candidates, in their order, and with the votes of each."""

    def __init__(self, keys: Sequence[str], replies: Iterable[Reply]) -> None:
        places = {key: at for at, key in enumerate(keys)}
        mine: dict[int, list[Reply]] = {}
        self.samples = 0
        for reply in replies:
            if reply.candidate in places:
                mine.setdefault(places[reply.candidate], []).append(reply)
                self.samples += reply.why is Why.SAMPLE
        self.size = len(keys)
        self._votes = {at: votes(some) for at, some in mine.items()}
        self.answered = sorted(at for at, it in self._votes.items() if it.answer)

    def __getitem__(self, at: int) -> Votes:
        return self._votes.get(at, _NEVER_ASKED)

    def gap(self, low: int, high: int) -> Gap:
        between = range(low + 1, high)
        inside = tuple(at for at in between if self[at].untried)
        return Gap(low, high, inside, tuple(at for at in between if self[at].dead))

    @property
    def edges(self) -> list[Gap]:
        """Neighbours that answer differently: a change lies between them."""
        return [self.gap(*pair) for pair in pairwise(self.answered) if self[pair[0]].answer != self[pair[1]].answer]

    @property
    def calm(self) -> list[Gap]:
        """Where no change was seen, also before the first that answered and behind the last."""
        outer = (-1, *self.answered, self.size)
        return [
            self.gap(low, high)
            for low, high in pairwise(outer)
            if low < 0 or high >= self.size or self[low].answer == self[high].answer
        ]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Each different answer, with those that gave it."""
        return {
            self[at].answer: [it for it in self.answered if self[it].answer == self[at].answer] for at in self.answered
        }

    @property
    def dead(self) -> list[int]:
        return sorted(at for at, it in self._votes.items() if it.dead)

    @property
    def wavering(self) -> list[int]:
        return sorted(at for at, it in self._votes.items() if it.wavers)

    @property
    def monotonic(self) -> bool:
        """No answer came back after it had gone."""
        runs = [self[at].answer for at in self.answered]
        changed = [answer for at, answer in enumerate(runs) if at == 0 or runs[at - 1] != answer]
        return len(set(changed)) == len(changed)


Wish = tuple[int, Why]  # a candidate to ask, by its place


def plan(tally: Tally, *, slots: int, samples: int, every: bool) -> dict[int, Why]:
    """What to ask next, at most `slots`; empty at the end of the search. `every`: each candidate, without a search."""
    wanted: dict[int, Why] = {}
    for at, why in _each(tally) if every else _wishes(tally, slots, samples):
        wanted.setdefault(at, why)
        if len(wanted) == slots:
            break
    return wanted


def _each(tally: Tally) -> Iterator[Wish]:
    yield from ((at, Why.REPEAT) for at in range(tally.size) if tally[at].open)
    yield from ((at, Why.SEARCH) for at in range(tally.size) if tally[at].untried)
    yield from ((at, Why.CONFIRM) for gap in tally.edges for at in (gap.low, gap.high) if _doubtful(tally[at]))


def expected_rounds(candidates: int, slots: int) -> int:
    """Rounds to narrow one change between two ends down to neighbours."""
    return math.ceil(math.log(max(2, candidates) - 1) / math.log(slots + 1) - 1e-9) if candidates > 2 else 0


def _wishes(tally: Tally, slots: int, samples: int) -> Iterator[Wish]:
    """In the order in which they matter."""
    yield from ((at, Why.REPEAT) for at in range(tally.size) if tally[at].open)
    ends = tuple(_ends(tally))
    yield from ((at, Why.ENDS) for at in ends)
    edges = tally.edges
    if not tally.answered and not tally.dead:  # nothing is known: what the ends leave free is used between them
        inner = tally.gap(0, tally.size - 1)
        yield from ((at, Why.SEARCH) for at in spread([inner], slots - len(ends)))
    yield from ((at, Why.SEARCH) for at in spread(edges, slots))
    for gap in edges:
        if not gap.inside:
            yield from ((at, Why.CONFIRM) for at in (gap.low, gap.high) if _doubtful(tally[at]))
    if tally.answered and not edges:  # a change that an end hides shows when that end is asked twice
        yield from ((at, Why.CONFIRM) for at in (tally.answered[0], tally.answered[-1]) if _doubtful(tally[at]))
    left = (samples if edges else 2 * samples) - tally.samples
    if tally.answered and left > 0:
        yield from ((at, Why.SAMPLE) for at in spread(tally.calm, min(left, slots)))


def _doubtful(it: Votes) -> bool:
    return not it.confirmed and it.failed < _TRIES


def _ends(tally: Tally) -> Iterator[int]:
    """The first and the last candidate; where one has no answer, further and further inside: 1, 3, 7, ... away."""
    for order in (range(tally.size), range(tally.size - 1, -1, -1)):
        step = 0
        while step < tally.size and tally[order[step]].dead:
            step = 2 * step + 1
        if step < tally.size and tally[order[step]].untried and not any(tally[at].answer for at in order[:step]):
            yield order[step]


def spread(gaps: Sequence[Gap], count: int) -> list[int]:
    """`count` places in the gaps, so that the largest piece that stays is small."""
    shares = [0] * len(gaps)
    for _ in range(max(0, count)):
        open_gaps = [at for at, gap in enumerate(gaps) if len(gap.inside) > shares[at]]
        if not open_gaps:
            break
        largest = max(open_gaps, key=lambda at: len(gaps[at].inside) / (shares[at] + 1))
        shares[largest] += 1
    return [place for gap, share in zip(gaps, shares, strict=True) for place in _even(gap.inside, share)]


def _even(inside: Sequence[int], count: int) -> Iterator[int]:
    for at in range(1, count + 1):
        yield inside[at * (len(inside) + 1) // (count + 1) - 1]


# --- the loop ------------------------------------------------------------------------------------------------------

Tell = Callable[[Reply], None]
Ask = Callable[[Mapping[str, Why], Tell], None]


def search(
    keys: Sequence[str],
    replies: list[Reply],
    ask: Ask,
    *,
    slots: int,
    samples: int,
    every: bool = False,
    kept: Callable[[], None] = lambda: None,
) -> Tally:
    """Ask until nothing is left to ask. `replies` grows; `kept` is called after each reply, before anything else.

    `ask` is given a batch: the key of each candidate, and why it is asked. It tells a reply for each of them, in any
    order, as soon as it is there.
    """

    def tell(reply: Reply) -> None:
        replies.append(reply)
        kept()

    while True:
        tally = Tally(keys, replies)
        batch = {keys[at]: why for at, why in plan(tally, slots=slots, samples=samples, every=every).items()}
        if not batch:
            return tally
        known = len(replies)
        ask(batch, tell)
        told = {reply.candidate for reply in replies[known:]}
        for key, why in batch.items():
            if key not in told:
                tell(Reply(candidate=key, why=why, cause="nothing came of it"))
