"""Judged rows, kept beside the store in rows.db: what is asked over all runs then judges only what is new.

Rows are a function of all that a result says (`Final.digest`) and of all that a project expects, and are found by both.
They have no logs: equal digests differ in these. The file may be deleted; what it held is judged again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic_core import from_json, to_json

from runner.model import Row, Verdict
from runner.results.database import transaction
from runner.results.packed import NO_BASE

NAME = "rows.db"
_VERSION = 1
_KEPT = 3  # sets of expectations: of two matrices in turn, and the one before an edit
_BUSY_S = 5.0

_TABLES = (  # the body of a chunk: zstd of JSON lines
    "CREATE TABLE chunk (seq INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, body BLOB NOT NULL)",
    "CREATE TABLE expectations (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE)",
    """CREATE TABLE judged (
        expectations INTEGER NOT NULL REFERENCES expectations,
        answers BLOB NOT NULL,       -- Final.digest
        states INTEGER NOT NULL,     -- the chunk of the rows with a state
        others TEXT NOT NULL,        -- JSON: the chunk of the other rows of each subject
        PRIMARY KEY (expectations, answers)) WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """The chunks of one result's rows."""

    states: int
    others: str

    def of(self, subject: str) -> int | None:
        """The chunk of the rows about a subject that have no state."""
        found: int | None = from_json(self.others).get(subject)
        return found


class RowCache:
    """`with RowCache(path, expectations) as rows:`. Without a path, or where none can be written, it is in memory.

    Raises sqlite3.DatabaseError, zstandard.ZstdError or ValueError when the file is damaged.
    """

    def __init__(self, path: Path | None, expectations: str) -> None:
        self._path = path
        self._expectations = expectations
        self._open = ExitStack()
        self._chunks: dict[int, tuple[Row, ...]] = {}
        self._rows: dict[bytes, Row] = {}  # equal rows are one object
        self._lines: dict[int, tuple[Row, bytes]] = {}  # by the id of a row, which is kept with it
        self._stored: dict[tuple[int, ...], int] = {}  # chunks, by the ids of their rows

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            try:
                self._db = stack.enter_context(closing(_connect(self._path)))
                self._seq = self._known()
            except sqlite3.OperationalError:  # not writable, full, or another process writes for long
                self._db = stack.enter_context(closing(_connect(None)))
                self._seq = self._known()
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def judged(self) -> dict[bytes, Judged]:
        """What is there, by the digest of the result."""
        rows = self._db.execute("SELECT answers, states, others FROM judged WHERE expectations = ?", (self._seq,))
        return {answers: Judged(states, others) for answers, states, others in rows}

    def add(self, judged: Iterable[tuple[bytes, Sequence[Row]]]) -> dict[bytes, Judged]:
        """Keep the rows of results. They are kept together, or where that fails, for as long as this is open."""
        with transaction(self._db):
            return {digest: self._add(digest, rows) for digest, rows in judged}

    def rows(self, chunk: int | None) -> tuple[Row, ...]:
        """The rows of a chunk. The same object each time."""
        if chunk is None:
            return ()
        if chunk not in self._chunks:
            (body,) = self._db.execute("SELECT body FROM chunk WHERE seq = ?", (chunk,)).fetchone()
            lines = NO_BASE.unpack(body).split(b"\n")
            self._chunks[chunk] = tuple(self._rows.get(it) or self._row(it) for it in lines if it)
        return self._chunks[chunk]

    def _known(self) -> int:
        """The number of the expectations."""
        row = self._db.execute("SELECT seq FROM expectations WHERE digest = ?", (self._expectations,)).fetchone()
        if row:
            return int(row[0])
        with transaction(self._db):
            seq = self._db.execute("INSERT INTO expectations (digest) VALUES (?)", (self._expectations,)).lastrowid or 0
            older = self._db.execute("SELECT seq FROM expectations ORDER BY seq DESC LIMIT -1 OFFSET ?", (_KEPT,))
            for (old,) in older.fetchall():
                self._db.execute("DELETE FROM judged WHERE expectations = ?", (old,))
                self._db.execute("DELETE FROM expectations WHERE seq = ?", (old,))
                _sweep(self._db)
            return seq

    def _add(self, digest: bytes, rows: Sequence[Row]) -> Judged:
        others: dict[str, list[Row]] = {}
        for row in rows:
            if not row.state:
                others.setdefault(row.subject, []).append(row)
        chunks = {subject: self._chunk(mine) for subject, mine in others.items()}
        found = Judged(self._chunk([row for row in rows if row.state]), json.dumps(chunks))
        self._db.execute(
            "INSERT OR REPLACE INTO judged (expectations, answers, states, others) VALUES (?, ?, ?, ?)",
            (self._seq, digest, found.states, found.others),
        )
        return found

    def _chunk(self, rows: Sequence[Row]) -> int:
        """Store them, or find them."""
        ids = tuple(map(id, rows))
        if ids not in self._stored:
            self._stored[ids] = self._store(b"\n".join(map(self._line, rows)))
        return self._stored[ids]

    def _line(self, row: Row) -> bytes:
        if id(row) not in self._lines:
            self._lines[id(row)] = row, to_json(_written(row))
        return self._lines[id(row)][1]

    def _store(self, text: bytes) -> int:
        sha256 = hashlib.sha256(text).digest()
        row = self._db.execute("SELECT seq FROM chunk WHERE sha256 = ?", (sha256,)).fetchone()
        if row:
            return int(row[0])
        added = self._db.execute("INSERT INTO chunk (sha256, body) VALUES (?, ?)", (sha256, NO_BASE.pack(text)))
        return int(added.lastrowid or 0)

    def _row(self, line: bytes) -> Row:
        values = from_json(line)
        if "verdict" in values:
            values["verdict"] = Verdict(values["verdict"])
        return self._rows.setdefault(line, Row(**values))


_DEFAULTS: Mapping[str, object] = {
    it.name: None if it.default is MISSING and it.default_factory is MISSING else
    it.default if it.default is not MISSING else {}
    for it in fields(Row)
}  # fmt: skip


def _written(row: Row) -> dict[str, object]:
    values = {name: getattr(row, name) for name in _DEFAULTS if name != "log"}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path or ":memory:", timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            with transaction(connection):
                for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    connection.execute(f"DROP TABLE {name}")
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _sweep(db: sqlite3.Connection) -> None:
    used = "SELECT states FROM judged UNION SELECT value FROM judged, json_each(others)"
    db.execute(f"DELETE FROM chunk WHERE seq NOT IN ({used})")  # noqa: S608


def retain(path: Path, digests: Iterable[bytes]) -> None:
    """Delete the rows of all other results. A file that is not usable is deleted whole."""
    wanted = set(digests)
    try:
        with closing(_connect(path)) as db:
            with transaction(db):
                gone = {row[0] for row in db.execute("SELECT answers FROM judged")} - wanted
                db.executemany("DELETE FROM judged WHERE answers = ?", [(each,) for each in gone])
                _sweep(db)
            db.execute("VACUUM")
    except sqlite3.Error:
        path.unlink(missing_ok=True)
