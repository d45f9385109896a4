# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a click on a square shows, as scripts: a page from the disk may load scripts, and may not fetch.

data/kfunc/<subject>.js        states and verdicts of a subject in every cell
data/logs/<cell>/<subject>.js  the raw answers to the probes of its verdicts in one cell, with the verifier's logs
data/cell/<cell>.js            the guest, what its kernel reported, and the last lines of its console
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from runner.model import Answer, Mark, Outcome, Row
from runner.probes.kinds import KINDS
from runner.reports.cell import cell_facts, row_facts
from runner.reports.drawing import state_mark, verdict_mark
from runner.reports.findings import alike, show_command
from runner.results.availability import Availability
from runner.results.model import JudgedCell, JudgedRun
from runner.text import counted, lines, plain, printable

Sayings = Mapping[str, tuple[str, str]]  # probe without its type -> what is claimed in words, and who says so

# Classes of style.css, by the colour in a terminal; the first letter also stands in data-states, for the filter.
_CSS = {"green": "u", "cyan": "r", "blue": "r", "yellow": "x", "bright_black": "a", "magenta": "q", "red": "bad"}
OUTCOME_CSS = {Outcome.RAN: "u", Outcome.BOOT_FAILED: "bad"}  # any other: q
CRASHED = Mark("✗", "x", "bold red")

_CONSOLE_LINES = 200
_LOG_LINES = 2000
_SAFE = re.compile(r"[A-Za-z0-9_]{1,120}")

_Json = dict[str, object]


def css(mark: Mark) -> str:
    """The class of style.css."""
    return _CSS.get(mark.style.rpartition(" ")[2], "r")


def slug(name: str) -> str:
    """A file name. The names of kfuncs come out of a guest's BTF: what no C compiler makes is called by its digest."""
    return name if _SAFE.fullmatch(name) else f"x-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:16]}"


def readable(text: str) -> str:
    """A log without what only a terminal understands; the end of one that never ends."""
    kept = lines(text.rstrip())
    cut = len(kept) - _LOG_LINES
    return "\n".join([f"[{counted(cut, 'line')} before these]", *kept[cut:]] if cut > 0 else kept)


class Declarations(dict[Hashable, str]):
    """What kernels declare the subjects of one run to be, as long as that is there: prototypes, and the structures that
    programs share with them. Where rows share it, it is made once."""

    def of(self, row: Row) -> str:
        values = row.details.items()
        key = (row.kind, *((name, value if isinstance(value, str) else id(value)) for name, value in values))
        if key not in self:
            self[key] = readable("\n".join(KINDS[row.kind].declared(row))) if values else ""
        return self[key]


def word_of(row: Row) -> tuple[str, Mark]:
    """How a verdict is shown."""
    if row.crashed:
        return "crashed the kernel", CRASHED
    return "known issue" if row.known_issue else str(row.verdict), verdict_mark(row)


class _Texts(dict[str, int]):
    """Each text once, with its number: most kernels answer the same."""

    def number(self, text: str) -> int | None:
        return self.setdefault(text, len(self)) if text.strip() else None


def script(key: str, data: _Json) -> tuple[str, str]:
    """The path and content of a file that hands `data` to the page. ASCII, so that no byte depends on an encoding."""
    return f"data/{key}.js", f"evidence({json.dumps(key)}, {json.dumps(data, separators=(',', ':'))});\n"


def verdict_rows(grid: Availability) -> dict[tuple[str, str], list[Row]]:
    """By the cell's id and the subject."""
    found: dict[tuple[str, str], list[Row]] = {}
    for cell in (column.cell for column in grid.columns):
        for row in (row for row in cell.rows if row.verdict is not None):
            found.setdefault((cell.id, grid.subject(row.subject)), []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """A cell of the grid, with what all of its squares share."""

    cell: JudgedCell
    run_id: str
    show: str
    again: str
    answers: Mapping[str, Sequence[Answer]]  # by their probe

    @classmethod
    def of(cls, cell: JudgedCell, run_id: str) -> Self:
        answers: dict[str, list[Answer]] = {}
        for answer in cell.result.answers:
            answers.setdefault(answer.probe, []).append(answer)
        return cls(cell, run_id, show_command(cell.id, run_id=run_id), _repeat(cell), answers)

    def shown(self, row: Row) -> Iterable[tuple[str, str]]:
        """The raw answer behind a row: a kind looks through all answers of a result."""
        result = self.cell.result.model_copy(update={"answers": self.answers.get(row.probe, ())})
        return KINDS[row.kind].shown(result, row)


def scripts(grid: Availability, judged: JudgedRun, said: Sayings) -> Iterator[tuple[str, str]]:
    """(path, content) for every subject of the grid, for the logs of its verdicts, and for every cell."""
    verdicts = verdict_rows(grid)
    declared = Declarations()
    at = [_Place.of(column.cell, judged.run_of(column.cell.id)) for column in grid.columns]
    for mine in alike(grid.topics, lambda topic: topic.subject):
        subject = mine[0].subject
        texts = _Texts()
        cells: dict[str, _Json] = {}
        for column, place in zip(grid.columns, at, strict=True):
            cell_id = column.cell.id
            rows = verdicts.get((cell_id, subject), [])
            cells[cell_id] = {it.type: _square(grid.state(it, column), place, rows, texts, declared) for it in mine}
            if rows:
                yield script(f"logs/{cell_id}/{slug(subject)}", _logs(place, rows, said))
        yield script(
            f"kfunc/{slug(subject)}", {"kfunc": plain(subject), "texts": [*map(readable, texts)], "cells": cells}
        )
    for place in at:
        yield script(f"cell/{place.cell.id}", _cell(place))


def _square(row: Row, place: _Place, verdicts: Iterable[Row], texts: _Texts, declared: Declarations) -> _Json:
    mark = state_mark(row)
    facts = [("cause", row.cause)] if row.cause else []
    facts += place.shown(row) if row.probe else ()
    return {
        "state": row.state,
        "css": css(mark),
        "sign": mark.sign,
        "facts": [(plain(word), plain(text)) for word, text in facts],
        "log": texts.number(row.log),
        "declared": texts.number(declared.of(row)),
        "show": place.show,
        "again": place.again,
        "verdicts": [_verdict(each) for each in verdicts if each.type == row.type],
    }


def _verdict(row: Row) -> _Json:
    word, mark = word_of(row)
    facts = [(name, plain(text)) for name, text in row_facts(row)]
    return {"probe": plain(row.probe), "verdict": word, "css": css(mark), "sign": mark.sign, "facts": facts}


def _logs(place: _Place, rows: Iterable[Row], said: Sayings) -> _Json:
    made: _Json = {}
    for row in rows:
        says, source = said.get(row.probe.removesuffix(f":{row.type}"), ("", ""))
        facts = [("says", says), ("source", source), *place.shown(row)]
        made[plain(row.probe)] = {
            "facts": [(plain(word), plain(text)) for word, text in facts if text],
            "log": readable(row.log),
            "show": show_command(place.cell.id, row.probe, place.run_id),
        }
    return made


def _cell(place: _Place) -> _Json:
    cell, result = place.cell, place.cell.result
    facts = [(plain(word), plain(text)) for _, group in cell_facts(cell) for word, text in group]
    kept = lines(result.console.rstrip()) if result.console.strip() else []
    return {
        "css": OUTCOME_CSS.get(result.outcome, "q"),
        "sign": "✓" if result.outcome is Outcome.RAN else "✗",
        "state": str(result.outcome),
        "facts": facts,
        "splats": ["\n".join(map(printable, it.lines)) for it in cell.splats if it.lines],
        "console": "\n".join(kept[-_CONSOLE_LINES:]),
        "show": place.show,
        "again": place.again,
    }


def _repeat(cell: JudgedCell) -> str:
    """The command that boots this kernel and asks it once more."""
    wanted = f"arch={cell.result.cell.arch},kernel={cell.result.cell.name}"
    return shlex.join(["runner", "matrix", "run", "--only", wanted])
