"""The results store: SQLite in WAL mode, one writer, any number of readers, one commit per finished cell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from runner.errors import InfraError, UserError
from runner.model import Asked, AskedCell, Build, Cell, CellResult, Kept, Limits, Outcome
from runner.results import evidence
from runner.results.database import connect, faults, only_writer, snapshot, transaction
from runner.results.model import Run, RunHeader, RunInfo, RunKind
from runner.results.packed import NO_BASE, Line, Texts, digest_of, lines_of, result_of

_LAST_RESULTS = 2000  # is more than any matrix has cells

MAKES_RESULTS = "`runner matrix run` and `runner load` make them"

Session = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Final:
    """One cell of one run, by the result that counts. Equal digests: all that rows depend on is equal."""

    run: str
    started: datetime
    cell: Cell
    build: Build  # without what its .config says
    outcome: Outcome
    cause: str
    digest: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Keepable:
    """A stored result whose answers may be kept. `is_whole`: each of its probes has one."""

    seq: int
    is_whole: bool
    asked_sha256: bytes  # of the AskedCell's JSON
    asked: int
    cell: int
    source: Kept  # its own run
    kept: tuple[Kept, ...]  # of its answers, those that are of earlier runs


class ResultStore:
    """`with ResultStore(path) as store:`. Its folder also gets the files of runner.results.evidence.

    A writer holds a lock for as long as it is open, which a killed process loses; readers (`read_only`) never wait.
    Raises InfraError when the file is corrupt, foreign or of an older version, when another process writes, or when
    the disk fails; UserError when there is no such run.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_s: float = Limits().store_s) -> None:
        self.path = path
        self.busy_s = busy_s
        self.read_only = read_only
        self._open = contextlib.ExitStack()

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

    # --- writing ----------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """Record a run and every cell that is to run, before the first one starts; `run.results` are ignored.

        Raises UserError when there is a run of that id.
        """
        if any(known.id == run.id for known in self.runs()):
            raise UserError(f"there is a run {run.id} in {self.path} already", hint="give it another id")
        sessions = run.sessions or ((run.started, run.started),)
        with faults(self.path), transaction(self._db):
            seq = self._db.execute(
                f"INSERT INTO run ({_HEADER}) VALUES (?, ?, NULL, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    run.id,
                    _utc(run.started),
                    _sessions(sessions),
                    run.matrix_sha256,
                    run.runner_version,
                    run.slots,
                    run.fresh,
                ),
            ).lastrowid
            self._write_cells(seq or 0, run.cells)

    def resume(self, run_id: str, now: datetime) -> None:
        """Record that a run is resumed: the time until now was a pause."""
        with self._changing(run_id) as seq:
            self._write_sessions(seq, (*self._sessions(seq), (now, now)))

    def add(self, run_id: str, result: CellResult) -> None:
        """Record one finished cell: when this returns, it is on the disk. A further result of a cell is kept beside."""
        now = datetime.now(UTC)
        with self._adding(run_id, result) as seq:
            *before, (began, ended) = self._sessions(seq)
            self._write_sessions(seq, (*before, (began, max(now, ended))))

    def repeat(self, run_id: str, result: CellResult, seq: int) -> None:
        """Record a result that is kept whole, and equal to the one with this number."""
        with faults(self.path), transaction(self._db):
            cell, attempt = self._next_attempt(run_id, result.cell.id)
            same = "outcome, cause, kernel, accel, NULL, guest, keepable, 0, from_snapshot, ?, digest, text"
            self._db.execute(
                f"INSERT INTO result ({_COLUMNS}) SELECT ?, ?, {same} FROM result WHERE seq = ?",  # noqa: S608
                (cell, attempt, _KEPT.dump_json(result.kept), seq),
            )

    def copy(self, run_id: str, result: CellResult) -> None:
        """Record a result of another store; the run is as long as it was."""
        with self._adding(run_id, result):
            pass

    def finish(self, run_id: str, finished: datetime) -> None:
        """Record that a run came to its end, by itself."""
        with self._changing(run_id) as seq:
            *before, (began, _) = self._sessions(seq)
            self._write_sessions(seq, (*before, (began, max(began, finished))))
            self._db.execute("UPDATE run SET finished = ? WHERE seq = ?", (_utc(finished), seq))

    def write_asked(self, run_id: str, asked: Asked) -> None:
        """Record what cells of a run are asked, and with which programs; also of more cells of a run, later."""
        with self._changing(run_id) as seq:
            for cell_id, each in asked.cells.items():
                content = self._texts.keep(each.model_dump_json().encode())
                self._db.execute("UPDATE cell SET asked = ? WHERE run = ? AND id = ?", (content, seq, cell_id))
            known = {row[0] for row in self._db.execute("SELECT content FROM object WHERE run = ?", (seq,))}
            for content in dict.fromkeys(map(self._texts.keep, asked.objects.values())):
                if content not in known:
                    self._db.execute("INSERT INTO object (run, content) VALUES (?, ?)", (seq, content))

    def write_document(self, run_id: str, document: bytes) -> None:
        """Record what a run is besides its cells, in the place of what was recorded."""
        with self._changing(run_id) as seq:
            self._db.execute("UPDATE run SET document = ? WHERE seq = ?", (NO_BASE.pack(document), seq))

    # --- changing what is stored --------------------------------------------------------------------------------------

    def widen(self, run_id: str, cells: Sequence[Cell]) -> None:
        """Give a run these cells, in this order; those that it has are among them."""
        with self._changing(run_id) as seq:
            self._write_cells(seq, cells)

    def restate(self, header: RunHeader) -> None:
        """When a run was, after more of it came to light."""
        with self._changing(header.id) as seq:
            self._db.execute(
                "UPDATE run SET started = ?, finished = ?, slots = ? WHERE seq = ?",
                (_utc(header.started), header.finished and _utc(header.finished), header.slots, seq),
            )
            self._write_sessions(seq, header.sessions)

    def remove(self, run_ids: Iterable[str]) -> None:
        """Delete runs, and all that no other run refers to; then give the space back to the disk."""
        with faults(self.path):
            with transaction(self._db):
                for run_id in run_ids:
                    seq = self._seq(run_id)
                    self._db.execute("DELETE FROM result WHERE cell IN (SELECT seq FROM cell WHERE run = ?)", (seq,))
                    for table in ("cell", "object"):
                        self._db.execute(f"DELETE FROM {table} WHERE run = ?", (seq,))  # noqa: S608
                    self._db.execute("DELETE FROM run WHERE seq = ?", (seq,))
                self._db.execute("DELETE FROM text WHERE seq NOT IN (SELECT text FROM result)")
                self._db.execute("DELETE FROM base WHERE seq NOT IN (SELECT base FROM text)")
                used = "SELECT content FROM cell UNION SELECT asked FROM cell WHERE asked IS NOT NULL"
                self._db.execute(f"DELETE FROM content WHERE seq NOT IN ({used} UNION SELECT content FROM object)")  # noqa: S608
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the file has its old size

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> tuple[RunInfo, ...]:
        """All runs, the last one first."""
        with faults(self.path):
            rows = self._db.execute(
                f"SELECT {_HEADER},"  # noqa: S608  names of columns
                " (SELECT count(*) FROM cell WHERE run = run.seq) AS cells,"
                " (SELECT count(DISTINCT cell) FROM result JOIN cell ON cell = cell.seq WHERE run = run.seq)"
                " AS finished_cells FROM run ORDER BY started DESC, run.seq DESC"
            ).fetchall()
            return tuple(RunInfo.model_validate(_header(row)) for row in rows)

    def load(self, run_id: str | None = None, *, consoles: bool = False) -> Run:
        """A run with its cells and results, by default the last matrix run. Consoles are read only when asked for."""
        with faults(self.path), snapshot(self._db):
            seq = self._seq(run_id)
            header = RunHeader.model_validate(
                _header(self._db.execute(f"SELECT {_HEADER} FROM run WHERE seq = ?", (seq,)).fetchone())  # noqa: S608
            )
            cells = {
                cell: self._cell(content)
                for cell, content in self._db.execute(
                    "SELECT seq, content FROM cell WHERE run = ? ORDER BY position", (seq,)
                )
            }
            results = []
            for cell, attempt, text, boots, kept in self._db.execute(
                "SELECT cell, attempt, text, boots, kept FROM result JOIN cell ON cell.seq = result.cell"
                " WHERE run = ? ORDER BY result.seq",
                (seq,),
            ).fetchall():
                result = result_of(self._texts.lines(text), cells[cell], boots=boots, kept=_kept(kept))
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

    def finals(self) -> tuple[Final, ...]:
        """Of every run, the result of each cell that counts, without its text; the earliest run first."""
        cells: dict[int, Cell] = {}
        found = []
        with faults(self.path), snapshot(self._db):
            for run, started, content, seq, outcome, cause, kernel, digest in self._db.execute(
                "SELECT run.id, run.started, cell.content, result.seq, outcome, cause, kernel, digest"
                " FROM result JOIN cell ON cell.seq = result.cell JOIN run ON run.seq = cell.run"
                " WHERE attempt = (SELECT max(attempt) FROM result WHERE cell = cell.seq)"
                " ORDER BY run.started, run.seq, cell.position"
            ):
                cell = cells.get(content) or cells.setdefault(content, self._cell(content))
                build = _build(cell.kernel.version, cell.kernel.release, kernel, cell.arch)
                found.append(Final(run, _moment(started), cell, build, Outcome(outcome), cause, digest, seq))
        return tuple(found)

    def result(self, final: Final) -> CellResult:
        """The whole result, without its console."""
        return self._result(final.seq, final.cell)

    def lines(self, final: Final) -> list[Line]:
        """The lines of its text: see runner.results.packed."""
        with faults(self.path):
            (text,) = self._db.execute("SELECT text FROM result WHERE seq = ?", (final.seq,)).fetchone()
            return self._texts.lines(text)

    def keepable(self, guests: Iterable[str], *, snapshots: bool = True) -> dict[str, list[Keepable]]:
        """By the guest, the results of which answers may be kept, the newest first, one of those that asked the same.

        What is older than a disturbed result of that guest does not count; without `snapshots`, only boots do.
        """
        found: dict[str, list[Keepable]] = defaultdict(list)
        over: set[str] = set()
        wanted = json.dumps([*guests])
        with faults(self.path), snapshot(self._db):
            for guest, how, unbooted, asked, *rest in self._db.execute(
                "SELECT guest, keepable, from_snapshot, asked.sha256,"
                " result.seq, cell.asked, cell.content, kept, run.id, run.started"
                " FROM result JOIN cell ON cell.seq = result.cell JOIN run ON run.seq = cell.run"
                " LEFT JOIN content AS asked ON asked.seq = cell.asked"
                " WHERE guest IN (SELECT value FROM json_each(?)) ORDER BY run.started DESC, result.seq DESC",
                (wanted,),
            ):
                if not how:
                    over.add(guest)
                elif unbooted and not snapshots:
                    continue
                elif guest not in over and asked and all(it.asked_sha256 != asked for it in found[guest]):
                    seq, content, cell, kept, run, started = rest
                    whole = Kept(run=run, started=_moment(started))
                    found[guest].append(Keepable(seq, how == _ALL, asked, content, cell, whole, _kept(kept)))
        return found

    def kept(self, of: Keepable) -> CellResult:
        """The whole result."""
        with faults(self.path):
            return self._result(of.seq, self._cell(of.cell))

    def asked_then(self, of: Keepable) -> AskedCell:
        """What its cell was asked."""
        with faults(self.path):
            return AskedCell.model_validate_json(self._texts.read(of.asked))

    # --- parts ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _changing(self, run_id: str) -> Iterator[int]:
        """The run's number; all that is written inside, or nothing."""
        with faults(self.path), transaction(self._db):
            yield self._seq(run_id)

    @contextlib.contextmanager
    def _adding(self, run_id: str, result: CellResult) -> Iterator[int]:
        """Record a result, and what is written inside, or neither. The run's number."""
        with faults(self.path):
            cell, attempt = self._next_attempt(run_id, result.cell.id)
            # evidence first: a result that is in the database always has its console
            evidence.write_console(self.path.parent, run_id, result, attempt)
            times, kernel = result.timings, result.build.sha256
            # what a whole cell takes is not known of one that was asked a part
            taken_s = None if times.total_s is None or result.kept else times.total_s - (times.prepare_s or 0)
            with transaction(self._db):
                lines = lines_of(result)
                text = self._texts.write(kernel or result.cell.id, lines)
                self._db.execute(
                    f"INSERT INTO result ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608
                    (
                        cell, attempt, result.outcome, result.cause, kernel, result.accel, taken_s,
                        result.guest, _keepable(result), result.boots, result.start == "snapshot",
                        _KEPT.dump_json(result.kept), digest_of(result, lines), text,
                    ),
                )  # fmt: skip
                yield self._seq(run_id)

    def _write_cells(self, run: int, cells: Sequence[Cell]) -> None:
        self._db.executemany(
            "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (run, id) DO UPDATE SET position = excluded.position",
            [(run, at, cell.id, self._texts.keep(cell.model_dump_json().encode())) for at, cell in enumerate(cells)],
        )

    def _result(self, seq: int, cell: Cell) -> CellResult:
        query = "SELECT text, boots, kept FROM result WHERE seq = ?"
        with faults(self.path):
            text, boots, kept = self._db.execute(query, (seq,)).fetchone()
            return result_of(self._texts.lines(text), cell, boots=boots, kept=_kept(kept))

    def _cell(self, content: int) -> Cell:
        return Cell.model_validate_json(self._texts.read(content))

    def _sessions(self, run: int) -> list[Session]:
        row = self._db.execute("SELECT sessions FROM run WHERE seq = ?", (run,)).fetchone()
        return [(_moment(began), _moment(ended)) for began, ended in json.loads(row[0])]

    def _write_sessions(self, run: int, sessions: Sequence[Session]) -> None:
        self._db.execute("UPDATE run SET sessions = ? WHERE seq = ?", (_sessions(sessions), run))

    def _next_attempt(self, run_id: str, cell_id: str) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT cell.seq, (SELECT count(*) FROM result WHERE cell = cell.seq) FROM cell WHERE run = ? AND id = ?",
            (self._seq(run_id), cell_id),
        ).fetchone()
        if row is None:
            raise InfraError(f"a result came of {cell_id}, which is not a cell of run {run_id}; it was not stored")
        return row[0], row[1] + 1

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


_COLUMNS = (
    "cell, attempt, outcome, cause, kernel, accel, taken_s, guest, keepable, boots, from_snapshot, kept, digest, text"
)
_MARKS = ", ".join("?" for _ in _COLUMNS.split(","))
_KEPT = TypeAdapter(tuple[Kept, ...])
_ALL = 2


def _kept(text: bytes | str) -> tuple[Kept, ...]:
    return _KEPT.validate_json(text) if len(text) > len("[]") else ()


def _keepable(result: CellResult) -> int:
    if not result.undisturbed:
        return 0
    return 1 if any(answer.failed for answer in result.answers) else _ALL


_HEADER = "id, started, finished, sessions, matrix_sha256, runner_version, slots, fresh"


def _header(row: sqlite3.Row) -> dict[str, object]:
    return {**dict(row), "sessions": json.loads(row["sessions"])}


def _sessions(sessions: Iterable[Session]) -> str:
    return json.dumps([(_utc(began), _utc(ended)) for began, ended in sessions])


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


_moment = lru_cache(maxsize=1024)(datetime.fromisoformat)


@lru_cache(maxsize=4096)
def _build(version: str, release: str, sha256: str, arch: str) -> Build:
    return Build(version=version, release=release, sha256=sha256, arch=arch)
