"""CSV for spreadsheets and data frames: one line per cell, and per verdict and state of each program type."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from runner.probes.kinds import KINDS
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
    "about",  # cell, or what the kind of probe calls its rows
    "id",  # of the cell, or of what is expected; empty for a state
    "kfunc",  # what the row is about
    "prog_type",
    "answer",  # the cell's outcome, the row's verdict or state
    "expected",
    "observed",
    "errno",
    "object",
    "crashed",
    "cause",
    "seconds",
    "splats",
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
        kernel = cell.result.cell.kernel
        same = {
            "run": judged.run_of(cell.id),
            "started": judged.started_of(cell.id).isoformat(),
            "cell": cell.id,
            "kernel": cell.result.cell.name,
            "version": kernel.version,
            "release": kernel.release,
            "arch": cell.result.cell.arch,
        }
        for part in ({**same, **part} for part in _parts(cell)):
            writer.writerow({name: _safe(value) if isinstance(value, str) else value for name, value in part.items()})
    return out.getvalue()


def _parts(cell: JudgedCell) -> Iterator[_Row]:
    result = cell.result
    yield {
        "about": "cell",
        "id": cell.id,
        "answer": str(result.outcome),
        "crashed": len(result.crashed),
        "splats": len(cell.splats),
        "cause": result.cause,
        "seconds": result.timings.total_s,
    }
    for row in cell.rows:
        judged = row.verdict is not None
        yield {
            "about": KINDS[row.kind].noun,
            "id": row.probe.removesuffix(f":{row.type}") if judged else "",
            "kfunc": row.subject,
            "prog_type": row.type,
            "answer": str(row.verdict) if judged else row.state,
            "expected": row.expected,
            "observed": row.observed,
            "errno": None if judged else row.errno,
            "object": str(row.details.get("object", "")),
            "crashed": int(row.crashed) if judged else None,
            "cause": row.cause,
        }


def _safe(text: str) -> str:
    line = plain(text)
    return f"'{line}" if line.startswith(_FORMULA) else line
