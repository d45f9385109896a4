"""The store of a project's results."""

from __future__ import annotations

from runner.cli.options import Project
from runner.results.store import ResultStore


def store_of(project: Project, *, read_only: bool = False) -> ResultStore:
    """`with store_of(project) as store:`."""
    return ResultStore(project.database, read_only=read_only, busy_s=project.limits.store_s)
