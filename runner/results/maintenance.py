# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Stores of several machines or CI jobs become one, without loss and without doubles; and old runs are deleted.

Runs with one id are shards of one run: their cells and results are united. That is what `matrix run --run-id` is for;
runs that were begun without it have ids of their own and stay apart. Merging again changes nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from runner.errors import UserError
from runner.model import CellResult
from runner.model.architecture import arch_order
from runner.results.bisections import load_bisections, write_bisection
from runner.results.evidence import run_folder
from runner.results.model import Run, RunInfo, RunKind
from runner.results.rowcache import NAME, retain
from runner.results.store import ResultStore
from runner.results.stored import Session, StoredResult


@dataclass(frozen=True, slots=True)
class Merged:
    """What one file brought: runs that were not there, cells and results that were added, results that were there."""

    runs: int = 0
    cells: int = 0
    results: int = 0
    known: int = 0


_MAGIC = b"SQLite format 3\0"


def _is_database(path: Path) -> bool:
    """What cannot be read may be one: opening it says why not."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except IsADirectoryError:
        return False
    except OSError:
        return True


def merge(into: ResultStore, path: Path) -> Merged:
    """Add what another store has, which is read and not changed.

    Raises UserError, before anything is written, when two runs have one id and are not shards of one.
    """
    if path.resolve() == into.path.resolve():
        raise UserError(f"{path} would be merged into itself")
    if path.exists() and not _is_database(path):
        raise UserError(f"{path} is no store of results", hint="name the results.db of another machine or job")
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
            counts.update(_join(into, run) if run_id in present else _copy(into, run))
            if asked := source.asked(run_id):
                into.write_asked(run_id, asked)
        ended = {bisection.id for bisection in load_bisections(into) if bisection.finished}
        for bisection in load_bisections(source):
            if bisection.id not in ended:
                write_bisection(into, bisection)
    return Merged(**counts)


def _check_shards(ours: Run, theirs: Run, path: Path, other: Path) -> None:
    where = f"run {ours.id} of {other} is not a part of the run of that id in {path}"
    if ours.matrix_sha256 != theirs.matrix_sha256:
        raise UserError(f"{where}: their matrices differ", hint="shards of one run need the same matrix file")
    known = {cell.id: cell for cell in ours.cells}
    for cell in theirs.cells:
        if known.get(cell.id, cell) != cell:
            raise UserError(f"{where}: {cell.id} is pinned to other packages", hint="use one lock file for all shards")


def _copy(into: ResultStore, run: Run) -> Counter[str]:
    into.begin(run)
    into.restate(run.header)
    for result in run.results:
        into.copy(run.id, result)
    return Counter(cells=len(run.cells), results=len(run.results))


def _join(into: ResultStore, run: Run) -> Counter[str]:
    """Add what is not there. The order of united cells is one's own: by version, then architecture."""
    ours = into.load(run.id, consoles=True)
    known = {cell.id for cell in ours.cells}
    fresh = [cell for cell in run.cells if cell.id not in known]
    if fresh:
        every = sorted((*ours.cells, *fresh), key=lambda it: (it.kernel.upstream, it.name, arch_order(it.arch)))
        into.widen(run.id, every)
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
        if not there[digest]:
            missing.append(result)
        there[digest] -= 1
    for result in missing:
        into.copy(run.id, result)
    return Counter(cells=len(fresh), results=len(missing), known=len(run.results) - len(missing))


def _slots(ours: Run, theirs: Run, *, other_machine: bool) -> int | None:
    """Guests at once. Those of machines that ran other cells at the same time add up."""
    known = [run.slots for run in (ours, theirs) if run.slots]
    together = ours.finished and theirs.finished and ours.started < theirs.finished and theirs.started < ours.finished
    return (sum(known) if other_machine and together else max(known, default=0)) or None


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


def _digest(result: CellResult) -> str:
    return hashlib.sha256(result.model_dump_json(exclude={"console"}).encode()).hexdigest()


# --- old runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keep:
    """The newest `runs`, or those of the last `days`. The newest run is always kept; bisections are not counted."""

    runs: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """`lost_kernels` are cells whose only answers go: availability over time will not know them any more."""

    going: tuple[RunInfo, ...]
    staying: tuple[RunInfo, ...]
    evidence_bytes: int
    lost_kernels: tuple[str, ...]


def plan(store: ResultStore, keep: Keep, now: datetime) -> PrunePlan:
    """What would be deleted. Runs that are not of the matrix are deleted when they are older than every one that is,
    or than `days`; a run to which a bisection that stays refers stays with it."""
    infos = store.runs()
    runs = [info for info in infos if info.kind is RunKind.MATRIX]
    limit = now - timedelta(days=keep.days) if keep.days is not None else None
    kept = runs[:1] + [it for it in runs[1:] if it.started >= limit] if limit else runs[: keep.runs]
    oldest = limit or min((info.started for info in kept), default=None)
    names = {info.id for info in kept}
    names |= {it.id for it in infos if it.kind is not RunKind.MATRIX and (oldest is None or it.started >= oldest)}
    names |= {run for it in load_bisections(store) if it.id in names for run in it.shown_runs}
    finals = store.finals()
    lost = {_kernel(it) for it in finals} - {_kernel(it) for it in finals if it.run in names}
    going = tuple(info for info in infos if info.id not in names)
    return PrunePlan(
        going=going,
        staying=tuple(info for info in infos if info.id in names),
        evidence_bytes=sum(_size_bytes(run_folder(store.path.parent, info.id)) for info in going),
        lost_kernels=tuple(sorted(lost)),
    )


def prune(store: ResultStore, of: PrunePlan) -> None:
    """Do it. Evidence goes first: when this is killed, the runs are still there, and it can be done again."""
    for info in of.going:
        shutil.rmtree(run_folder(store.path.parent, info.id), ignore_errors=True)
    store.remove([info.id for info in of.going])
    retain(store.path.with_name(NAME), (final.digest for final in store.finals()))


def _kernel(final: StoredResult) -> str:
    return f"{final.cell.kernel.version} {final.cell.arch}"


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
