# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How the results database is laid out, opened, locked and written to, and what a user is told when that fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from runner.caches import disk_fault
from runner.errors import InfraError
from runner.results.packed import PackedError

APPLICATION_ID = 0x6B66756E  # "kfun", in the header of the file: tells this database from a foreign one
VERSION = 11  # of the tables. An older database is refused: its results are had again by a run

TABLES = (
    """CREATE TABLE content (      -- cells, what was asked, BPF objects: each once, by its digest
        seq INTEGER PRIMARY KEY,
        sha256 BLOB NOT NULL UNIQUE,
        body BLOB NOT NULL)          -- zstd""",
    """CREATE TABLE run (
        seq INTEGER PRIMARY KEY,     -- the order in which runs began
        id TEXT NOT NULL UNIQUE,
        started TEXT NOT NULL,       -- ISO 8601, UTC
        finished TEXT,               -- null while it goes on, and when it was killed
        sessions TEXT NOT NULL,      -- JSON: when it ran, [[from, to], ...]
        matrix_sha256 TEXT NOT NULL,
        runner_version TEXT NOT NULL,
        slots INTEGER,
        fresh INTEGER NOT NULL,
        document BLOB)               -- zstd of JSON: of a bisection, what runner.results.bisections says of it
    """,
    """CREATE TABLE cell (          -- every cell that is to run
        seq INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES run,
        position INTEGER NOT NULL,
        id TEXT NOT NULL,
        content INTEGER NOT NULL REFERENCES content,  -- model.Cell
        asked INTEGER REFERENCES content,             -- model.AskedCell
        UNIQUE (run, id))""",
    """CREATE TABLE base (          -- texts that results are compressed against
        seq INTEGER PRIMARY KEY,
        kernel TEXT NOT NULL,        -- the digest of the kernel whose results use it
        body BLOB NOT NULL)          -- zstd""",
    """CREATE TABLE text (          -- of results; one that is kept whole from another has the same
        seq INTEGER PRIMARY KEY,
        base INTEGER NOT NULL REFERENCES base,
        body BLOB NOT NULL)          -- zstd against the base: runner.results.packed""",
    """CREATE TABLE result (        -- several for a cell that was repeated; the last one counts
        seq INTEGER PRIMARY KEY,     -- the order in which cells finished
        cell INTEGER NOT NULL REFERENCES cell,
        attempt INTEGER NOT NULL,    -- 1, 2, ...
        outcome TEXT NOT NULL,       -- and what else is asked of thousands of results, without their texts
        cause TEXT NOT NULL,
        kernel TEXT NOT NULL,        -- its digest, empty when it was not prepared
        accel TEXT NOT NULL,
        taken_s REAL,                -- without the preparation
        guest TEXT NOT NULL,         -- digest of its GuestKey, empty when it was not prepared
        keepable INTEGER NOT NULL,   -- 0 disturbed, 1 a probe has no answer, 2 all have one
        boots INTEGER NOT NULL,      -- 0: all of it is kept from another result, or it never got so far
        from_snapshot INTEGER NOT NULL,  -- some of its answers are of a guest that was started so
        kept TEXT NOT NULL,          -- JSON: [model.Kept, ...]
        digest BLOB NOT NULL,        -- of the answers and all else that rows depend on
        text INTEGER NOT NULL REFERENCES text,
        UNIQUE (cell, attempt))""",
    "CREATE TABLE object (run INTEGER NOT NULL REFERENCES run, content INTEGER NOT NULL REFERENCES content)",
    "CREATE INDEX base_kernel ON base (kernel)",
    "CREATE INDEX result_guest ON result (guest)",
    # without these, each row that is deleted costs a look at every row that may refer to it
    "CREATE INDEX text_base ON text (base)",
    "CREATE INDEX result_text ON result (text)",
    "CREATE INDEX cell_content ON cell (content)",
    "CREATE INDEX cell_asked ON cell (asked)",
    "CREATE INDEX object_run ON object (run)",
    "CREATE INDEX object_content ON object (content)",
)


class ForeignDatabaseError(Exception):
    """The file is a database, but of another program, or of another version of this one."""


def connect(path: Path, *, read_only: bool, busy_s: float) -> sqlite3.Connection:
    """Others are waited for so long: a reader may hold a checkpoint up for a moment. A writer makes the tables.

    Raises sqlite3.Error, ForeignDatabaseError."""
    path = path.absolute()
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ForeignDatabaseError("it is no regular file")
    query = ""
    if read_only:
        # SQLite wants to make a -shm file beside a WAL database, which a read-only folder does not let it
        settled = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
        query = "?immutable=1" if settled else "?mode=ro"
    # isolation_level None: transactions begin and end only where `transaction` and `snapshot` say so
    connection = sqlite3.connect(f"{path.as_uri()}{query}", uri=True, timeout=busy_s, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        empty = _is_empty(connection)
        if read_only and empty:
            raise ForeignDatabaseError("it has no results")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a commit also survives a power cut
            if empty:
                _make(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Are there no tables yet? Raises ForeignDatabaseError when there are others than these."""
    application, found = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not (application or found or tables):
        return True
    if application != APPLICATION_ID:
        raise ForeignDatabaseError("it belongs to another program")
    if found != VERSION:
        raise ForeignDatabaseError(f"another version of this program wrote it (schema {found}, this one has {VERSION})")
    return False


def _make(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold the database's write lock, which a killed process loses. Raises InfraError when another process has it."""
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InfraError(f"another run is writing to {path}", hint="wait for its end") from None
    except OSError as error:
        raise disk_fault(error, f"cannot write to {path.parent}") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # on a full disk SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """What is read inside belongs together, whatever is being written meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn what can go wrong with the file `path` into an InfraError that says what to do."""
    aside = f"move it away ({path.name}-wal too): the next run makes a new one"
    try:
        yield
    except ForeignDatabaseError as error:
        raise InfraError(f"{path} is not usable: {error}", hint=f"{aside}, so run again") from error
    except sqlite3.OperationalError as error:
        raise InfraError(f"{path}: {error}", hint="is the disk full, or the folder not writable?") from error
    except (sqlite3.DatabaseError, PackedError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise InfraError(f"{path} is corrupt: {str(error).splitlines()[0]}", hint=aside) from error
    except OSError as error:
        raise disk_fault(error, str(error.filename or path)) from error
