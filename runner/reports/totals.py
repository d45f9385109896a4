"""The figures of a run: how many cells and claims ended how, and how well the slots were used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from runner.model import Outcome, Verdict
from runner.results.model import JudgedRun
from runner.text import counted

_Key = TypeVar("_Key", Outcome, Verdict)


@dataclass(frozen=True, slots=True)
class Totals:
    cells: Mapping[Outcome, int]
    claims: Mapping[Verdict, int]
    known: int  # of the broken claims, those that a known issue explains
    crashed: int  # probes that took a guest down
    wall_s: float | None  # None while the run goes on, and when it was killed
    cells_s: float  # the seconds of all cells, repeated ones included
    slots: int | None


def totals(judged: JudgedRun) -> Totals:
    return Totals(
        cells=Counter(cell.result.outcome for cell in judged.cells),
        claims=Counter(claim.verdict for cell in judged.cells for claim in cell.claims),
        known=sum(bool(claim.known_issue) for cell in judged.cells for claim in cell.claims),
        crashed=sum(len(cell.result.crashed) for cell in judged.cells),
        wall_s=judged.run.wall_s,
        cells_s=sum(result.timings.total_s or 0.0 for result in judged.run.results),
        slots=judged.run.slots,
    )


def sentences(figures: Totals) -> tuple[str, ...]:
    """Three lines: cells, claims, time."""
    count = sum(figures.cells.values())
    cells = f"{counted(count, 'cell')}: " + _counts(figures.cells, list(Outcome))
    words = {Verdict.HOLDS: "hold"}
    claims = f"{counted(sum(figures.claims.values()), 'claim')}: " + _counts(figures.claims, list(Verdict), words)
    if figures.known:
        claims += f"; {figures.known} of the broken ones by known issues"
    if figures.crashed:
        claims += f"; {figures.crashed} crashed the kernel"
    return cells, claims, _time(figures)


def _counts(counts: Mapping[_Key, int], order: list[_Key], words: Mapping[_Key, str] | None = None) -> str:
    named = [f"{counts[key]} {(words or {}).get(key, key)}" for key in order if counts.get(key)]
    return ", ".join(named) or "none"


def _time(figures: Totals) -> str:
    wall = "the run did not come to its end" if figures.wall_s is None else f"{figures.wall_s:.1f} s in all"
    spent = f"the cells took {figures.cells_s:.1f} s"
    if not figures.slots:
        return f"{wall}; {spent}"
    per_slot = figures.cells_s / figures.slots
    spent += f", {per_slot:.1f} s on each of {figures.slots} slots" if figures.slots > 1 else " on one slot"
    used = f" ({per_slot / figures.wall_s:.0%} of the run)" if figures.wall_s else ""
    return f"{wall}; {spent}{used}"
