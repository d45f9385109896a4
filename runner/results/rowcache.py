# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Judged rows, kept beside the store in rows.db: what is asked over all runs then judges only what is new.

Rows are a function of all that a result says (`StoredResult.digest`) and of all that a project expects, and are found
by both. They have no logs: equal digests differ in these. The file may be deleted; what it held is judged again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from pydantic_core import from_json, to_json

from runner.model import Row, Verdict
from runner.results.database import transaction
from runner.results.packed import NO_BASE

NAME = "rows.db"
_VERSION = 3
_KEPT = 3  # sets of expectations: of two matrices in turn, and the one before an edit
_BUSY_S = 5.0

_TABLES = (  # the body of a chunk: zstd of JSON lines, or of one JSON list
    "CREATE TABLE chunk (seq INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, body BLOB NOT NULL)",
    "CREATE TABLE expectations (seq INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE)",
    """CREATE TABLE judged (
        expectations INTEGER NOT NULL REFERENCES expectations,
        answers BLOB NOT NULL,       -- StoredResult.digest
        states INTEGER NOT NULL,     -- the chunk of the rows with a state
        others TEXT NOT NULL,        -- JSON: the chunk of the other rows of each subject
        places INTEGER NOT NULL,     -- the chunk of the subject of each row, null where it has a state
        PRIMARY KEY (expectations, answers)) WITHOUT ROWID""",
)


@dataclass(frozen=True, slots=True)
class RowChunks:
    """The chunks of one result's rows."""

    states: int
    others: str
    places: int

    def of(self, subject: str) -> int | None:
        """The chunk of the rows about a subject that have no state."""
        found: int | None = from_json(self.others).get(subject)
        return found


@contextmanager
def row_cache(path: Path | None, expectations: str) -> Iterator[RowCache]:
    """Without a path, or where none can be written, it is in memory.

    Raises sqlite3.DatabaseError, zstandard.ZstdError or ValueError when the file is damaged.
    """
    try:
        db = _connect(path, expectations)
    except sqlite3.OperationalError:  # not writable, full, or another process writes for long
        db = _connect(None, expectations)
    with closing(db):
        yield RowCache(db, db.execute("SELECT seq FROM expectations WHERE digest = ?", (expectations,)).fetchone()[0])


class RowCache:
    """The rows of one set of expectations, `expectations` in the database."""

    def __init__(self, db: sqlite3.Connection, expectations: int) -> None:
        self._db = db
        self._expectations = expectations
        self._chunks: dict[int, tuple[Row, ...]] = {}
        self._rows: dict[bytes, Row] = {}  # equal rows are one object
        self._stored: dict[tuple[int, ...], tuple[int, Sequence[Row]]] = {}  # chunks, by the ids of their rows

    def judged(self) -> dict[bytes, RowChunks]:
        """What is there, by the digest of the result."""
        query = "SELECT answers, states, others, places FROM judged WHERE expectations = ?"
        return {row[0]: RowChunks(*row[1:]) for row in self._db.execute(query, (self._expectations,))}

    def add(self, judged: Iterable[tuple[bytes, Sequence[Row]]]) -> dict[bytes, RowChunks]:
        """Keep the rows of results, all of them or none."""
        with transaction(self._db):
            return {digest: self._add(digest, rows) for digest, rows in judged}

    def rows(self, chunk: int | None) -> tuple[Row, ...]:
        """The rows of a chunk. The same object each time."""
        if chunk is None:
            return ()
        if chunk not in self._chunks:
            lines = self._body(chunk).split(b"\n")
            self._chunks[chunk] = tuple(self._rows.get(it) or self._row(it) for it in lines if it)
        return self._chunks[chunk]

    def every(self, judged: RowChunks) -> tuple[Row, ...]:
        """All rows of a result, in their order."""
        others = {subject: iter(self.rows(chunk)) for subject, chunk in from_json(judged.others).items()}
        rows = {None: iter(self.rows(judged.states)), **others}
        return tuple(next(rows[subject]) for subject in from_json(self._body(judged.places)))

    def _body(self, chunk: int) -> bytes:
        found = self._db.execute("SELECT body FROM chunk WHERE seq = ?", (chunk,)).fetchone()
        if found is None:
            raise ValueError("another process deleted these rows")
        return NO_BASE.unpack(found[0])

    def _add(self, digest: bytes, rows: Sequence[Row]) -> RowChunks:
        others: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if not row.state:
                others[row.subject].append(row)
        chunks = {subject: self._chunk(mine) for subject, mine in others.items()}
        places = self._kept(to_json([None if row.state else row.subject for row in rows]))
        found = RowChunks(self._chunk([row for row in rows if row.state]), json.dumps(chunks), places)
        self._db.execute(
            "INSERT OR REPLACE INTO judged (expectations, answers, states, others, places) VALUES (?, ?, ?, ?, ?)",
            (self._expectations, digest, found.states, found.others, found.places),
        )
        return found

    def _chunk(self, rows: Sequence[Row]) -> int:
        """Store them, or find them. Rows that were stored stay in memory, so that no other has the id of one."""
        ids = tuple(map(id, rows))
        if ids not in self._stored:
            self._stored[ids] = self._kept(b"\n".join(to_json(_written(row)) for row in rows)), rows
        return self._stored[ids][0]

    def _kept(self, body: bytes) -> int:
        """The chunk, stored or found."""
        sha256 = hashlib.sha256(body).digest()
        query = "SELECT seq FROM chunk WHERE sha256 = ?"
        if found := self._db.execute(query, (sha256,)).fetchone():
            return int(found[0])
        added = self._db.execute("INSERT INTO chunk (sha256, body) VALUES (?, ?)", (sha256, NO_BASE.pack(body)))
        return int(added.lastrowid or 0)

    def _row(self, line: bytes) -> Row:
        values = from_json(line)
        if "verdict" in values:
            values["verdict"] = Verdict(values["verdict"])
        return self._rows.setdefault(line, Row(**values))


_DEFAULTS: Mapping[str, object] = {
    it.name: it.default if it.default is not MISSING else {} if it.default_factory is not MISSING else None
    for it in fields(Row)
}


def _written(row: Row) -> dict[str, object]:
    values = {name: getattr(row, name) for name in _DEFAULTS if name != "log"}
    return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


def _connect(path: Path | None, expectations: str) -> sqlite3.Connection:
    """With the expectations among those that are kept, the oldest of which go."""
    db = sqlite3.connect(path or ":memory:", timeout=_BUSY_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            with transaction(db):
                for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    db.execute(f"DROP TABLE {name}")
                for statement in _TABLES:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")
        if not db.execute("SELECT 1 FROM expectations WHERE digest = ?", (expectations,)).fetchone():
            with transaction(db):
                db.execute("INSERT OR IGNORE INTO expectations (digest) VALUES (?)", (expectations,))
                kept = f"SELECT seq FROM expectations ORDER BY seq DESC LIMIT {_KEPT}"  # noqa: S608
                db.execute(f"DELETE FROM judged WHERE expectations NOT IN ({kept})")  # noqa: S608
                db.execute(f"DELETE FROM expectations WHERE seq NOT IN ({kept})")  # noqa: S608
                _sweep(db)
    except BaseException:
        db.close()
        raise
    return db


def _sweep(db: sqlite3.Connection) -> None:
    used = "SELECT states FROM judged UNION SELECT places FROM judged UNION SELECT value FROM judged, json_each(others)"
    db.execute(f"DELETE FROM chunk WHERE seq NOT IN ({used})")  # noqa: S608


def retain(path: Path, digests: Iterable[bytes]) -> None:
    """Delete the rows of all other results. A file that is not usable is deleted whole."""
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as db:
            with transaction(db):
                db.execute("CREATE TEMP TABLE wanted (answers BLOB PRIMARY KEY)")
                db.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((each,) for each in digests))
                db.execute("DELETE FROM judged WHERE answers NOT IN (SELECT answers FROM wanted)")
                _sweep(db)
            db.execute("VACUUM")
    except sqlite3.Error:
        path.unlink(missing_ok=True)
