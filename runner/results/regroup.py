"""A step of the schema: answers that each result listed by itself become sets that results share.

This reads and writes the tables as they were then, where a set had a row for each of its answers.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence

from runner.results import answers
from runner.results.answers import CENSUS, OBSERVATIONS, Kind, Part

_MEMBERS = {OBSERVATIONS: "answer", CENSUS: "census_answer"}


def regroup(db: sqlite3.Connection) -> None:
    """Between the statements of the step: the old tables are called old_*, the new ones are empty."""
    results = [row[0] for row in db.execute("SELECT seq FROM result ORDER BY seq").fetchall()]
    for kind in (OBSERVATIONS, CENSUS):
        links = _MEMBERS[kind]
        for result in results:
            rows = db.execute(
                f"SELECT old.body, content.body FROM old_{links} AS link"  # noqa: S608  names of tables
                f" JOIN old_{kind.answers} AS old ON old.seq = link.observation"
                " LEFT JOIN content ON content.seq = old.log WHERE link.result = ? ORDER BY link.position",
                (result,),
            ).fetchall()
            seen = [kind.model.model_validate({**json.loads(body), "log": _text(log)}) for body, log in rows]
            parts, particulars = answers.taken_apart(seen)
            db.execute(
                f"UPDATE result SET {kind.sets} = ?, {kind.answers}_particulars = ? WHERE seq = ?",  # noqa: S608
                (_set(db, kind, parts), answers.write_particulars(db, particulars), result),
            )


def _set(db: sqlite3.Connection, kind: Kind, parts: Sequence[Part]) -> int:
    sha256 = answers.set_digest(parts)
    row = db.execute(f"SELECT seq FROM {kind.sets} WHERE sha256 = ?", (sha256,)).fetchone()  # noqa: S608
    if row:
        return int(row[0])
    seq = int(db.execute(f"INSERT INTO {kind.sets} (sha256) VALUES (?)", (sha256,)).lastrowid or 0)  # noqa: S608
    db.executemany(
        f"INSERT INTO {_MEMBERS[kind]} (answers, position, observation) VALUES (?, ?, ?)",  # noqa: S608
        [(seq, at, answers.write_part(db, kind, part)) for at, part in enumerate(parts)],
    )
    return seq


def _text(body: bytes | None) -> str:
    return "" if body is None else zlib.decompress(body).decode()
