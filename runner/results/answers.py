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

from pydantic_core import from_json

from runner.model import CensusObservation, Observation

Answer = Observation | CensusObservation

# What stands for a particular, in a text and in JSON; where there is one already, it is taken out as well.
_HOLE, _JSON_HOLE = "\x1a", r"\u001a"
# Each begins with a character of its own and looks back from there, so that `re` skips what cannot begin one.
# `unknown#` has no BTF id behind it, but what libbpf says of a call that it did not find; verdicts look at that.
_PARTICULAR = re.compile(r"\x1a|\\u001a|0(?<=\b0)x[0-9a-f]{12,16}\b|#(?<=\w#)(?<!unknown#)\d{3,}\b")


@dataclass(frozen=True, slots=True)
class Kind:
    """The tables of one kind of answers."""

    answers: str  # every different one
    sets: str
    model: type[Answer]


OBSERVATIONS = Kind("observation", "answer_set", Observation)
CENSUS = Kind("census", "census_set", CensusObservation)


@dataclass(frozen=True, slots=True)
class Part:
    """What is stored of one answer: its body and log without their particulars, and the digest of both."""

    body: str
    log: str
    sha256: bytes


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
    parts, particulars = taken_apart(answers)
    return Stored(_set(db, kind, parts), write_particulars(db, particulars))


def taken_apart(answers: Iterable[Answer]) -> tuple[list[Part], list[str]]:
    """What is to be stored of each answer, and the particulars of all of them, in their order."""
    parts: list[Part] = []
    particulars: list[str] = []
    for answer in answers:
        body, of_body = _taken(answer.model_dump_json(exclude={"log"}), _JSON_HOLE)
        log, of_log = steady(answer.log)
        particulars += of_body + of_log
        parts.append(Part(body, log, digest(body, log)))
    return parts, particulars


def write_particulars(db: sqlite3.Connection, particulars: Sequence[str]) -> int | None:
    return write_text(db, "\n".join(particulars)) if particulars else None


def read(
    db: sqlite3.Connection, kind: Kind, stored: Stored, known: dict[int, Answer] | None = None
) -> Iterator[Answer]:
    """The answers as they came. Raises sqlite3.DatabaseError when they are not what was stored.

    `known` keeps those that have no particulars, by their row: several cells then share them in memory.
    """
    known = {} if known is None else known
    text = read_text(db, stored.particulars) if stored.particulars is not None else ""
    particulars = iter(text.split("\n") if text else ())
    for row in _rows(db, kind, members(db, kind, stored.answers)):
        body, log = _checked(kind, row)
        if _JSON_HOLE not in body and _HOLE not in log:
            if row[0] not in known:
                known[row[0]] = _parsed(kind, body, log)
            yield known[row[0]]
            continue
        yield _parsed(kind, _filled(body, _JSON_HOLE, particulars), _filled(log, _HOLE, particulars))


def read_steady(db: sqlite3.Connection, kind: Kind, wanted: Iterable[int], known: dict[int, Answer]) -> None:
    """See that `known` has the answers of these rows, without their particulars, which no verdict looks at.

    Raises sqlite3.DatabaseError.
    """
    new = [row for row in wanted if row not in known]
    for row in _rows(db, kind, new) if new else ():
        known[row[0]] = _parsed(kind, *_checked(kind, row))


def members(db: sqlite3.Connection, kind: Kind, answers: int) -> list[int]:
    """The rows of a set's answers, in the order in which they were given. Raises sqlite3.DatabaseError."""
    row = db.execute(f"SELECT members FROM {kind.sets} WHERE seq = ?", (answers,)).fetchone()  # noqa: S608
    if row is None:
        raise sqlite3.DatabaseError(f"a set of {kind.answers} is gone")
    found: list[int] = from_json(row[0])  # much faster than json.loads
    return found


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


def _rows(db: sqlite3.Connection, kind: Kind, wanted: Sequence[int]) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT it.seq, it.sha256, it.body, log, content.body FROM json_each(?) AS wanted"  # noqa: S608  names of tables
        f" LEFT JOIN {kind.answers} AS it ON it.seq = wanted.value"
        " LEFT JOIN content ON content.seq = log ORDER BY wanted.key",
        (json.dumps(wanted),),
    ).fetchall()


def _checked(kind: Kind, row: sqlite3.Row) -> tuple[str, str]:
    """The body and the log of a row, without their particulars."""
    seq, sha256, body, log, packed = row
    if seq is None:
        raise sqlite3.DatabaseError(f"an answer in {kind.answers} is gone")
    if log is not None and packed is None:
        raise sqlite3.DatabaseError("a stored text is gone")
    text = "" if packed is None else zlib.decompress(packed).decode()
    if digest(body, text) != sha256:
        raise sqlite3.DatabaseError(f"an answer in {kind.answers} is not what was stored")
    return body, text


def _parsed(kind: Kind, body: str, log: str) -> Answer:
    return kind.model.model_validate({**json.loads(body), "log": log})


def _taken(text: str, hole: str) -> tuple[str, list[str]]:
    if "#" not in text and "0x" not in text and _HOLE not in text and _JSON_HOLE not in text:
        return text, []  # most have none, and this is much faster than the pattern
    taken = _PARTICULAR.findall(text)
    return _PARTICULAR.sub(hole.replace("\\", r"\\"), text) if taken else text, taken


def _filled(template: str, hole: str, particulars: Iterator[str]) -> str:
    first, *rest = template.split(hole)
    own = tuple(islice(particulars, len(rest)))
    if len(own) < len(rest):
        raise sqlite3.DatabaseError("the particulars of an answer are gone")
    return first + "".join(it + part for it, part in zip(own, rest, strict=True)) if rest else template


def write_part(db: sqlite3.Connection, kind: Kind, part: Part) -> int:
    """Store one answer, or find it."""
    row = db.execute(f"SELECT seq FROM {kind.answers} WHERE sha256 = ?", (part.sha256,)).fetchone()  # noqa: S608
    if row:
        return int(row[0])
    added = db.execute(
        f"INSERT INTO {kind.answers} (sha256, body, log) VALUES (?, ?, ?)",  # noqa: S608
        (part.sha256, part.body, write_text(db, part.log) if part.log else None),
    )
    return int(added.lastrowid or 0)


def _set(db: sqlite3.Connection, kind: Kind, parts: Sequence[Part]) -> int:
    sha256 = set_digest(parts)
    row = db.execute(f"SELECT seq FROM {kind.sets} WHERE sha256 = ?", (sha256,)).fetchone()  # noqa: S608
    if row:
        return int(row[0])
    rows = json.dumps([write_part(db, kind, part) for part in parts], separators=(",", ":"))
    added = db.execute(f"INSERT INTO {kind.sets} (sha256, members) VALUES (?, ?)", (sha256, rows))  # noqa: S608
    return int(added.lastrowid or 0)


def set_digest(parts: Iterable[Part]) -> bytes:
    return hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()
