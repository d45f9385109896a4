# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is kept of one cell, and what two boots of it answered differently: raw answers, number by number. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from runner.model import NO_ANSWER, Answer, Ask, CellResult, Deviation, Outcome, Rechecked
from runner.probes.kinds import KINDS


def changed_answers(
    before: CellResult, after: CellResult, asks: Iterable[Ask], *, held: Collection[str] = ()
) -> tuple[Deviation, ...]:
    """What the second boot answered in another way, for each of these asks.

    Addresses in a log are not the kernel's answer, and neither is how far a timeout has run down. `held` are probes
    whose claims hold both times: what their programs counted may differ within what the claim says.
    """
    was, now = _told(before, after, held), _told(after, before, held)
    asked = {ask.probe: ask.only for ask in asks}
    return tuple(
        Deviation(what=what, before=was.get(what, NO_ANSWER), after=now.get(what, NO_ANSWER))
        for what in dict.fromkeys((*was, *now))
        if _is_asked(what, asked) and was.get(what, NO_ANSWER) != now.get(what, NO_ANSWER)
    )


def _is_asked(what: str, asked: Mapping[str, str]) -> bool:
    """`asked` has by the probe the item that alone was asked about; empty: all of it was."""
    probe, _, part = what.partition(", ")
    if probe in asked:
        return not part or asked[probe] in ("", part)
    # that an item crashed the kernel
    return any(probe.startswith(f"{it}:") and only in ("", probe.removeprefix(f"{it}:")) for it, only in asked.items())


def answered(result: CellResult, ask: Ask) -> bool:
    """Did the kernel say anything to it? A crash is an answer as well."""
    if any(_is_asked(crashed, {ask.probe: ask.only}) for crashed in result.crashed):
        return True
    return any(it.probe == ask.probe and not it.failed and ask.only in ("", it.item) for it in result.answers)


def _told(result: CellResult, other: CellResult, held: Collection[str]) -> dict[str, str]:
    """Each part of what came, by what it is: `alloc-tcp:tc, load errno`."""
    told = {crash.probe: "crashed the kernel" for crash in result.crashes}
    crashed = {*result.crashed, *other.crashed}
    for kind in KINDS.values():
        for probe, part, value in kind.told(result, held):
            if probe in crashed:
                told.setdefault(probe, "answered, and the kernel lived")
            else:
                told[f"{probe}, {part}"] = value
    return told


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
