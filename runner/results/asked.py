"""What a run asked, kept beside its consoles: `runs/<run>/asked.json.gz`. Goes when the run is pruned."""

from __future__ import annotations

import gzip
import logging
import zlib
from pathlib import Path

from pydantic import ValidationError

from runner.model import Asked
from runner.results.database import faults
from runner.results.evidence import publish, run_folder

log = logging.getLogger(__name__)


def asked_path(reports: Path, run_id: str) -> Path:
    return run_folder(reports, run_id) / "asked.json.gz"


def write_asked(reports: Path, run_id: str, asked: Asked) -> None:
    """Leave it. InfraError when the disk fails."""
    path = asked_path(reports, run_id)
    with faults(path):
        publish(path, gzip.compress(asked.model_dump_json().encode(), mtime=0))


def read_asked(reports: Path, run_id: str) -> Asked | None:
    """None when the run is of an older version, or its files were removed. InfraError when the disk fails."""
    path = asked_path(reports, run_id)
    if not path.exists():
        return None
    with faults(path):
        raw = path.read_bytes()
    try:
        return Asked.model_validate_json(gzip.decompress(raw))
    except (gzip.BadGzipFile, EOFError, zlib.error, ValidationError):
        log.warning("%s cannot be read, what the run asked is not known", path)
        return None


def join_asked(into: Path, other: Path, run_id: str) -> None:
    """Add what another store's run of that id asked. InfraError when the disk fails."""
    theirs = read_asked(other, run_id)
    if theirs is None:
        return
    ours = read_asked(into, run_id) or Asked(cells={}, objects={})
    both = Asked(cells={**theirs.cells, **ours.cells}, objects={**theirs.objects, **ours.objects})
    if both != ours:
        write_asked(into, run_id, both)
