"""A step of the schema: answers that each result listed by itself become sets that results share.

This reads the tables as they were then. It never changes, whatever becomes of runner.results.answers' callers.
"""

from __future__ import annotations

import json
import sqlite3
import zlib

from runner.results import answers


def regroup(db: sqlite3.Connection) -> None:
    """Between the statements of the step: the old tables are called old_*, the new ones are empty."""
    results = [row[0] for row in db.execute("SELECT seq FROM result ORDER BY seq").fetchall()]
    for kind in (answers.OBSERVATIONS, answers.CENSUS):
        for result in results:
            rows = db.execute(
                f"SELECT old.body, content.body FROM old_{kind.members} AS link"  # noqa: S608  names of tables
                f" JOIN old_{kind.answers} AS old ON old.seq = link.observation"
                " LEFT JOIN content ON content.seq = old.log WHERE link.result = ? ORDER BY link.position",
                (result,),
            ).fetchall()
            seen = [kind.model.model_validate({**json.loads(body), "log": _text(log)}) for body, log in rows]
            stored = answers.write(db, kind, seen)
            db.execute(
                f"UPDATE result SET {kind.sets} = ?, {kind.answers}_particulars = ? WHERE seq = ?",  # noqa: S608
                (stored.answers, stored.particulars, result),
            )


def _text(body: bytes | None) -> str:
    return "" if body is None else zlib.decompress(body).decode()
