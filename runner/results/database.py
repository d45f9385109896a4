"""How the results database is opened, locked and written to, and what a user is told when that fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from runner.caches import disk_fault
from runner.errors import InfraError
from runner.results import schema


def connect(path: Path, *, read_only: bool, busy_s: float) -> sqlite3.Connection:
    """Others are waited for so long: a reader may hold a checkpoint up for a moment.

    Raises sqlite3.Error, schema.ForeignDatabaseError. The tables may still be of an older version, or none."""
    path = path.absolute()
    query = ""
    if read_only:
        # SQLite wants to make a -shm file beside a WAL database, which a read-only folder does not let it
        settled = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
        query = "?immutable=1" if settled else "?mode=ro"
    # isolation_level None: transactions begin and end only where `transaction` and `snapshot` say so
    connection = sqlite3.connect(f"{path.as_uri()}{query}", uri=True, timeout=busy_s, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        schema.version(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a commit also survives a power cut
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold the database's write lock, which a killed process loses. InfraError when another process has it."""
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
    aside = (
        f"move it away ({path.name}-wal too): the next run makes a new one; raw answers are kept in {path.parent}/runs"
    )
    try:
        yield
    except schema.ForeignDatabaseError as error:
        raise InfraError(f"{path} is not usable: {error}", hint="update this program, or move the file away") from error
    except sqlite3.OperationalError as error:
        raise InfraError(f"{path}: {error}", hint="is the disk full, or the folder not writable?") from error
    except (sqlite3.DatabaseError, zlib.error, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise InfraError(f"{path} is corrupt: {str(error).splitlines()[0]}", hint=aside) from error
    except OSError as error:
        raise disk_fault(error, str(error.filename or path)) from error
