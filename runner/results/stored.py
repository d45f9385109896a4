# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reading the results store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from runner.errors import UserError
from runner.model import Asked, AskedCell, Build, Cell, CellResult, Kept, Limits, Outcome
from runner.results import evidence
from runner.results.database import connect, faults, only_writer, snapshot
from runner.results.model import Run, RunHeader, RunInfo, RunKind
from runner.results.packed import NO_BASE, Interned, Line, Texts, result_of

_LAST_RESULTS = 2000  # is more than any matrix has cells

MAKES_RESULTS = "`runner matrix run` and `runner load` make them"

Session = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One result, without its text. Equal digests: all that rows depend on is equal."""

    run: str
    started: datetime  # that run
    cell: Cell
    build: Build  # without what its .config says
    outcome: Outcome
    is_whole: bool  # each of its probes has an answer, and nothing was disturbed
    kept: tuple[Kept, ...]  # of its answers, those that are of earlier runs
    cause: str
    digest: bytes
    seq: int
    asked: int | None  # equal where the same was asked; None: that was not recorded

    @property
    def source(self) -> Kept:
        """Its own run."""
        return Kept(run=self.run, started=self.started)


class StoredResults:
    """What is read of a store, also by the one process that writes it.

    Raises InfraError when the file is corrupt, foreign or of an older version, when another process writes, or when
    the disk fails; UserError when there is no such run.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_s: float = Limits().store_s) -> None:
        self.path = path
        self.busy_s = busy_s
        self.read_only = read_only
        self._open = contextlib.ExitStack()
        self._interned = Interned()  # what is kept of an earlier run is read twice

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if not self.read_only:
                stack.enter_context(only_writer(self.path))
            elif not self.path.exists():
                raise UserError(f"there are no results in {self.path}", hint=MAKES_RESULTS)
            with faults(self.path):
                db = connect(self.path, read_only=self.read_only, busy_s=self.busy_s)
                self._db = stack.enter_context(contextlib.closing(db))
                self._texts = Texts(db)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with faults(self.path):
            self._open.close()

    def runs(self) -> tuple[RunInfo, ...]:
        """All runs, the last one first."""
        with faults(self.path):
            rows = self._db.execute(
                f"SELECT {HEADER},"  # noqa: S608  names of columns
                " (SELECT count(*) FROM cell WHERE run = run.seq) AS cells,"
                " (SELECT count(DISTINCT cell) FROM result JOIN cell ON cell = cell.seq WHERE run = run.seq)"
                " AS finished_cells FROM run ORDER BY started DESC, run.seq DESC"
            ).fetchall()
            return tuple(RunInfo.model_validate(_header(row)) for row in rows)

    def load(self, run_id: str | None = None, *, consoles: bool = False, answers: bool = True) -> Run:
        """A run with its cells and results, by default the last matrix run. Consoles are read only when asked for, and
        answers only when they are wanted."""
        with faults(self.path), snapshot(self._db):
            seq = self._seq(run_id)
            header = RunHeader.model_validate(
                _header(self._db.execute(f"SELECT {HEADER} FROM run WHERE seq = ?", (seq,)).fetchone())  # noqa: S608
            )
            cells = {
                cell: self._cell(content)
                for cell, content in self._db.execute(
                    "SELECT seq, content FROM cell WHERE run = ? ORDER BY position", (seq,)
                )
            }
            results = []
            for cell, attempt, *stored in self._db.execute(
                f"SELECT cell, attempt, {_RESULT} FROM result JOIN cell ON cell.seq = result.cell"  # noqa: S608
                " WHERE run = ? ORDER BY result.seq",
                (seq,),
            ).fetchall():
                result = self._result(cells[cell], *stored, answers=answers)
                if consoles:
                    of = (result.kept[0].run, 1) if result.is_kept else (header.id, attempt)
                    console = evidence.read_console(self.path.parent, of[0], result.cell.id, of[1])
                    result = result.model_copy(update={"console": console})
                results.append(result)
            return Run(**dict(header), cells=tuple(cells.values()), results=tuple(results))

    def asked(self, run_id: str) -> Asked | None:
        """What the cells of a run were asked; None when that was not recorded."""
        with faults(self.path), snapshot(self._db):
            seq = self._seq(run_id)
            cells = {
                cell_id: AskedCell.model_validate_json(self._texts.read(content))
                for cell_id, content in self._db.execute(
                    "SELECT id, asked FROM cell WHERE run = ? AND asked IS NOT NULL ORDER BY position", (seq,)
                ).fetchall()
            }
            objects = [
                self._texts.read(row[0]) for row in self._db.execute("SELECT content FROM object WHERE run = ?", (seq,))
            ]
        if not cells:
            return None
        return Asked(cells=cells, objects={hashlib.sha256(each).hexdigest(): each for each in objects})

    def asked_of(self, of: StoredResult) -> AskedCell | None:
        """What the cell of a result was asked; None when that was not recorded."""
        with faults(self.path):
            return None if of.asked is None else AskedCell.model_validate_json(self._texts.read(of.asked))

    def was_asked(self, of: StoredResult, asked: AskedCell) -> bool:
        """Was it exactly this?"""
        with faults(self.path):
            return of.asked is not None and of.asked == self._texts.find(asked.model_dump_json().encode())

    def documents(self) -> list[bytes]:
        """Of the runs that have one, the last one first."""
        query = "SELECT document FROM run WHERE document IS NOT NULL ORDER BY started DESC, seq DESC"
        with faults(self.path):
            return [NO_BASE.unpack(row[0]) for row in self._db.execute(query)]

    def seconds(self) -> dict[str, dict[str, float]]:
        """What each cell took the last time that it ran, by acceleration, without its preparation."""
        found: dict[str, dict[str, float]] = defaultdict(dict)
        with faults(self.path):
            for cell_id, accel, taken_s in self._db.execute(
                "SELECT cell.id, accel, taken_s FROM result JOIN cell ON cell.seq = result.cell"
                " WHERE outcome = ? AND taken_s > 0 ORDER BY result.seq DESC LIMIT ?",
                (Outcome.RAN, _LAST_RESULTS),
            ):
                found[cell_id].setdefault(accel, taken_s)
        return dict(found)

    def finals(self) -> tuple[StoredResult, ...]:
        """Of every run, the result of each cell that counts; the earliest run first."""
        last = "attempt = (SELECT max(attempt) FROM result WHERE cell = cell.seq)"
        found = self._results(f"WHERE {last} ORDER BY run.started, run.seq, cell.position")
        return tuple(it for *_, it in found)

    def keepable(self, guests: Iterable[str], *, snapshots: bool = True) -> dict[str, list[StoredResult]]:
        """By the guest, the results of which answers may be kept, the newest first, one of those that asked the same.

        What is older than a disturbed result of that guest does not count; without `snapshots`, only boots do.
        """
        found: dict[str, list[StoredResult]] = defaultdict(list)
        over: set[str] = set()
        mine = "WHERE guest IN (SELECT value FROM json_each(?)) ORDER BY run.started DESC, result.seq DESC"
        for guest, how, unbooted, it in self._results(mine, json.dumps([*guests])):
            if not how:
                over.add(guest)
            elif unbooted and not snapshots:
                continue
            elif guest not in over and it.asked and all(other.asked != it.asked for other in found[guest]):
                found[guest].append(it)
        return found

    def result(self, of: StoredResult) -> CellResult:
        """The whole result, without its console."""
        with faults(self.path):
            stored = self._db.execute(f"SELECT {_RESULT} FROM result WHERE seq = ?", (of.seq,)).fetchone()  # noqa: S608
            return self._result(of.cell, *stored)

    def lines(self, of: StoredResult) -> list[Line]:
        """The lines of its text: see runner.results.packed."""
        with faults(self.path):
            (text,) = self._db.execute("SELECT text FROM result WHERE seq = ?", (of.seq,)).fetchone()
            return self._texts.lines(text)

    def _results(self, which: str, *values: str) -> Iterator[tuple[str, int, int, StoredResult]]:
        """Each with its guest, whether its answers may be kept, and whether some are of a snapshot: see `TABLES`."""
        cells: dict[int, Cell] = {}
        with faults(self.path), snapshot(self._db):
            for guest, keepable, unbooted, run, started, content, kernel, outcome, kept, *rest in self._db.execute(
                f"{_RESULTS} {which}", values
            ):
                cell = cells.get(content) or cells.setdefault(content, self._cell(content))
                build = _build(cell.kernel.version, cell.kernel.release, kernel, cell.arch)
                known = cell, build, Outcome(outcome), keepable == KEPT_WHOLE, _kept(kept)
                yield guest, keepable, unbooted, StoredResult(run, moment(started), *known, *rest)

    def _result(self, cell: Cell, text: int, boots: int, kept: bytes, *, answers: bool = True) -> CellResult:
        """`_RESULT` of it."""
        lines = self._texts.lines(text)
        lines = lines if answers else lines[:1]
        return result_of(lines, cell, boots=boots, kept=_kept(kept), interned=self._interned)

    def _cell(self, content: int) -> Cell:
        return Cell.model_validate_json(self._texts.read(content))

    def _seq(self, run_id: str | None) -> int:
        runs = {row[1]: int(row[0]) for row in self._db.execute("SELECT seq, id FROM run ORDER BY started, seq")}
        if run_id is None:
            run_id = next((each for each in reversed(runs) if RunKind.of(each) is RunKind.MATRIX), None)
            if run_id is None and runs:
                raise UserError(f"no run of the matrix in {self.path}", hint=f"name another: {_last(runs)}")
            if run_id is None:
                raise UserError(f"there are no results in {self.path}", hint=MAKES_RESULTS)
        if run_id not in runs:
            raise UserError(f"no run {run_id!r} in {self.path}", hint=f"the last runs: {_last(runs) or 'none'}")
        return runs[run_id]


def _last(runs: Iterable[str]) -> str:
    return ", ".join([*runs][:-6:-1])


KEPT = TypeAdapter(tuple[Kept, ...])
KEPT_WHOLE = 2  # each probe of a result has an answer, and nothing was disturbed; 1: some have one


@lru_cache(maxsize=4096)
def _kept(text: bytes | str) -> tuple[Kept, ...]:
    return KEPT.validate_json(text) if len(text) > len("[]") else ()


_RESULT = "text, boots, kept"
_RESULTS = (
    "SELECT guest, keepable, from_snapshot, run.id, run.started, cell.content, kernel, outcome, kept,"
    " cause, digest, result.seq, cell.asked"
    " FROM result JOIN cell ON cell.seq = result.cell JOIN run ON run.seq = cell.run"
)
HEADER = "id, started, finished, sessions, matrix_sha256, runner_version, slots, fresh"


def _header(row: sqlite3.Row) -> dict[str, object]:
    return {**dict(row), "sessions": json.loads(row["sessions"])}


moment = lru_cache(maxsize=1024)(datetime.fromisoformat)


@lru_cache(maxsize=4096)
def _build(version: str, release: str, sha256: str, arch: str) -> Build:
    return Build(version=version, release=release, sha256=sha256, arch=arch)
