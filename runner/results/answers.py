"""Answers in the database, each stored once: by their content, and the answers of a cell together as one set.

Two boots of one kernel differ in the addresses that the verifier prints, two builds in the BTF ids. These particulars
are taken out of an answer before it is compared, and kept with the result: what is read back is what came, to the
letter.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from runner.model import CensusObservation, Observation

Answer = Observation | CensusObservation

# What stands for a particular, in a text and in JSON; where there is one already, it is taken out as well.
_HOLE, _JSON_HOLE = "\x1a", r"\u001a"
# Each begins with a character of its own and looks back from there, so that `re` skips what cannot begin one.
_PARTICULAR = re.compile(r"\x1a|\\u001a|0(?<=\b0)x[0-9a-f]{12,16}\b|#(?<=\w#)\d{3,}\b")


@dataclass(frozen=True, slots=True)
class Kind:
    """The tables of one kind of answers."""

    answers: str  # every different one
    sets: str
    members: str
    model: type[Answer]


OBSERVATIONS = Kind("observation", "answer_set", "answer", Observation)
CENSUS = Kind("census", "census_set", "census_answer", CensusObservation)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a result refers to: its set, and the text with its particulars, if there are any."""

    answers: int
    particulars: int | None


def steady(text: str) -> tuple[str, list[str]]:
    """A log without its particulars, and these in their order."""
    return _taken(text, _HOLE)


def write(db: sqlite3.Connection, kind: Kind, answers: Sequence[Answer]) -> Stored:
    """Store answers, or find them. Inside a transaction of the caller's."""
    particulars: list[str] = []
    rows: list[tuple[int, bytes]] = []
    for answer in answers:
        body, of_body = _taken(answer.model_dump_json(exclude={"log"}), _JSON_HOLE)
        log, of_log = steady(answer.log)
        particulars += of_body + of_log
        rows.append(_answer(db, kind, body, log))
    return Stored(_set(db, kind, rows), write_text(db, "\n".join(particulars)) if particulars else None)


def read(
    db: sqlite3.Connection, kind: Kind, stored: Stored, known: dict[int, Answer] | None = None
) -> Iterator[Answer]:
    """The answers as they came. Raises sqlite3.DatabaseError when they are not what was stored.

    `known` keeps those that have no particulars, by their row: several cells then share them in memory.
    """
    known = {} if known is None else known
    text = read_text(db, stored.particulars) if stored.particulars is not None else ""
    particulars = iter(text.split("\n") if text else ())
    for row in db.execute(f"{_rows(kind)} ORDER BY position", (stored.answers,)).fetchall():
        body, log = _checked(kind, row)
        if _JSON_HOLE not in body and _HOLE not in log:
            if row[0] not in known:
                known[row[0]] = _parsed(kind, body, log)
            yield known[row[0]]
            continue
        yield _parsed(kind, _filled(body, _JSON_HOLE, particulars), _filled(log, _HOLE, particulars))


def read_steady(db: sqlite3.Connection, kind: Kind, stored: Stored, known: dict[int, Answer]) -> list[Answer]:
    """The answers without their particulars, which no verdict looks at. `known` keeps them, by their row.

    Raises sqlite3.DatabaseError.
    """
    links = f"SELECT observation FROM {kind.members} WHERE answers = ? ORDER BY position"  # noqa: S608
    wanted = [row[0] for row in db.execute(links, (stored.answers,))]
    if not known.keys() >= set(wanted):
        for row in db.execute(_rows(kind), (stored.answers,)).fetchall():
            if row[0] not in known:
                known[row[0]] = _parsed(kind, *_checked(kind, row))
    return [known[seq] for seq in wanted]


def write_text(db: sqlite3.Connection, text: str) -> int:
    """Store a text, or find it."""
    sha256 = digest(text)
    row = db.execute("SELECT seq FROM content WHERE sha256 = ?", (sha256,)).fetchone()
    if row:
        return int(row[0])
    added = db.execute("INSERT INTO content (sha256, body) VALUES (?, ?)", (sha256, zlib.compress(text.encode())))
    return int(added.lastrowid or 0)


def read_text(db: sqlite3.Connection, content: int) -> str:
    """Raises sqlite3.DatabaseError when it is not there."""
    row = db.execute("SELECT body FROM content WHERE seq = ?", (content,)).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a stored text is gone")
    return zlib.decompress(row[0]).decode()


def digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _rows(kind: Kind) -> str:
    return (
        f"SELECT it.seq, it.sha256, it.body, log, content.body FROM {kind.members}"  # noqa: S608  names of tables
        f" JOIN {kind.answers} AS it ON it.seq = observation LEFT JOIN content ON content.seq = log WHERE answers = ?"
    )


def _checked(kind: Kind, row: sqlite3.Row) -> tuple[str, str]:
    """The body and the log of a row, without their particulars."""
    _, sha256, body, log, packed = row
    if log is not None and packed is None:
        raise sqlite3.DatabaseError("a stored text is gone")
    text = "" if packed is None else zlib.decompress(packed).decode()
    if digest(body, text) != sha256:
        raise sqlite3.DatabaseError(f"an answer in {kind.answers} is not what was stored")
    return body, text


def _parsed(kind: Kind, body: str, log: str) -> Answer:
    return kind.model.model_validate({**json.loads(body), "log": log})


def _taken(text: str, hole: str) -> tuple[str, list[str]]:
    taken = _PARTICULAR.findall(text)
    return _PARTICULAR.sub(lambda _: hole, text) if taken else text, taken


def _filled(template: str, hole: str, particulars: Iterator[str]) -> str:
    first, *rest = template.split(hole)
    own = tuple(islice(particulars, len(rest)))
    if len(own) < len(rest):
        raise sqlite3.DatabaseError("the particulars of an answer are gone")
    return first + "".join(it + part for it, part in zip(own, rest, strict=True)) if rest else template


def _answer(db: sqlite3.Connection, kind: Kind, body: str, log: str) -> tuple[int, bytes]:
    sha256 = digest(body, log)
    row = db.execute(f"SELECT seq FROM {kind.answers} WHERE sha256 = ?", (sha256,)).fetchone()  # noqa: S608
    if row:
        return int(row[0]), sha256
    added = db.execute(
        f"INSERT INTO {kind.answers} (sha256, body, log) VALUES (?, ?, ?)",  # noqa: S608
        (sha256, body, write_text(db, log) if log else None),
    )
    return int(added.lastrowid or 0), sha256


def _set(db: sqlite3.Connection, kind: Kind, rows: Iterable[tuple[int, bytes]]) -> int:
    rows = tuple(rows)
    sha256 = hashlib.sha256(b"".join(each for _, each in rows)).digest()
    row = db.execute(f"SELECT seq FROM {kind.sets} WHERE sha256 = ?", (sha256,)).fetchone()  # noqa: S608
    if row:
        return int(row[0])
    seq = int(db.execute(f"INSERT INTO {kind.sets} (sha256) VALUES (?)", (sha256,)).lastrowid or 0)  # noqa: S608
    db.executemany(
        f"INSERT INTO {kind.members} (answers, position, observation) VALUES (?, ?, ?)",  # noqa: S608
        [(seq, at, answer) for at, (answer, _) in enumerate(rows)],
    )
    return seq
