"""Old runs go, with their evidence and every answer that no other run gave; bisections go whole, by their age.

A bisection is a document and the run that holds its boots. It is none of the runs that are counted: it goes when it is
older than every run that stays, and takes both along. A run that the document of a bisection points at stays with it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from runner.results.bisections import bisection_path, load_bisections
from runner.results.evidence import run_folder
from runner.results.model import RunInfo, RunKind
from runner.results.rowcache import NAME, retain
from runner.results.store import Final, ResultStore


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
    bisections: tuple[str, ...]  # whose documents go
    evidence_bytes: int
    lost_kernels: tuple[str, ...]


def plan(store: ResultStore, keep: Keep, now: datetime) -> PrunePlan:
    """What would go."""
    infos = store.runs()
    runs = [info for info in infos if info.kind is RunKind.MATRIX]
    kept = [info for at, info in enumerate(runs) if at == 0 or _stays(info, at, keep, now)]
    oldest = min((info.started for info in kept), default=None)

    def is_old(started: datetime) -> bool:
        if keep.days is not None:
            return now - started > timedelta(days=keep.days)
        return oldest is not None and started < oldest

    bisections = list(load_bisections(store.path.parent))
    needed = {run for bisection in bisections if not is_old(bisection.started) for run in bisection.shown_runs}
    names = {info.id for info in kept} | needed
    names |= {info.id for info in infos if info.kind is not RunKind.MATRIX and not is_old(info.started)}
    staying = tuple(info for info in infos if info.id in names)
    going = tuple(info for info in infos if info.id not in names)
    finals = store.finals()
    known = {_kernel(it) for it in finals if it.run in names}
    lost = {_kernel(it) for it in finals if it.run not in names} - known
    return PrunePlan(
        going=going,
        staying=staying,
        bisections=tuple(bisection.id for bisection in bisections if is_old(bisection.started)),
        evidence_bytes=sum(_size_bytes(run_folder(store.path.parent, info.id)) for info in going),
        lost_kernels=tuple(sorted(lost)),
    )


def prune(store: ResultStore, of: PrunePlan) -> None:
    """Do it. Evidence goes first: when this is killed, the runs are still there, and it can be done again."""
    for bisection in of.bisections:
        bisection_path(store.path.parent, bisection).unlink(missing_ok=True)
    for info in of.going:
        shutil.rmtree(run_folder(store.path.parent, info.id), ignore_errors=True)
    store.remove([info.id for info in of.going])
    retain(store.path.with_name(NAME), (final.digest for final in store.finals()))


def _stays(info: RunInfo, at: int, keep: Keep, now: datetime) -> bool:
    if keep.runs is not None:
        return at < keep.runs
    return keep.days is None or now - info.started <= timedelta(days=keep.days)


def _kernel(final: Final) -> str:
    return f"{final.cell.kernel.version} {final.cell.arch}"


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
