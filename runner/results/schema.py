"""The database's tables, and how an older database becomes a newer one.

What was answered is stored by its content: two nights with the same answers share all rows but the links to them
(`answer`, `census_answer`). Logs and cells are compressed and shared the same way.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x6B66756E  # "kfun", in the header of the file: tells this database from a foreign one

# MIGRATIONS[n] leads from version n to n + 1. Never change one that was released: add another.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE content (      -- texts, by digest
            seq INTEGER PRIMARY KEY,
            sha256 BLOB NOT NULL UNIQUE,
            body BLOB NOT NULL)          -- zlib of UTF-8""",
        """CREATE TABLE run (
            seq INTEGER PRIMARY KEY,     -- the order in which runs began
            id TEXT NOT NULL UNIQUE,
            started TEXT NOT NULL,       -- ISO 8601, UTC
            finished TEXT,               -- null while it goes on, and when it was killed
            matrix_sha256 TEXT NOT NULL,
            runner_version TEXT NOT NULL,
            slots INTEGER)""",
        """CREATE TABLE cell (          -- every cell that is to run
            seq INTEGER PRIMARY KEY,
            run INTEGER NOT NULL REFERENCES run,
            position INTEGER NOT NULL,
            id TEXT NOT NULL,
            content INTEGER NOT NULL REFERENCES content,  -- model.Cell
            UNIQUE (run, id))""",
        """CREATE TABLE result (        -- several for a cell that was repeated; the last one counts
            seq INTEGER PRIMARY KEY,     -- the order in which cells finished
            cell INTEGER NOT NULL REFERENCES cell,
            attempt INTEGER NOT NULL,    -- 1, 2, ...
            body TEXT NOT NULL,          -- model.CellResult without cell, answers and console
            UNIQUE (cell, attempt))""",
        """CREATE TABLE observation (   -- model.Observation
            seq INTEGER PRIMARY KEY,
            sha256 BLOB NOT NULL UNIQUE,
            body TEXT NOT NULL,          -- without its log
            log INTEGER REFERENCES content)""",
        """CREATE TABLE census (        -- model.CensusObservation
            seq INTEGER PRIMARY KEY,
            sha256 BLOB NOT NULL UNIQUE,
            body TEXT NOT NULL,          -- without its log
            log INTEGER REFERENCES content)""",
        """CREATE TABLE answer (
            result INTEGER NOT NULL REFERENCES result,
            position INTEGER NOT NULL,
            observation INTEGER NOT NULL REFERENCES observation,
            PRIMARY KEY (result, position)) WITHOUT ROWID""",
        """CREATE TABLE census_answer (
            result INTEGER NOT NULL REFERENCES result,
            position INTEGER NOT NULL,
            observation INTEGER NOT NULL REFERENCES census,
            PRIMARY KEY (result, position)) WITHOUT ROWID""",
    ),
    # CellResult.missing, one name a line; null in older results
    ("ALTER TABLE result ADD COLUMN missing INTEGER REFERENCES content",),
    (
        # `crashed`, names of probes, became `crashes`: each with what the console said
        """UPDATE result SET body = json_remove(json_set(body, '$.crashes', (
            SELECT json(json_group_array(json_object('probe', value, 'oops', ''))) FROM json_each(body, '$.crashed')
            )), '$.crashed')""",
    ),
)


class ForeignDatabaseError(Exception):
    """The file is a database, but of another program, or of a newer version of this one."""


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables, 0 in an empty file. Raises ForeignDatabaseError, sqlite3.DatabaseError."""
    application = _pragma(connection, "application_id")
    found = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (application or found or tables):
        raise ForeignDatabaseError("it belongs to another program")
    if found > len(MIGRATIONS):
        raise ForeignDatabaseError(
            f"it was written by a newer version of this program (schema {found}, known is {len(MIGRATIONS)})"
        )
    return found


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date: one transaction per step, so that a kill leaves a whole version."""
    for step in range(version(connection), len(MIGRATIONS)):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {step + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
