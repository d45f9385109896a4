"""Compares the raw answers of two boots of a cell, number by number. Verdicts do not matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from runner.model import CellResult, Plain
from runner.probes.kinds import KINDS

_NOTHING = "no answer"


class Deviation(Plain):
    """What a boot answered in another way. `what` is `<probe>, <part>`: `alloc-tcp:tc, load errno`."""

    cell: str
    what: str
    before: str
    after: str


def changed_answers(
    before: CellResult, after: CellResult, probes: Iterable[str], *, held: Collection[str] = ()
) -> tuple[Deviation, ...]:
    """What the second boot answered in another way, for each of these probes.

    Addresses in a log are not the kernel's answer, and neither is how far a timeout has run down. `held` are probes
    whose claims hold both times: what their programs counted may differ within what the claim says.
    """
    cell = before.cell.id
    was, now = _told(before, after, held), _told(after, before, held)
    asked = set(probes)
    return tuple(
        Deviation(cell=cell, what=what, before=was.get(what, _NOTHING), after=now.get(what, _NOTHING))
        for what in dict.fromkeys((*was, *now))
        if what.partition(", ")[0] in asked and was.get(what, _NOTHING) != now.get(what, _NOTHING)
    )


def answered(result: CellResult, probe: str) -> bool:
    """Did the kernel say anything to it? A crash is an answer as well."""
    if probe in result.crashed:
        return True
    return any(it.probe == probe and not it.failed for it in result.answers)


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
