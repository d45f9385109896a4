"""Compares the raw answers of two boots of a cell, number by number. Verdicts do not matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from runner.model import CellResult, CensusObservation, Observation, Plain
from runner.results.packed import steady

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
    """What the second boot answered in another way, for each of these probes of claims, and of the census.

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
    seen = next((one for one in result.observations if one.probe == probe), None)
    if seen is not None:
        return not seen.failed
    return any(f"census:{one.prog_type}" == probe for one in result.census)


def _told(result: CellResult, other: CellResult, held: Collection[str]) -> dict[str, str]:
    """Each part of what came, by what it is: `alloc-tcp:tc, load errno`."""
    told = {crash.probe: "crashed the kernel" for crash in result.crashes}
    crashed = {*result.crashed, *other.crashed}
    for seen in result.observations:
        if seen.probe not in crashed:
            parts = _load(seen) if seen.probe in held else (*_load(seen), *_fields(seen))
            told |= {f"{seen.probe}, {name}": value for name, value in parts}
        else:
            told.setdefault(seen.probe, "answered, and the kernel lived")
    told |= {f"census:{one.prog_type}, {one.kfunc}": _of_census(one) for one in result.census}
    return told


def _load(seen: Observation) -> Iterator[tuple[str, str]]:
    yield "not asked", seen.failed
    yield "load errno", str(seen.load_errno)
    yield "run errno", str(seen.run_errno)
    yield "returned", str(seen.retval)
    yield "last line of the log", steady(seen.log.strip().rpartition("\n")[2]) if seen.load_errno else ""


def _fields(seen: Observation) -> Iterator[tuple[str, str]]:
    for name, value in seen.fields.items():
        if "timeout" not in name:
            yield name, str(value)


def _of_census(one: CensusObservation) -> str:
    if one.failed:
        return f"not asked: {one.failed}"
    again = f", {one.again}: errno {one.again_errno}" if one.again else ""
    return f"errno {one.load_errno} in {one.object or 'no BTF'}{again}"
