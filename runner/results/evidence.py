# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The files that lie beside the database: consoles, and the traces of programs that somebody asked to keep.

    runs/<run>/<cell>/console.log             the first attempt
    runs/<run>/<cell>/console-2.log           a repeated one
    runs/<run>/<cell>/trace-<probe>.json.gz   the last trace of each probe

A console is never changed once it is there: an attempt whose result was not committed leaves one that nobody names.
"""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from pathlib import Path

from pydantic import ValidationError

from runner.model import CellResult, Trace
from runner.results.database import faults
from runner.store import write_atomically

log = logging.getLogger(__name__)


def run_folder(reports: Path, run_id: str) -> Path:
    """Where all the files of a run lie."""
    return reports / "runs" / run_id


def console_path(reports: Path, run_id: str, cell_id: str, attempt: int = 1) -> Path:
    """Where the console log of a cell's attempt (1, 2, ...) lies, below the folder `reports`."""
    return run_folder(reports, run_id) / cell_id / ("console.log" if attempt == 1 else f"console-{attempt}.log")


def write_console(reports: Path, run_id: str, result: CellResult, attempt: int) -> None:
    """Leave the console log of one attempt. Raises OSError."""
    content = result.console.encode(errors="backslashreplace")
    publish(console_path(reports, run_id, result.cell.id, attempt), content)


def read_console(reports: Path, run_id: str, cell_id: str, attempt: int = 1) -> str:
    """Empty when the file was removed: the answers are in the database and do not need it. Raises OSError."""
    try:
        raw = console_path(reports, run_id, cell_id, attempt).read_bytes()
    except FileNotFoundError:
        return ""
    return raw.decode(errors="replace")


def trace_path(reports: Path, run_id: str, cell_id: str, probe: str) -> Path:
    name = re.sub(r"[^a-z0-9._-]", "-", probe.lower())
    return run_folder(reports, run_id) / cell_id / f"trace-{name}.json.gz"


def write_trace(reports: Path, run_id: str, cell_id: str, trace: Trace) -> None:
    """Raises InfraError when the disk fails."""
    path = trace_path(reports, run_id, cell_id, trace.probe)
    with faults(path):
        publish(path, gzip.compress(trace.model_dump_json().encode(), mtime=0))


def read_trace(reports: Path, run_id: str, cell_id: str, probe: str) -> Trace | None:
    """None when nobody kept one. Raises InfraError when the disk fails."""
    path = trace_path(reports, run_id, cell_id, probe)
    if not path.exists():
        return None
    try:
        with faults(path):
            raw = path.read_bytes()
        trace = Trace.model_validate_json(gzip.decompress(raw))
    except (gzip.BadGzipFile, EOFError, zlib.error, ValidationError):
        log.warning("%s cannot be read", path)
        return None
    return trace if trace.probe == probe else None


def publish(path: Path, content: bytes) -> None:
    """Write so that a reader sees the whole file or none, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
