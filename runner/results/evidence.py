"""The files that lie beside the database: per cell the console log, and the answers as they came.

    runs/<run>/<cell>/console.log  observations.jsonl.gz         the first attempt
    runs/<run>/<cell>/console-2.log  observations-2.jsonl.gz     a repeated one

A file is never changed once it is there: an attempt whose result was not committed leaves files that nobody names.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from runner.model import CellResult
from runner.store import write_atomically


def console_path(reports: Path, run_id: str, cell_id: str, attempt: int = 1) -> Path:
    """Where the console log of a cell's attempt (1, 2, ...) lies, below the folder `reports`."""
    return _folder(reports, run_id, cell_id) / f"console{_suffix(attempt)}.log"


def observations_path(reports: Path, run_id: str, cell_id: str, attempt: int = 1) -> Path:
    """Where the raw answers of a cell's attempt lie: one JSON object per line, packed to a thirtieth."""
    return _folder(reports, run_id, cell_id) / f"observations{_suffix(attempt)}.jsonl.gz"


def run_folder(reports: Path, run_id: str) -> Path:
    """Where all the files of a run lie."""
    return reports / "runs" / run_id


def write(reports: Path, run_id: str, result: CellResult, attempt: int) -> None:
    """Leave the console log and the raw answers of one attempt. Raises OSError."""
    publish(console_path(reports, run_id, result.cell.id, attempt), _raw(result.console))
    lines = [_line("observation", seen.model_dump(mode="json")) for seen in result.observations]
    lines += [_line("census", seen.model_dump(mode="json")) for seen in result.census]
    publish(observations_path(reports, run_id, result.cell.id, attempt), gzip.compress(_raw("".join(lines)), mtime=0))


def read_console(reports: Path, run_id: str, cell_id: str, attempt: int = 1) -> str:
    """Empty when the file was removed: the answers are in the database and do not need it. Raises OSError."""
    try:
        raw = console_path(reports, run_id, cell_id, attempt).read_bytes()
    except FileNotFoundError:
        return ""
    return raw.decode(errors="replace")


def _folder(reports: Path, run_id: str, cell_id: str) -> Path:
    return run_folder(reports, run_id) / cell_id


def _suffix(attempt: int) -> str:
    return "" if attempt == 1 else f"-{attempt}"


def _line(event: str, observation: dict[str, object]) -> str:
    return json.dumps({"event": event, **observation}) + "\n"


def _raw(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def publish(path: Path, content: bytes) -> None:
    """Write so that a reader sees the whole file or none, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
