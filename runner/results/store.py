"""The results store: SQLite in WAL mode, one writer, any number of readers, one commit per finished cell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from runner.errors import InfraError, MatrixError
from runner.model import Cell, CellResult, CensusObservation, Observation
from runner.results import evidence, schema
from runner.results.database import connect, faults, only_writer, snapshot, transaction
from runner.results.model import Run, RunHeader, RunInfo

_APART = {"cell", "observations", "census", "missing", "console"}  # the parts of a CellResult that have their own place

_Answer = Observation | CensusObservation


class ResultStore:
    """`with ResultStore(path) as store:`. Its folder also gets the files of runner.results.evidence.

    A writer holds a lock for as long as it is open, which a killed process loses; readers (`read_only`) never wait.
    Raises InfraError when the file is corrupt or foreign, when another process writes, or when the disk fails;
    MatrixError when there is no such run.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self.read_only:
                if not self.path.exists():
                    raise MatrixError(f"there are no results in {self.path}", hint="`runner matrix run` makes them")
                _upgrade(self.path)
            else:
                stack.enter_context(only_writer(self.path))
            with faults(self.path):
                self._db = stack.enter_context(contextlib.closing(connect(self.path, read_only=self.read_only)))
                if not self.read_only:
                    schema.migrate(self._db)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with faults(self.path):
            self._open.close()

    # --- writing ----------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """Record a run and every cell that is to run, before the first one starts. `run.results` are not looked at."""
        with faults(self.path), transaction(self._db):
            seq = self._db.execute(
                "INSERT INTO run (id, started, finished, matrix_sha256, runner_version, slots)"
                " VALUES (?, ?, NULL, ?, ?, ?)",
                (run.id, _utc(run.started), run.matrix_sha256, run.runner_version, run.slots),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)",
                [(seq, at, cell.id, self._content(cell.model_dump_json())) for at, cell in enumerate(run.cells)],
            )

    def add(self, run_id: str, result: CellResult) -> None:
        """Record one finished cell: when this returns, it is on the disk. A further result of a cell is kept beside."""
        with faults(self.path):
            cell, attempt = self._next_attempt(run_id, result.cell.id)
            # evidence first: a result that is in the database always has its files
            evidence.write(self.path.parent, run_id, result, attempt)
            with transaction(self._db):
                seq = self._db.execute(
                    "INSERT INTO result (cell, attempt, body, missing) VALUES (?, ?, ?, ?)",
                    (cell, attempt, result.model_dump_json(exclude=_APART), self._content("\n".join(result.missing))),
                ).lastrowid
                self._add_answers("answer", "observation", seq, result.observations)
                self._add_answers("census_answer", "census", seq, result.census)

    def finish(self, run_id: str, finished: datetime) -> None:
        """Record that a run came to its end, by itself."""
        with faults(self.path), transaction(self._db):
            self._db.execute("UPDATE run SET finished = ? WHERE seq = ?", (_utc(finished), self._seq(run_id)))

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> tuple[RunInfo, ...]:
        """All runs, the last one first."""
        with faults(self.path):
            rows = self._db.execute(
                "SELECT id, started, finished, matrix_sha256, runner_version, slots,"
                " (SELECT count(*) FROM cell WHERE run = run.seq) AS cells,"
                " (SELECT count(DISTINCT cell) FROM result JOIN cell ON cell = cell.seq WHERE run = run.seq)"
                " AS finished_cells FROM run ORDER BY seq DESC"
            ).fetchall()
            return tuple(RunInfo.model_validate(dict(row)) for row in rows)

    def load(self, run_id: str | None = None, *, consoles: bool = False) -> Run:
        """A run with its cells and results, by default the last one. Consoles are read only when asked for."""
        with faults(self.path), snapshot(self._db):
            seq = self._seq(run_id)
            row = self._db.execute(
                "SELECT id, started, finished, matrix_sha256, runner_version, slots FROM run WHERE seq = ?", (seq,)
            ).fetchone()
            header = RunHeader.model_validate(dict(row))
            cells = {
                cell_seq: Cell.model_validate_json(self._text(content))
                for cell_seq, content in self._db.execute(
                    "SELECT seq, content FROM cell WHERE run = ? ORDER BY position", (seq,)
                )
            }
            results = [
                self._result(
                    seq, cells[cell], body, missing, self._console(header.id, cells[cell], attempt) if consoles else ""
                )
                for seq, cell, attempt, body, missing in self._db.execute(
                    "SELECT result.seq, result.cell, attempt, body, missing"
                    " FROM result JOIN cell ON cell.seq = result.cell WHERE run = ? ORDER BY result.seq",
                    (seq,),
                ).fetchall()
            ]
            return Run(**dict(header), cells=tuple(cells.values()), results=tuple(results))

    def tagged_kfuncs(self) -> tuple[tuple[str, str], ...]:
        """Every kfunc that any kernel's BTF called so, in any run, each with what holds it."""
        with faults(self.path):
            rows = self._db.execute(
                "SELECT DISTINCT json_extract(body, '$.kfunc'), json_extract(body, '$.object')"
                " FROM census, json_each(body, '$.tags') AS tag WHERE tag.value = 'bpf_kfunc' ORDER BY 2, 1"
            ).fetchall()
            return tuple((str(kfunc), str(holder)) for kfunc, holder in rows)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _result(self, seq: int, cell: Cell, body: str, missing: int | None, console: str) -> CellResult:
        answers = {
            "observations": [Observation.model_validate(seen) for seen in self._answers("answer", "observation", seq)],
            "census": [
                CensusObservation.model_validate(seen) for seen in self._answers("census_answer", "census", seq)
            ],
            "missing": [] if missing is None else self._text(missing).split(),
        }
        return CellResult.model_validate({**json.loads(body), **answers, "cell": cell, "console": console})

    def _console(self, run_id: str, cell: Cell, attempt: int) -> str:
        return evidence.read_console(self.path.parent, run_id, cell.id, attempt)

    def _next_attempt(self, run_id: str, cell_id: str) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT cell.seq, (SELECT count(*) FROM result WHERE cell = cell.seq) FROM cell WHERE run = ? AND id = ?",
            (self._seq(run_id), cell_id),
        ).fetchone()
        if row is None:
            raise InfraError(f"a result came of {cell_id}, which is not a cell of run {run_id}; it was not stored")
        return row[0], row[1] + 1

    def _add_answers(
        self, links: Literal["answer", "census_answer"], table: str, result: int | None, answers: Sequence[_Answer]
    ) -> None:
        self._db.executemany(
            f"INSERT INTO {links} (result, position, observation) VALUES (?, ?, ?)",  # noqa: S608  names of tables
            [(result, at, self._answer(table, answer)) for at, answer in enumerate(answers)],
        )

    def _answer(self, table: str, answer: _Answer) -> int:
        body = answer.model_dump_json(exclude={"log"})
        digest = _digest(body, answer.log)
        row = self._db.execute(f"SELECT seq FROM {table} WHERE sha256 = ?", (digest,)).fetchone()  # noqa: S608
        if row:
            return int(row[0])
        log = self._content(answer.log) if answer.log else None
        added = self._db.execute(
            f"INSERT INTO {table} (sha256, body, log) VALUES (?, ?, ?)",  # noqa: S608
            (digest, body, log),
        )
        return int(added.lastrowid or 0)

    def _answers(self, links: str, table: str, result: int) -> Iterator[dict[str, object]]:
        for sha256, body, log in self._db.execute(
            f"SELECT sha256, body, log FROM {links} JOIN {table} ON seq = observation"  # noqa: S608
            " WHERE result = ? ORDER BY position",
            (result,),
        ).fetchall():
            text = "" if log is None else self._text(log)
            if _digest(body, text) != sha256:
                raise sqlite3.DatabaseError(f"an answer in {table} is not what was stored")
            yield {**json.loads(body), "log": text}

    def _content(self, text: str) -> int:
        digest = _digest(text)
        row = self._db.execute("SELECT seq FROM content WHERE sha256 = ?", (digest,)).fetchone()
        if row:
            return int(row[0])
        body = zlib.compress(text.encode())
        added = self._db.execute("INSERT INTO content (sha256, body) VALUES (?, ?)", (digest, body))
        return int(added.lastrowid or 0)

    def _text(self, content: int) -> str:
        row = self._db.execute("SELECT body FROM content WHERE seq = ?", (content,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a stored text is gone")
        return zlib.decompress(row[0]).decode()

    def _seq(self, run_id: str | None) -> int:
        if run_id is None:
            row = self._db.execute("SELECT max(seq) FROM run").fetchone()
        else:
            row = self._db.execute("SELECT seq FROM run WHERE id = ?", (run_id,)).fetchone()
        if row and row[0] is not None:
            return int(row[0])
        if run_id is None:
            raise MatrixError(f"there are no results in {self.path}", hint="`runner matrix run` makes them")
        last = [row[0] for row in self._db.execute("SELECT id FROM run ORDER BY seq DESC LIMIT 5")]
        raise MatrixError(f"no run {run_id!r} in {self.path}", hint=f"the last runs: {', '.join(last) or 'none'}")


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _upgrade(path: Path) -> None:
    """A reader cannot bring old tables up to date: do it as a writer first."""
    with faults(path), contextlib.closing(connect(path, read_only=True)) as connection:
        old = schema.version(connection) < len(schema.MIGRATIONS)
    if old:
        with ResultStore(path):
            pass
