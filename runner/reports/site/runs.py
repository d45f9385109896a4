"""The page of a run: what it answered that the one before it did not, and how long each cell took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.model import ANSWERS, CellResult
from runner.results.diff import Kind, Matching, difference
from runner.results.model import JudgedCell, JudgedRun, Run
from runner.text import plain

_SHOWN = (Kind.WORSE, Kind.OTHERWISE, Kind.BETTER)  # what has no answer, before or after, is no change
_TEXT_WIDTH = 160
_PHASES = ("prepare", "boot", "probe")
_WIDTH = 100  # percent: the page gives the bars what room it has


@dataclass(frozen=True, slots=True)
class RunChange:
    """A line per change, however many cells share it; `where` are cells."""

    what: str
    before: str
    after: str
    kind: Kind
    where: tuple[str, ...]


def changes(runs: Sequence[JudgedRun]) -> dict[str, tuple[RunChange, ...]]:
    """For each run its changes. A cell is held against its last earlier answer: runs of a part of the matrix do not
    make the others look new. Kernels are known by their names in the matrix: their versions change from run to run.
    """
    last: dict[tuple[str, str], JudgedCell] = {}
    found = {}
    for judged in sorted(runs, key=lambda judged: judged.run.started):
        answered = {(it.result.cell.name, it.result.cell.arch): it for it in judged.cells if _answers(it)}
        pairs = tuple((last[place], cell) for place, cell in answered.items() if place in last)
        found[judged.run.id] = _grouped(Matching(pairs))
        last |= answered
    return found


def _answers(cell: JudgedCell) -> bool:
    return cell.result.outcome in ANSWERS


def _grouped(matching: Matching) -> tuple[RunChange, ...]:
    groups: dict[tuple[str, str, str, Kind], list[str]] = {}
    for change in difference(matching).changes:
        if change.kind in _SHOWN:
            words = (
                plain(change.key.name) or "the cell",
                plain(change.before, _TEXT_WIDTH),
                plain(change.after, _TEXT_WIDTH),
            )
            groups.setdefault((*words, change.kind), []).append(change.key.cell)
    return tuple(RunChange(*group, tuple(where)) for group, where in groups.items())


# --- how long each cell took, and when, as bars of a chart -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BarSegment:
    phase: str  # prepare, boot, probe, other
    x: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    slot: str
    seconds: float
    segments: tuple[BarSegment, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """In percent of its width. When `measured` is false nothing is known of when a cell began: all bars begin at 0."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    measured: bool


def chart(run: Run) -> Chart:
    """Every attempt that took time is a bar. Bars that share a slot stand below each other, in the order of time."""
    attempts = [result for result in run.results if result.timings.total_s]
    measured = bool(attempts) and all(result.began is not None for result in attempts)
    begins = [_begin(run, result) if measured else 0.0 for result in attempts]
    end = max((begin + (it.timings.total_s or 0) for begin, it in zip(begins, attempts, strict=True)), default=1.0)
    scale = _WIDTH / end
    slots = _slots(attempts, begins) if measured else [(plain(it.host), 0) for it in attempts]
    order = sorted(range(len(attempts)), key=lambda at: (slots[at], begins[at])) if measured else range(len(attempts))
    bars = tuple(_bar(attempts[at], slots[at], begins[at], scale) for at in order)
    step = next((step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600) if end / step <= 6), 7200)
    ticks = tuple((round(at * step * scale, 2), f"{at * step} s") for at in range(int(end / step) + 1))
    return Chart(bars, ticks, measured)


def _begin(run: Run, result: CellResult) -> float:
    """Seconds since the run began; machines whose clocks differ are not before it."""
    return max(0.0, (result.began - run.started).total_seconds()) if result.began else 0.0


def _slots(attempts: Sequence[CellResult], begins: Sequence[float]) -> list[tuple[str, int]]:
    """A host's cells that overlap in time were in different slots."""
    free: dict[tuple[str, int], float] = {}
    slots = [("", 0)] * len(attempts)
    for at in sorted(range(len(attempts)), key=lambda at: begins[at]):
        host, number = plain(attempts[at].host), 1
        while free.get((host, number), 0.0) > begins[at] + 0.05:  # clocks are read one after the other
            number += 1
        slots[at] = (host, number)
        free[host, number] = begins[at] + (attempts[at].timings.total_s or 0)
    return slots


def _bar(result: CellResult, slot: tuple[str, int], begin: float, scale: float) -> Bar:
    took = result.timings.model_dump()
    parts = [(phase, took.get(f"{phase}_s") or 0.0) for phase in _PHASES]
    total = result.timings.total_s or 0.0
    parts.append(("other", max(0.0, total - sum(seconds for _, seconds in parts))))
    segments, x = [], begin * scale
    for phase, seconds in parts:
        if seconds:
            segments.append(BarSegment(phase, round(x, 2), round(seconds * scale, 2), seconds))
            x += seconds * scale
    name = f"{slot[0]} {slot[1]}" if slot[1] else slot[0]
    return Bar(result.cell.id, name, total, tuple(segments))
