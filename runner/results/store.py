# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Writing the results store: SQLite in WAL mode, one writer, any number of readers, one commit per finished cell."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from runner.errors import InfraError
from runner.model import Asked, Cell, CellResult
from runner.results import evidence
from runner.results.database import faults, transaction
from runner.results.model import Run, RunHeader
from runner.results.packed import NO_BASE, written
from runner.results.stored import HEADER, KEPT, KEPT_WHOLE, Session, StoredResults, moment


class ResultStore(StoredResults):
    """`with ResultStore(path) as store:`. Its folder also gets the files of runner.results.evidence.

    A writer holds a lock for as long as it is open, which a killed process loses; readers (`read_only`) never wait.
    """

    def begin(self, run: Run) -> None:
        """Record a run, of a new id, and all its cells, before the first one starts; `run.results` are ignored."""
        sessions = run.sessions or ((run.started, run.started),)
        with faults(self.path), transaction(self._db):
            seq = self._db.execute(
                f"INSERT INTO run ({HEADER}) VALUES (?, ?, NULL, ?, ?, ?, ?, ?)",  # noqa: S608
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
                (cell, attempt, KEPT.dump_json(result.kept), seq),
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
                lines, digest = written(result)
                text = self._texts.write(kernel or result.cell.id, lines)
                self._db.execute(
                    f"INSERT INTO result ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608
                    (
                        cell, attempt, result.outcome, result.cause, kernel, result.accel, taken_s,
                        result.guest, _keepable(result), result.boots, result.start == "snapshot",
                        KEPT.dump_json(result.kept), digest, text,
                    ),
                )  # fmt: skip
                yield self._seq(run_id)

    def _write_cells(self, run: int, cells: Sequence[Cell]) -> None:
        self._db.executemany(
            "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (run, id) DO UPDATE SET position = excluded.position",
            [(run, at, cell.id, self._texts.keep(cell.model_dump_json().encode())) for at, cell in enumerate(cells)],
        )

    def _sessions(self, run: int) -> list[Session]:
        row = self._db.execute("SELECT sessions FROM run WHERE seq = ?", (run,)).fetchone()
        return [(moment(began), moment(ended)) for began, ended in json.loads(row[0])]

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


_COLUMNS = (
    "cell, attempt, outcome, cause, kernel, accel, taken_s, guest, keepable, boots, from_snapshot, kept, digest, text"
)
_MARKS = ", ".join("?" for _ in _COLUMNS.split(","))


def _keepable(result: CellResult) -> int:
    if not result.undisturbed:
        return 0
    return 1 if any(answer.failed for answer in result.answers) else KEPT_WHOLE


def _sessions(sessions: Iterable[Session]) -> str:
    return json.dumps([(_utc(began), _utc(ended)) for began, ended in sessions])


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
