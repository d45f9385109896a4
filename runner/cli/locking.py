"""The lock file of a project, brought up to what can be had."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from runner.caches import cache_root
from runner.cli.options import Project
from runner.kernels.archive import Archive
from runner.matrix.lock import Mode, settle, write_lock
from runner.model import Lock, Pin


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


def replaced(kernel: Pin, before: Sequence[Pin], now: Sequence[Pin]) -> str:
    """` (was 6.12.117)` where a new pin took the place of another; empty where it did not."""

    def alike(pins: Sequence[Pin]) -> list[Pin]:
        place = (kernel.source, kernel.arch, kernel.variant)
        return [pin for pin in pins if (pin.source, pin.arch, pin.variant) == place]

    gone = [pin for pin in alike(before) if pin not in now]
    if len(alike(now)) > 1:  # a range: each series has its own place
        gone = [pin for pin in gone if pin.upstream.series == kernel.upstream.series]
    if kernel in before or not gone:
        return ""
    return f" (was {', '.join(_told_apart(pin, kernel) for pin in gone)})"


def _told_apart(old: Pin, new: Pin) -> str:
    if old.version != new.version:
        return old.version
    return old.release if old.release != new.release else "another build"
