"""The database's tables, and how an older database becomes a newer one.

What was answered is stored by its content (runner.results.answers): two nights with the same answers share all of
them. Logs and cells are compressed and shared the same way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from runner.results.regroup import regroup
from runner.results.retake import retake

Step = str | Callable[[sqlite3.Connection], None]

APPLICATION_ID = 0x6B66756E  # "kfun", in the header of the file: tells this database from a foreign one

# MIGRATIONS[n] leads from version n to n + 1. Never change one that was released: add another.
MIGRATIONS: tuple[tuple[Step, ...], ...] = (
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
    (
        # `crashed`, names of probes, became `crashes`: each with what the console said
        """UPDATE result SET body = json_remove(json_set(body, '$.crashes', (
            SELECT json(json_group_array(json_object('probe', value, 'oops', ''))) FROM json_each(body, '$.crashed')
            )), '$.crashed')""",
    ),
    # CellResult.missing, one name a line; null in older results
    ("ALTER TABLE result ADD COLUMN missing INTEGER REFERENCES content",),
    (
        # each result listed its answers; now results with the same answers share one set of them
        "ALTER TABLE observation RENAME TO old_observation",
        "ALTER TABLE census RENAME TO old_census",
        "ALTER TABLE answer RENAME TO old_answer",
        "ALTER TABLE census_answer RENAME TO old_census_answer",
        """CREATE TABLE observation (   -- model.Observation
            seq INTEGER PRIMARY KEY,
            sha256 BLOB NOT NULL UNIQUE,
            body TEXT NOT NULL,          -- without its log
            log INTEGER REFERENCES content)  -- without its particulars""",
        """CREATE TABLE census (        -- model.CensusObservation
            seq INTEGER PRIMARY KEY,
            sha256 BLOB NOT NULL UNIQUE,
            body TEXT NOT NULL,
            log INTEGER REFERENCES content)""",
        "CREATE TABLE answer_set (seq INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE)",
        "CREATE TABLE census_set (seq INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE)",
        """CREATE TABLE answer (
            answers INTEGER NOT NULL REFERENCES answer_set,
            position INTEGER NOT NULL,
            observation INTEGER NOT NULL REFERENCES observation,
            PRIMARY KEY (answers, position)) WITHOUT ROWID""",
        """CREATE TABLE census_answer (
            answers INTEGER NOT NULL REFERENCES census_set,
            position INTEGER NOT NULL,
            observation INTEGER NOT NULL REFERENCES census,
            PRIMARY KEY (answers, position)) WITHOUT ROWID""",
        "ALTER TABLE result ADD COLUMN answer_set INTEGER REFERENCES answer_set",
        "ALTER TABLE result ADD COLUMN observation_particulars INTEGER REFERENCES content",
        "ALTER TABLE result ADD COLUMN census_set INTEGER REFERENCES census_set",
        "ALTER TABLE result ADD COLUMN census_particulars INTEGER REFERENCES content",
        regroup,
        "DROP TABLE old_answer",
        "DROP TABLE old_census_answer",
        "DROP TABLE old_observation",
        "DROP TABLE old_census",
        # logs that nothing refers to any more: what is left of them is without its particulars
        """DELETE FROM content WHERE seq NOT IN (
            SELECT content FROM cell UNION SELECT log FROM observation WHERE log IS NOT NULL
            UNION SELECT log FROM census WHERE log IS NOT NULL
            UNION SELECT observation_particulars FROM result WHERE observation_particulars IS NOT NULL
            UNION SELECT census_particulars FROM result WHERE census_particulars IS NOT NULL
            UNION SELECT missing FROM result WHERE missing IS NOT NULL)""",
        "CREATE INDEX result_answers ON result (answer_set)",
        "CREATE INDEX result_census ON result (census_set)",
        # without these, each row that goes costs a look at every row that may refer to it
        "CREATE INDEX answer_observation ON answer (observation)",
        "CREATE INDEX census_observation ON census_answer (observation)",
        "CREATE INDEX observation_log ON observation (log)",
        "CREATE INDEX census_log ON census (log)",
        "CREATE INDEX cell_content ON cell (content)",
        "CREATE INDEX result_asked ON result (observation_particulars)",
        "CREATE INDEX result_named ON result (census_particulars)",
        "CREATE INDEX result_missing ON result (missing)",
    ),
    (
        # a set of answers is a list of their rows: with a row for each, the sets were most of the database
        *(
            statement
            for sets, links in (("answer_set", "answer"), ("census_set", "census_answer"))
            for statement in (
                f"ALTER TABLE {sets} ADD COLUMN members TEXT NOT NULL DEFAULT '[]'",  # JSON
                f"""UPDATE {sets} SET members = (SELECT json_group_array(observation) FROM (
                    SELECT observation FROM {links} WHERE answers = {sets}.seq ORDER BY position))""",  # noqa: S608
                f"DROP TABLE {links}",
            )
        ),
    ),
    # what libbpf says of a call that it did not find was taken out of logs, as if it were a BTF id
    (retake,),
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
    found = version(connection)
    for step in range(found, len(MIGRATIONS)):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            for statement in MIGRATIONS[step]:
                if callable(statement):
                    statement(connection)
                else:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {step + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    if 0 < found < len(MIGRATIONS):
        connection.execute("VACUUM")  # what older tables took


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def sweep(connection: sqlite3.Connection) -> None:
    """Delete what nothing refers to any more. Inside a transaction of the caller's."""
    for sets, rows in (("answer_set", "observation"), ("census_set", "census")):
        used = f"(SELECT {sets} FROM result WHERE {sets} IS NOT NULL)"  # noqa: S608  names of tables
        connection.execute(f"DELETE FROM {sets} WHERE seq NOT IN {used}")  # noqa: S608
        named = f"(SELECT value FROM {sets}, json_each(members))"  # noqa: S608
        connection.execute(f"DELETE FROM {rows} WHERE seq NOT IN {named}")  # noqa: S608
    connection.execute(
        """DELETE FROM content WHERE seq NOT IN (
            SELECT content FROM cell UNION SELECT log FROM observation WHERE log IS NOT NULL
            UNION SELECT log FROM census WHERE log IS NOT NULL
            UNION SELECT observation_particulars FROM result WHERE observation_particulars IS NOT NULL
            UNION SELECT census_particulars FROM result WHERE census_particulars IS NOT NULL
            UNION SELECT missing FROM result WHERE missing IS NOT NULL)"""
    )
