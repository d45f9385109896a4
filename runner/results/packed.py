# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A result as the database holds it: its JSON, compressed against another result of the same kernel.

The text is one line for the cell's result without its answers, then one line for each answer. Two boots of one kernel
differ in a few of them, so the text of the first one, as the dictionary of the compression, leaves two kilobytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from pydantic import JsonValue
from pydantic_core import from_json, to_json
from zstandard import (
    DICT_TYPE_RAWCONTENT,
    ZstdCompressionDict,
    ZstdCompressionParameters,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
)

from runner.model import Answer, Cell, CellResult, Kept, Timings
from runner.probes.kinds import KINDS
from runner.probes.verifier import steady

PackedError = ZstdError

_LEVEL = 7  # 9 takes two fifths longer for 2 % less
_QUICK = 3  # of a base's own text: nothing is left of it at any level
_WINDOW_LOG = 23  # a base and a text of 4 MiB each still see one another
_BASES = 8  # in memory: a few hundred kilobytes each; what is read of many kernels is read kernel by kernel
_SHORT = 40  # characters: so short a text is no smaller when it is shared
_FIELDS = set(Answer.model_fields)
_SMALL_BYTES = 4096  # a packed text that is not worth a base of its own
_MAX_BYTES = 1 << 28  # of one result; what says that it holds more is damaged

# When, where and how fast a cell was asked. No row depends on these: what is judged from the store is without them.
_CIRCUMSTANCES = frozenset(
    {
        *("began", "timings", "host", "accel", "attempts", "image_sha256", "guest", "boots", "kept", "rechecked"),
        *("start", "no_snapshot"),
    }
)

_ADDRESSES = re.compile(rb"\b0x[0-9a-f]{12,16}\b")  # lines with these never come again
_REMEMBERED = 50_000  # lines
_INTERNED = 200_000  # answers: a run of a hundred kernels has half as many
_WRITTEN = 8192  # answers, of some cells
_LONG = 1024  # characters: no two kernels answer so long a line alike


# --- text ------------------------------------------------------------------------------------------------------------

Line = bytes


def written(result: CellResult) -> tuple[list[Line], bytes]:
    """The lines of a result's text, and its digest. Its cell and its console have their own places.

    Equal digests, equal rows: all that a judge sees of the result, the kernel and what was asked included.
    """
    head = result.model_dump_json(exclude={"cell", "answers", "console", "kept", "boots"}, exclude_defaults=True)
    seen = result.model_dump(mode="json", exclude={*_CIRCUMSTANCES, "cell", "answers", "console"})
    digest = hashlib.sha256(json.dumps([_asked(result.cell), seen], sort_keys=True).encode())
    lines = [head.encode()]
    for line, steady_line, _ in map(_written, result.answers):
        lines.append(line)
        digest.update(b"\n" + steady_line)
    return lines, digest.digest()


def result_of(
    lines: Sequence[Line], cell: Cell, *, boots: int = 1, kept: tuple[Kept, ...] = (), interned: Interned
) -> CellResult:
    """The other way round; how often it was booted has a place of its own, too. Raises ValueError."""
    answers = list(map(interned.answer, lines[1:]))
    given = {"cell": cell, "answers": answers, "boots": boots, "kept": kept}
    result = CellResult.model_validate({**from_json(lines[0]), **given})
    return unbooted(result) if result.is_kept else result


class Interned:
    """The answers that were read: equal ones are one object in memory, and so are equal parts of those that differ.

    A hundred kernels answer nearly alike: together they are a third of what they are one by one.
    """

    def __init__(self) -> None:
        self._answers: dict[bytes, Answer] = {}
        self._parts: dict[str | bytes, JsonValue] = {}

    def answer(self, line: Line) -> Answer:
        key = hashlib.blake2b(line, digest_size=16).digest()  # the lines of a run are as large as its answers
        if len(self._answers) > _INTERNED:
            self._answers.clear()
            self._parts.clear()
        return self._answers.get(key) or self._answers.setdefault(key, self._read(line))

    def _read(self, line: Line) -> Answer:
        # not validated once more: a checksum tells that this is what was written, and half the time of a report is this
        values = from_json(line)
        body = values.get("body", {})
        for name, value in body.items():
            if isinstance(value, list):
                body[name] = self._parts.setdefault(to_json(value), value)
            elif isinstance(value, str) and len(value) > _SHORT:
                body[name] = self._parts.setdefault(value, value)
        return Answer.model_construct(_FIELDS, **values)


def unbooted(result: CellResult) -> CellResult:
    """Without what was of the boot."""
    now = {"timings": Timings(), "boots": 0, "attempts": 1, "rechecked": None, "traces": (), "console": ""}
    return result.model_copy(update=now)


def answer_line(answer: Answer) -> Line:
    """As its model_dump_json, without what is empty; many times faster, for a body is JSON already."""
    return _line_of(vars(answer))


def answer_of(line: Line) -> Answer:
    """What a worker sent, validated; equal short answers are one object. Raises ValueError."""
    return _validated(line) if len(line) < _LONG else Answer.model_validate_json(line)


_validated = lru_cache(maxsize=_WRITTEN)(Answer.model_validate_json)


def _line_of(values: Mapping[str, object]) -> Line:
    return to_json({name: value for name, value in values.items() if value}, inf_nan_mode="null")


# --- what is compared ------------------------------------------------------------------------------------------------


class SteadyReader:
    """Reads results for judging in bulk: without circumstances, and without particulars in their logs."""

    def __init__(self) -> None:
        self._read: dict[Line, Answer] = {}  # lines that come again: those of one build
        self._same: dict[Line, Answer] = {}  # equal answers are one object, by their line without particulars

    def read(self, lines: list[Line], cell: Cell) -> tuple[CellResult, bytes]:
        """A result, and what is equal where all of it but its answers is. Raises ValueError."""
        head = {name: value for name, value in from_json(lines[0]).items() if name not in _CIRCUMSTANCES}
        answers = tuple(self._read.get(line) or self._answer(line) for line in lines[1:])
        result = CellResult.model_validate({**head, "cell": cell, "answers": answers})
        return result, to_json([_asked(cell), head])

    def _answer(self, line: Line) -> Answer:
        answer = Answer.model_validate_json(line)
        if (body := _steady(answer)) is not None:
            answer = answer.model_copy(update={"body": body})
        answer = self._same.setdefault(answer_line(answer), answer)
        if len(self._read) > _REMEMBERED:
            self._read.clear()
        if not _ADDRESSES.search(line):
            self._read[line] = answer
        return answer


_known: dict[int, tuple[Line, Line, Answer]] = {}  # by the answer's id, which no other has while it is here


def _written(answer: Answer) -> tuple[Line, Line, Answer]:
    """Its line, and the same without circumstances and particulars: made once for a short answer that comes again."""
    if found := _known.get(id(answer)):
        return found
    line, body = answer_line(answer), _steady(answer)
    found = line, line if body is None else _line_of({**vars(answer), "body": body}), answer
    if len(line) < _LONG:
        if len(_known) >= _WRITTEN:
            _known.clear()
        _known[id(answer)] = found
    return found


def _asked(cell: Cell) -> dict[str, object]:
    """What rows depend on."""
    return cell.model_dump(mode="json", include={"kernel", "probes"})


def _steady(answer: Answer) -> dict[str, JsonValue] | None:
    """Its body without circumstances, and without the particulars of what is the verifier's log and judged without
    them; None: the body is that already."""
    kind, body = KINDS.get(answer.kind), answer.body
    if kind is None:
        return None
    changed: dict[str, JsonValue] = {}
    for name in kind.logs:
        if log := body.get(name):
            text = str(log)
            if (now := steady(text)) != text:
                changed[name] = now
    if not changed and body.keys().isdisjoint(kind.circumstances):
        return None
    return {name: value for name, value in (body | changed).items() if name not in kind.circumstances}


# --- compression -----------------------------------------------------------------------------------------------------


class Base:
    """What texts of one kernel are compressed against, or `NO_BASE`."""

    def __init__(self, text: bytes | None = None) -> None:
        self._text = None if text is None else ZstdCompressionDict(text, dict_type=DICT_TYPE_RAWCONTENT)
        self._decompressor = ZstdDecompressor(dict_data=self._text)

    def pack(self, text: bytes, level: int = _LEVEL) -> bytes:
        # not kept: a compressor that has worked holds 20 MB or more, and a run has a base for each of its kernels
        parameters = ZstdCompressionParameters.from_level(level, window_log=_WINDOW_LOG, write_checksum=True)
        return ZstdCompressor(compression_params=parameters, dict_data=self._text).compress(text)

    def unpack(self, packed: bytes) -> bytes:
        """Raises PackedError when it is not what was packed: its checksum tells."""
        return self._decompressor.decompress(packed, max_output_size=_MAX_BYTES)


NO_BASE = Base()


class Texts:
    """What the database has compressed: contents, each once, and the texts of results, against one of their kernel."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._base = lru_cache(maxsize=_BASES)(self._read_base)

    def find(self, content: bytes) -> int | None:
        """None: it is not stored."""
        sha256 = hashlib.sha256(content).digest()
        row = self._db.execute("SELECT seq FROM content WHERE sha256 = ?", (sha256,)).fetchone()
        return row and int(row[0])

    def keep(self, content: bytes) -> int:
        """Store it, or find it."""
        if found := self.find(content):
            return found
        packed = hashlib.sha256(content).digest(), NO_BASE.pack(content)
        return int(self._db.execute("INSERT INTO content (sha256, body) VALUES (?, ?)", packed).lastrowid or 0)

    def read(self, seq: int) -> bytes:
        return NO_BASE.unpack(self._db.execute("SELECT body FROM content WHERE seq = ?", (seq,)).fetchone()[0])

    def write(self, kernel: str, lines: Iterable[Line]) -> int:
        """Store the text of a result."""
        base, body = self._packed(kernel, b"\n".join(lines))
        return int(self._db.execute("INSERT INTO text (base, body) VALUES (?, ?)", (base, body)).lastrowid or 0)

    def lines(self, text: int) -> list[Line]:
        base, body = self._db.execute("SELECT base, body FROM text WHERE seq = ?", (text,)).fetchone()
        return self._base(base).unpack(body).split(b"\n")

    def _packed(self, kernel: str, text: bytes) -> tuple[int, bytes]:
        """Against the last base of its kernel; against itself when that saves less than half of what the base takes."""
        query = "SELECT seq, length(body) FROM base WHERE kernel = ? ORDER BY seq DESC LIMIT 1"
        if last := self._db.execute(query, (kernel,)).fetchone():
            body = self._base(last[0]).pack(text)
            if len(body) < _SMALL_BYTES or len(body) < last[1] // 2:
                return int(last[0]), body
        added = self._db.execute("INSERT INTO base (kernel, body) VALUES (?, ?)", (kernel, NO_BASE.pack(text)))
        return int(added.lastrowid or 0), Base(text).pack(text, _QUICK)

    def _read_base(self, seq: int) -> Base:
        row = self._db.execute("SELECT body FROM base WHERE seq = ?", (seq,)).fetchone()
        return Base(NO_BASE.unpack(row[0]))
