"""The cells of a matrix, each with its newest answer: what a report covers that is told no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.model import ANSWERS, Cell
from runner.results.model import Run, RunKind, Source
from runner.results.store import Final, ResultStore


def newest(store: ResultStore, cells: Sequence[Cell], *, consoles: bool = False) -> tuple[Run, tuple[Source, ...]]:
    """The run that answered for exactly `cells`, if one did; else one put together of the runs that did.

    That one has the id and the dates of the last run. A kernel of which another build is pinned by now is covered by
    its newest build that answered. A result without an answer counts only for a cell that has none with one. A cell
    that was never run has no result. Raises UserError when the store has no run.
    """
    last = store.load(consoles=consoles)
    infos = {info.id: info for info in store.runs()}
    finals = _finals(store)
    found = [(cell, _of(finals, cell)) for cell in cells]
    chosen = {it.cell.id if it else cell.id: (it.cell if it else cell, it) for cell, it in found}
    gave: dict[str, list[str]] = {}
    for cell, it in chosen.values():
        if it:
            gave.setdefault(it.run, []).append(cell.id)
    sources = tuple(
        Source(run=infos[name], cells=tuple(ids), partial=infos[name].finished_cells < len(cells))
        for name, ids in sorted(gave.items(), key=lambda it: infos[it[0]].started, reverse=True)
    )
    runs = {name: last if name == last.id else store.load(name, consoles=consoles) for name in gave}
    for run in runs.values() if len(runs) == 1 else [last]:
        if gave.keys() <= {run.id} and [cell.id for cell in run.cells] == list(chosen):
            return run, sources
    results = [result for cell, it in chosen.values() if it for result in runs[it.run].attempts(cell.id)]
    shown = tuple(cell for cell, _ in chosen.values())
    return last.model_copy(update={"cells": shown, "results": tuple(results)}), sources


def run_of_cell(store: ResultStore, cell_id: str) -> str | None:
    """The id of the matrix run with the newest answer of a cell; None: no run has the cell."""
    found = _answer([it for it in _finals(store) if it.cell.id == cell_id])
    return found.run if found else None


def _finals(store: ResultStore) -> list[Final]:
    return [it for it in store.finals() if RunKind.of(it.run) is RunKind.MATRIX]


def _of(finals: Iterable[Final], cell: Cell) -> Final | None:
    mine = [it for it in finals if (it.cell.name, it.cell.arch) == (cell.name, cell.arch)]
    same = _answer([it for it in mine if it.cell.id == cell.id])
    return same if same and same.outcome in ANSWERS else _answer(mine) or same


def _answer(finals: Sequence[Final]) -> Final | None:
    """The newest answer, or else the newest result."""
    return next((it for it in reversed(finals) if it.outcome in ANSWERS), finals[-1] if finals else None)
