"""CSV for spreadsheets and data frames: one line per cell, per claim and program type, per kfunc and program type."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from runner.results.model import JudgedCell, JudgedRun
from runner.text import plain

COLUMNS = (
    "run",
    "started",
    "cell",
    "kernel",
    "version",
    "release",
    "arch",
    "about",  # cell, claim or kfunc
    "id",  # the cell's, the claim's; empty for a kfunc
    "kfunc",
    "prog_type",
    "answer",  # the cell's outcome, the claim's verdict, the kfunc's state
    "expected",
    "observed",
    "errno",
    "object",
    "crashed",
    "cause",
    "seconds",
)
_FORMULA = ("=", "+", "-", "@")

_Row = dict[str, str | int | float | None]


def csv_table(judged: JudgedRun) -> str:
    """As RFC 4180 has it, in UTF-8; the first line names the columns. A field that does not apply is empty.

    A text that a spreadsheet would take for a formula begins with an apostrophe: guests choose some of the texts.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for cell in judged.cells:
        writer.writerows(_row(judged, cell, part) for part in _parts(cell))
    return out.getvalue()


def _parts(cell: JudgedCell) -> Iterator[_Row]:
    result = cell.result
    yield {
        "about": "cell",
        "id": cell.id,
        "answer": str(result.outcome),
        "crashed": len(result.crashed),
        "cause": result.cause,
        "seconds": result.timings.total_s,
    }
    for claim in cell.claims:
        yield {
            "about": "claim",
            "id": claim.id,
            "kfunc": claim.kfunc,
            "prog_type": claim.prog_type.value,
            "answer": claim.verdict.value,
            "expected": claim.expected,
            "observed": claim.observed,
            "crashed": int(claim.crashed),
            "cause": claim.cause,
        }
    for state in cell.states:
        yield {
            "about": "kfunc",
            "kfunc": state.kfunc,
            "prog_type": state.prog_type.value,
            "answer": state.state.value,
            "errno": state.errno,
            "object": state.object,
            "cause": state.cause,
        }


def _row(judged: JudgedRun, cell: JudgedCell, part: _Row) -> _Row:
    kernel = cell.result.cell.kernel
    row: _Row = {
        "run": judged.run.id,
        "started": judged.run.started.isoformat(),
        "cell": cell.id,
        "kernel": cell.result.cell.name,
        "version": kernel.version,
        "release": kernel.release,
        "arch": cell.result.cell.arch,
        **part,
    }
    return {name: _safe(value) if isinstance(value, str) else value for name, value in row.items()}


def _safe(text: str) -> str:
    line = plain(text)
    return f"'{line}" if line.startswith(_FORMULA) else line
