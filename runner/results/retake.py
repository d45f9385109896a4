"""A step of the schema: particulars are taken out of answers anew, where they held what a verdict looks at."""

from __future__ import annotations

import re
import sqlite3

from runner.results import answers
from runner.results.answers import CENSUS, OBSERVATIONS, Kind, Stored

_NOT_FOUND = re.compile(r"^#(200[2-9]\d{6}|195896080)$", re.MULTILINE)  # libbpf's numbers; no BTF id is so large


def retake(db: sqlite3.Connection) -> None:
    """Store the answers of each such result again. What nothing refers to any more goes with the next pruning."""
    for kind in (OBSERVATIONS, CENSUS):
        rows = db.execute(
            f"SELECT seq, {kind.sets}, {kind.answers}_particulars FROM result"  # noqa: S608  names of tables
            f" WHERE {kind.answers}_particulars IS NOT NULL"
        ).fetchall()
        for result, seen, particulars in rows:
            if _NOT_FOUND.search(answers.read_text(db, particulars)):
                _retake(db, kind, result, Stored(seen, particulars))


def _retake(db: sqlite3.Connection, kind: Kind, result: int, stored: Stored) -> None:
    new = answers.write(db, kind, list(answers.read(db, kind, stored)))
    db.execute(
        f"UPDATE result SET {kind.sets} = ?, {kind.answers}_particulars = ? WHERE seq = ?",  # noqa: S608
        (new.answers, new.particulars, result),
    )
