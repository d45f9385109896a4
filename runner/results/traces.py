"""Traces that somebody asked to keep: `runs/<run>/<cell>/trace-<probe>.json.gz`, the last one of each probe."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from pathlib import Path

from pydantic import ValidationError

from runner.model import Trace
from runner.results.database import faults
from runner.results.evidence import publish, run_folder

log = logging.getLogger(__name__)


def trace_path(reports: Path, run_id: str, cell_id: str, probe: str) -> Path:
    name = re.sub(r"[^a-z0-9._-]", "-", probe.lower())
    return run_folder(reports, run_id) / cell_id / f"trace-{name}.json.gz"


def write_trace(reports: Path, run_id: str, cell_id: str, trace: Trace) -> None:
    """InfraError when the disk fails."""
    path = trace_path(reports, run_id, cell_id, trace.probe)
    with faults(path):
        publish(path, gzip.compress(trace.model_dump_json().encode(), mtime=0))


def read_trace(reports: Path, run_id: str, cell_id: str, probe: str) -> Trace | None:
    """None when nobody kept one. InfraError when the disk fails."""
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
