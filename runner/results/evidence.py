# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The files that lie beside the database: consoles, and the traces of programs that somebody asked to keep.

    runs/<run>/<cell>/console.log             the first attempt
    runs/<run>/<cell>/console-2.log           a repeated one
    runs/<run>/<cell>/trace-<probe>.json.gz   the last trace of each probe
    runs/<run>/<cell>/files/                  what a guest left

A console is never changed once it is there: an attempt whose result was not committed leaves one that nobody names.
"""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from runner.model import CellResult, Trace
from runner.probes.kinds import KINDS
from runner.results.database import faults
from runner.results.model import JudgedRun
from runner.store import write_atomically
from runner.text import counted

log = logging.getLogger(__name__)

_LONGEST_NAME = 200  # characters of a part of a guest's path


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


def keep_files(reports: Path, judged: JudgedRun) -> Iterator[str]:
    """Write what guests left into `files` beside each cell's console; says where, and what could not be written."""
    for cell in judged.cells:
        found = {name: it for kind in KINDS.values() for name, it in kind.left(cell.result).items()}
        target = run_folder(reports, judged.run.id) / cell.id / "files"
        kept = 0
        for name, content in found.items():
            parts = PurePosixPath(name).parts
            if not parts or any(it in {"..", "/"} or len(it) > _LONGEST_NAME or not it.isprintable() for it in parts):
                continue
            path = target.joinpath(*parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
            except OSError as error:  # the disk is full, or the guest has a file where this one needs a folder
                yield f"{cell.id}: {path} was not written: {error.strerror}"
                continue
            kept += 1
        if kept:
            yield f"{cell.id}: {counted(kept, 'file')} in {target}"
