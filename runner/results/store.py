"""The results store: SQLite in WAL mode, one writer, any number of readers, one commit per finished cell."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from runner.errors import InfraError, UserError
from runner.model import Cell, CellResult, Limits, Observation, Outcome
from runner.results import answers, evidence, schema
from runner.results.answers import CENSUS, OBSERVATIONS, Answer, Kind, Stored
from runner.results.database import connect, faults, only_writer, snapshot, transaction
from runner.results.model import Run, RunHeader, RunInfo, RunKind

_LAST_RESULTS = 2000  # is more than any matrix has cells
_APART = {"cell", "answers", "console"}  # the parts of a CellResult that have their own place


@dataclass(frozen=True, slots=True)
class Final:
    """One cell of one run. `body` is a CellResult in JSON but for its cell and answers.

    `answers`, `census` and `missing` are numbers of what it says, which equal ones share.
    """

    run: str
    started: datetime
    cell: Cell
    outcome: Outcome
    seq: int
    body: str
    answers: int  # to the claims
    census: int
    missing: int | None


class ResultStore:
    """`with ResultStore(path) as store:`. Its folder also gets the files of runner.results.evidence.

    A writer holds a lock for as long as it is open, which a killed process loses; readers (`read_only`) never wait.
    Raises InfraError when the file is corrupt or foreign, when another process writes, or when the disk fails;
    UserError when there is no such run.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_s: float = Limits().store_s) -> None:
        self.path = path
        self.busy_s = busy_s
        self.read_only = read_only
        self._open = contextlib.ExitStack()
        self._known: dict[Kind, dict[int, Answer]] = {OBSERVATIONS: {}, CENSUS: {}}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self.read_only:
                if not self.path.exists():
                    raise UserError(f"there are no results in {self.path}", hint="`runner matrix run` makes them")
                _upgrade(self.path, self.busy_s)
            else:
                stack.enter_context(only_writer(self.path))
            with faults(self.path):
                self._db = stack.enter_context(
                    contextlib.closing(connect(self.path, read_only=self.read_only, busy_s=self.busy_s))
                )
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
        if any(known.id == run.id for known in self.runs()):
            raise UserError(f"there is a run {run.id} in {self.path} already", hint="give it another id")
        with faults(self.path), transaction(self._db):
            seq = self._db.execute(
                "INSERT INTO run (id, started, finished, matrix_sha256, runner_version, slots)"
                " VALUES (?, ?, NULL, ?, ?, ?)",
                (run.id, _utc(run.started), run.matrix_sha256, run.runner_version, run.slots),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)",
                [
                    (seq, at, cell.id, answers.write_text(self._db, cell.model_dump_json()))
                    for at, cell in enumerate(run.cells)
                ],
            )

    def add(self, run_id: str, result: CellResult) -> None:
        """Record one finished cell: when this returns, it is on the disk. A further result of a cell is kept beside."""
        with faults(self.path):
            cell, attempt = self._next_attempt(run_id, result.cell.id)
            # evidence first: a result that is in the database always has its files
            evidence.write(self.path.parent, run_id, result, attempt)
            with transaction(self._db):
                asked = answers.write(self._db, OBSERVATIONS, result.observations)
                census = answers.write(self._db, CENSUS, result.census)
                self._db.execute(
                    "INSERT INTO result (cell, attempt, body, missing, answer_set, observation_particulars, census_set,"
                    " census_particulars) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        cell, attempt, _body(result),
                        answers.write_text(self._db, "\n".join(result.missing)),
                        asked.answers, asked.particulars, census.answers, census.particulars,
                    ),
                )  # fmt: skip

    def finish(self, run_id: str, finished: datetime) -> None:
        """Record that a run came to its end, by itself."""
        with faults(self.path), transaction(self._db):
            self._db.execute("UPDATE run SET finished = ? WHERE seq = ?", (_utc(finished), self._seq(run_id)))

    # --- changing what is kept ----------------------------------------------------------------------------------------

    def widen(self, run_id: str, cells: Sequence[Cell]) -> None:
        """Give a run these cells, in this order; those that it has are among them."""
        with faults(self.path), transaction(self._db):
            seq = self._seq(run_id)
            self._db.executemany(
                "INSERT INTO cell (run, position, id, content) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (run, id) DO UPDATE SET position = excluded.position",
                [
                    (seq, at, cell.id, answers.write_text(self._db, cell.model_dump_json()))
                    for at, cell in enumerate(cells)
                ],
            )

    def restate(self, run_id: str, *, started: datetime, finished: datetime | None, slots: int | None) -> None:
        """When a run was, after more of it came to light."""
        with faults(self.path), transaction(self._db):
            self._db.execute(
                "UPDATE run SET started = ?, finished = ?, slots = ? WHERE seq = ?",
                (_utc(started), finished and _utc(finished), slots, self._seq(run_id)),
            )

    def remove(self, run_ids: Iterable[str]) -> None:
        """Forget runs, and every answer that no other run gave; then give the space back to the disk."""
        with faults(self.path):
            with transaction(self._db):
                for run_id in run_ids:
                    seq = self._seq(run_id)
                    self._db.execute("DELETE FROM result WHERE cell IN (SELECT seq FROM cell WHERE run = ?)", (seq,))
                    self._db.execute("DELETE FROM cell WHERE run = ?", (seq,))
                    self._db.execute("DELETE FROM run WHERE seq = ?", (seq,))
                schema.sweep(self._db)
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the file has its old size

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> tuple[RunInfo, ...]:
        """All runs, the last one first."""
        with faults(self.path):
            rows = self._db.execute(
                "SELECT id, started, finished, matrix_sha256, runner_version, slots,"
                " (SELECT count(*) FROM cell WHERE run = run.seq) AS cells,"
                " (SELECT count(DISTINCT cell) FROM result JOIN cell ON cell = cell.seq WHERE run = run.seq)"
                " AS finished_cells FROM run ORDER BY started DESC, run.seq DESC"
            ).fetchall()
            return tuple(RunInfo.model_validate(dict(row)) for row in rows)

    def load(self, run_id: str | None = None, *, consoles: bool = False) -> Run:
        """A run with its cells and results, by default the last matrix run. Consoles are read only when asked for."""
        with faults(self.path), snapshot(self._db):
            seq = self._seq(run_id)
            row = self._db.execute(
                "SELECT id, started, finished, matrix_sha256, runner_version, slots FROM run WHERE seq = ?", (seq,)
            ).fetchone()
            header = RunHeader.model_validate(dict(row))
            cells = {
                cell_seq: Cell.model_validate_json(answers.read_text(self._db, content))
                for cell_seq, content in self._db.execute(
                    "SELECT seq, content FROM cell WHERE run = ? ORDER BY position", (seq,)
                )
            }
            results = [
                self._result(row, cells[row["cell"]], self._console(header.id, cells[row["cell"]], row, consoles))
                for row in self._db.execute(
                    "SELECT result.* FROM result JOIN cell ON cell.seq = result.cell WHERE run = ? ORDER BY result.seq",
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

    def seconds(self) -> dict[str, dict[str, float]]:
        """What each cell took the last time that it ran, by acceleration, without its preparation."""
        found: dict[str, dict[str, float]] = {}
        with faults(self.path):
            for cell_id, accel, taken_s in self._db.execute(
                "SELECT cell.id, json_extract(body, '$.accel'), json_extract(body, '$.timings.total_s')"
                " - ifnull(json_extract(body, '$.timings.prepare_s'), 0)"
                " FROM result JOIN cell ON cell.seq = result.cell"
                " WHERE json_extract(body, '$.outcome') = ? ORDER BY result.seq DESC LIMIT ?",
                (Outcome.RAN, _LAST_RESULTS),
            ):
                if taken_s:
                    found.setdefault(cell_id, {}).setdefault(accel, taken_s)
        return found

    def finals(self) -> tuple[Final, ...]:
        """Of every run, the result of each cell that counts, without its answers; the earliest run first."""
        cells: dict[int, Cell] = {}
        found = []
        with faults(self.path), snapshot(self._db):
            for row in self._db.execute(
                "SELECT run.id AS run, run.started, cell.content, result.seq, result.body, result.answer_set,"
                " result.census_set, result.missing, json_extract(result.body, '$.outcome') AS outcome"
                " FROM result JOIN cell ON cell.seq = result.cell JOIN run ON run.seq = cell.run"
                " WHERE attempt = (SELECT max(attempt) FROM result WHERE cell = cell.seq)"
                " ORDER BY run.started, run.seq, cell.position"
            ):
                content = row["content"]
                if content not in cells:
                    cells[content] = Cell.model_validate_json(answers.read_text(self._db, content))
                found.append(
                    Final(
                        run=row["run"],
                        started=datetime.fromisoformat(row["started"]),
                        cell=cells[content],
                        outcome=Outcome(row["outcome"]),
                        seq=row["seq"],
                        body=row["body"],
                        answers=row["answer_set"],
                        census=row["census_set"],
                        missing=row["missing"],
                    )
                )
        return tuple(found)

    def result(self, final: Final, *, census: bool = True) -> CellResult:
        """The whole result, without its console and without what differs from boot to boot in its answers.

        Reading a census takes most of the time.
        """
        with faults(self.path), snapshot(self._db):
            row = self._db.execute("SELECT * FROM result WHERE seq = ?", (final.seq,)).fetchone()
            seen = {kind: self._steady(row, kind) for kind in ((OBSERVATIONS, CENSUS) if census else (OBSERVATIONS,))}
            return self._whole(row, final.cell, "", seen)

    def observed(self, final: Final) -> list[int]:
        """Numbers of the result's observations; equal ones have equal numbers."""
        with faults(self.path):
            return answers.members(self._db, OBSERVATIONS, final.answers)

    def observations(self, numbers: Iterable[int]) -> dict[int, Observation]:
        """What `observed` numbers, without what differs from boot to boot."""
        numbers = tuple(numbers)
        with faults(self.path):
            answers.read_steady(self._db, OBSERVATIONS, numbers, self._known[OBSERVATIONS])
        known = cast("dict[int, Observation]", self._known[OBSERVATIONS])
        return {number: known[number] for number in numbers}

    # --- parts ------------------------------------------------------------------------------------------------------

    def _result(self, row: sqlite3.Row, cell: Cell, console: str) -> CellResult:
        seen = {
            kind: list(answers.read(self._db, kind, _stored(row, kind), self._known[kind]))
            for kind in (OBSERVATIONS, CENSUS)
        }
        return self._whole(row, cell, console, seen)

    def _steady(self, row: sqlite3.Row, kind: Kind) -> Sequence[Answer]:
        rows = answers.members(self._db, kind, row[kind.sets])
        answers.read_steady(self._db, kind, rows, self._known[kind])
        return [self._known[kind][each] for each in rows]

    def _whole(self, row: sqlite3.Row, cell: Cell, console: str, seen: Mapping[Kind, Sequence[Answer]]) -> CellResult:
        parts = {
            "observations": seen[OBSERVATIONS],
            "census": seen.get(CENSUS, ()),
            "missing": [] if row["missing"] is None else answers.read_text(self._db, row["missing"]).split(),
        }
        return CellResult.model_validate({**json.loads(row["body"]), **parts, "cell": cell, "console": console})

    def _console(self, run_id: str, cell: Cell, row: sqlite3.Row, wanted: bool) -> str:
        return evidence.read_console(self.path.parent, run_id, cell.id, row["attempt"]) if wanted else ""

    def _next_attempt(self, run_id: str, cell_id: str) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT cell.seq, (SELECT count(*) FROM result WHERE cell = cell.seq) FROM cell WHERE run = ? AND id = ?",
            (self._seq(run_id), cell_id),
        ).fetchone()
        if row is None:
            raise InfraError(f"a result came of {cell_id}, which is not a cell of run {run_id}; it was not stored")
        return row[0], row[1] + 1

    def _seq(self, run_id: str | None) -> int:
        if run_id is None:
            rows = self._db.execute("SELECT seq, id FROM run ORDER BY started DESC, seq DESC").fetchall()
            row = next((row for row in rows if RunKind.of(row["id"]) is RunKind.MATRIX), None)
        else:
            row = self._db.execute("SELECT seq FROM run WHERE id = ?", (run_id,)).fetchone()
        if row and row[0] is not None:
            return int(row[0])
        if run_id is None:
            raise UserError(f"there are no results in {self.path}", hint="`runner matrix run` makes them")
        last = [row[0] for row in self._db.execute("SELECT id FROM run ORDER BY started DESC, seq DESC LIMIT 5")]
        raise UserError(f"no run {run_id!r} in {self.path}", hint=f"the last runs: {', '.join(last) or 'none'}")


def _body(result: CellResult) -> str:
    ended = {str(prog_type): failed for prog_type, failed in result.census_ended.items()}
    return json.dumps({**result.model_dump(mode="json", exclude=_APART), "census_ended": ended})


def _stored(row: sqlite3.Row, kind: Kind) -> Stored:
    return Stored(row[kind.sets], row[f"{kind.answers}_particulars"])


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _upgrade(path: Path, busy_s: float) -> None:
    """A reader cannot bring old tables up to date: do it as a writer first."""
    with faults(path), contextlib.closing(connect(path, read_only=True, busy_s=busy_s)) as connection:
        old = schema.version(connection) < len(schema.MIGRATIONS)
    if old:
        with ResultStore(path, busy_s=busy_s):
            pass
