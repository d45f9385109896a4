"""Stores of several machines or CI jobs become one, without loss and without doubles.

Runs with one id are shards of one run: their cells and results are united. That is what `matrix run --run-id` is for;
runs that were begun without it have ids of their own and stay apart. Merging again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runner.errors import UserError
from runner.model import Cell, CellResult
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion
from runner.results.bisections import join_bisections
from runner.results.model import Run
from runner.results.store import ResultStore, Session


@dataclass(frozen=True, slots=True)
class Merged:
    """What one file brought: runs that were not there, cells and results that were added, results that were there."""

    path: Path
    runs: int = 0
    cells: int = 0
    results: int = 0
    known: int = 0


def merge(into: ResultStore, sources: Iterable[Path]) -> tuple[Merged, ...]:
    """Each source is read and not changed.

    Raises UserError, before anything of that source is written, when two runs have one id and are not shards of one.
    """
    return tuple(_merge(into, path) for path in sources)


def _merge(into: ResultStore, path: Path) -> Merged:
    if path.resolve() == into.path.resolve():
        raise UserError(f"{path} would be merged into itself")
    counts: Counter[str] = Counter()
    with ResultStore(path, read_only=True, busy_s=into.busy_s) as source:
        ids = [info.id for info in reversed(source.runs())]
        present = {info.id for info in into.runs()}
        for run_id in ids:
            if run_id in present:
                _check_shards(into.load(run_id), source.load(run_id), into.path, path)
        for run_id in ids:
            run = source.load(run_id, consoles=True)
            counts["runs"] += run_id not in present
            counts.update(_join(into, run, present=run_id in present))
            if asked := source.asked(run_id):
                into.write_asked(run_id, asked)
        join_bisections(into.path.parent, path.parent)
    return Merged(path, **counts)


def _check_shards(ours: Run, theirs: Run, path: Path, other: Path) -> None:
    where = f"run {ours.id} of {other} is not a part of the run of that id in {path}"
    if ours.matrix_sha256 != theirs.matrix_sha256:
        raise UserError(f"{where}: their matrices differ", hint="shards of one run need the same matrix file")
    known = {cell.id: cell for cell in ours.cells}
    for cell in theirs.cells:
        if known.get(cell.id, cell) != cell:
            raise UserError(f"{where}: {cell.id} is pinned to other packages", hint="use one lock file for all shards")


def _join(into: ResultStore, run: Run, *, present: bool) -> Counter[str]:
    """Add what is not there. The order of united cells is one's own: by version, then architecture."""
    if not present:
        into.begin(run)
        into.restate(run.header)
        _add(into, run.id, run.results)
        return Counter(cells=len(run.cells), results=len(run.results))
    ours = into.load(run.id, consoles=True)
    known = {cell.id for cell in ours.cells}
    fresh = [cell for cell in run.cells if cell.id not in known]
    if fresh:
        into.widen(run.id, sorted((*ours.cells, *fresh), key=_cell_order))
    now = {
        "started": min(ours.started, run.started),
        "finished": _finished(ours, run),
        "sessions": _sessions(ours, run),
        "slots": _slots(ours, run, other_machine=bool(run.cells) and fresh == list(run.cells)),
    }
    into.restate(ours.header.model_copy(update=now))
    there = Counter(map(_digest, ours.results))
    missing = []
    for result in run.results:
        digest = _digest(result)
        if there[digest]:
            there[digest] -= 1
        else:
            missing.append(result)
    _add(into, run.id, missing)
    return Counter(cells=len(fresh), results=len(missing), known=len(run.results) - len(missing))


def _slots(ours: Run, theirs: Run, *, other_machine: bool) -> int | None:
    """Guests at once. Those of machines that ran other cells at the same time add up."""
    known = [run.slots for run in (ours, theirs) if run.slots]
    if other_machine and ours.finished and theirs.finished:
        together = ours.started < theirs.finished and theirs.started < ours.finished
        return sum(known) or None if together else max(known, default=None)
    return max(known, default=None)


def _finished(ours: Run, theirs: Run) -> datetime | None:
    """The later end. One that never ended counts for nothing, unless all of its cells have a result by now."""
    ends = [end for end in (ours.finished, theirs.finished) if end]
    cells = {cell.id for cell in (*ours.cells, *theirs.cells)}
    whole = cells == {result.cell.id for result in (*ours.results, *theirs.results)}
    return max(ends) if ends and (whole or len(ends) == 2) else None


def _sessions(ours: Run, theirs: Run) -> tuple[Session, ...]:
    """When any of the two ran."""
    joined: list[Session] = []
    for began, ended in sorted((*ours.sessions, *theirs.sessions)):
        if joined and began <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(ended, joined[-1][1]))
        else:
            joined.append((began, ended))
    return tuple(joined)


def _add(into: ResultStore, run_id: str, results: Iterable[CellResult]) -> None:
    for result in results:
        into.copy(run_id, result)


def _digest(result: CellResult) -> str:
    return hashlib.sha256(result.model_dump_json(exclude={"console"}).encode()).hexdigest()


def _cell_order(cell: Cell) -> tuple[KernelVersion, str, int, str]:
    known = list(ARCHITECTURES)
    return (cell.kernel.upstream, cell.name, known.index(cell.arch) if cell.arch in known else len(known), cell.arch)
