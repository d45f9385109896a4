# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner results`: the store itself: join it with others, make it smaller."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.options import command, emit, group
from runner.errors import UserError
from runner.project import Project
from runner.results.maintenance import Keep, PrunePlan, merge, plan, prune
from runner.results.model import RunKind
from runner.text import counted, some

app = group("Merge stores of results, and delete old runs.", "results prune --keep 30d --dry-run")

_KEEP = re.compile(r"([0-9]{1,5})(d?)")
_NAMED = 8


@command(app, "merge", "results merge x86_64/reports/results.db arm64/reports/results.db")
def merge_stores(
    project: Project,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Stores of other machines or jobs: results.db")],
) -> None:
    """Add the runs of other stores to this one, with the consoles beside them. Repeating it changes nothing.

    Runs with one id (`runner matrix run --run-id`) become one run, with the cells of all.
    """
    with project.store(read_only=False) as store:
        for path in files:
            done = merge(store, path)
            emit(
                f"{path}: {counted(done.runs, 'new run')}, {counted(done.cells, 'cell')} and "
                f"{counted(done.results, 'result')} added, {counted(done.known, 'result')} known before"
            )


@command(app, "prune", "results prune --keep 90d --dry-run")
def prune_runs(
    project: Project,
    keep: Annotated[str, typer.Option(metavar="N|DAYSd", help="The newest N runs (30), or those of N days (90d).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted.")] = False,
) -> None:
    """Delete old runs, their consoles, and answers that no other run gave. The newest run always stays.

    Only runs of the matrix are counted. Any other, such as a bisection, is deleted when it is older than all that stay.
    """
    wanted = _keep(keep)
    with project.store(read_only=dry_run) as store:
        found = plan(store, wanted, datetime.now(UTC))
        emit("\n".join(_words(found, dry_run=dry_run)))
        if found.going and not dry_run:
            before = store.path.stat().st_size
            prune(store, found)
            emit(f"{store.path}: {_mib(before)} before, {_mib(store.path.stat().st_size)} now")


def _keep(word: str) -> Keep:
    found = _KEEP.fullmatch(word)
    if not found or not int(found[1]):
        raise UserError(
            f"--keep {word}: not a number of runs (30) or days (90d)", hint="runner results prune --keep 30"
        )
    number = int(found[1])
    return Keep(days=number) if found[2] else Keep(runs=number)


def _words(found: PrunePlan, *, dry_run: bool) -> list[str]:
    verb = "would be deleted" if dry_run else "deleted"
    runs = [info.id for info in found.going if info.kind is RunKind.MATRIX]
    count = len(runs) + sum(info.kind is RunKind.MATRIX for info in found.staying)
    lines = [f"{len(runs)} of {counted(count, 'run')} {verb}" + (f": {_span(runs)}" if runs else "")]
    others = {kind: [info.id for info in found.going if info.kind is kind] for kind in RunKind}
    lines += [
        f"{kind}: {counted(len(ids), 'run')} {verb}: {_span(ids)}"
        for kind, ids in others.items()
        if ids and kind is not RunKind.MATRIX
    ]
    if found.going:
        lines[-1] += f", with {_mib(found.evidence_bytes)} of consoles"
    if found.lost_kernels:
        named = some(found.lost_kernels, _NAMED)
        lines.append(f"no remaining run has these kernels, availability forgets them: {named}")
    return lines


def _span(ids: Sequence[str]) -> str:
    """From the oldest to the newest; `ids` are the newest first."""
    return ids[0] if len(ids) == 1 else f"{ids[-1]} to {ids[0]}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
