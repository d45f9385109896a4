"""The lock file of a project, brought up to what can be had."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from runner.archive import Archive
from runner.caches import cache_root
from runner.cli.options import Project
from runner.kernels.lock import Mode, settle, write_lock
from runner.model import Lock


def settled(project: Project, *, mode: Mode, offline: bool) -> Lock:
    """The lock, written when it changed; what was replaced is said on stderr."""
    before = project.lock()
    cache = cache_root()
    lock, warnings = settle(
        project.matrix.wanted(),
        project.matrix.file.image.suite,
        before,
        Archive(cache),
        cache,
        mode=mode,
        offline=offline,
        deadline=project.limits.deadline("lock_s"),
    )
    console = Console(stderr=True, highlight=False)
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True)
    if lock != before:
        write_lock(project.lock_path, lock)
    return lock
