# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is kept of one cell, and how the result of a boot is joined to it or held against it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from runner.engine.deviations import changed_answers
from runner.model import Answer, Ask, CellResult, Deviation, Outcome, Rechecked

Holds = Callable[[CellResult], Collection[str]]  # the probes of a result whose claims hold


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """What is kept of one cell: in place of its boot (`instead`), beside what it still is asked, or to be rechecked."""

    result: CellResult  # with the answers that are kept, and where they are from
    seq: int = 0  # which result of the store it repeats, whole; 0: none
    instead: bool = False  # it stands for the boot
    recheck: bool = False  # everything is asked again, to be compared with it
    holds: Holds = field(default=lambda _: (), repr=False)

    def entered(self, result: CellResult, asks: Collection[Ask]) -> CellResult:
        """The result of a boot, as it enters the run. `asks`: all that the cell is to answer."""
        if result.outcome is not Outcome.RAN or result.guest != self.result.guest:
            return result  # another machine was given the cell, and asked it everything
        if self.recheck:
            return rechecked(self.result, result, asks, self.holds)
        every = by_probe((*self.result.answers, *result.answers))
        facts = {} if result.boots else {"facts": self.result.facts}
        start = "snapshot" if "snapshot" in {result.start, self.result.start} else "boot"
        return result.model_copy(
            update={
                "answers": tuple(answer for ask in asks for answer in every.get(ask.probe, ())),
                "kept": self.result.kept,
                "start": start,
                **facts,
            }
        )


def rechecked(before: CellResult, now: CellResult, asks: Iterable[Ask], holds: Holds) -> CellResult:
    """The result of a boot that was asked once more, where answers are kept: what differs is no answer.

    One of the two boots was disturbed, and nothing tells which; but a kernel that crashed did crash.
    """
    changed = changed_answers(before, now, asks, held={*holds(before)} & {*holds(now)})
    differs: dict[tuple[str, str], Deviation] = {}
    for one in changed:
        probe, _, part = one.what.partition(", ")
        differs[probe, part if any((it.probe, it.item) == (probe, part) for it in now.answers) else ""] = one
    where = ", ".join(dict.fromkeys(it.run for it in before.kept))

    def trusted(answer: Answer) -> Answer:
        one = differs.get((answer.probe, answer.item))
        if one is None:
            return answer
        what = f"two boots of the same guest answered differently: {one.before} in run {where}, {one.after} in this one"
        return answer.model_copy(update={"failed": f"{what}; neither is trusted", "body": {}})

    return now.model_copy(
        update={"answers": tuple(map(trusted, now.answers)), "rechecked": Rechecked(of=before.kept, changed=changed)}
    )


def by_probe(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.probe, []).append(answer)
    return found
