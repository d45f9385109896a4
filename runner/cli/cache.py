# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner cache`: the saved guests on this machine: which there are, and how much room they take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from runner.caches import cache_root
from runner.cli.options import Shown, command, emit, group
from runner.engine.cellrun import SNAPSHOTS
from runner.guest.snapshots import MAX_BYTES, Snapshots
from runner.reports.drawing import columns
from runner.text import counted

app = group("List and delete snapshots: saved guests from which others start.", "cache list")


def _snapshots() -> Snapshots:
    return Snapshots(cache_root() / SNAPSHOTS)


@command(app, "list", "cache list")
def list_snapshots() -> Shown:
    """List the snapshots on this machine, the most recently used first."""
    rows, document = [], []
    for it in _snapshots():
        used = datetime.fromtimestamp(it.used_s, UTC)
        rows.append((it.about.name, f"{it.size_bytes >> 20} MiB", f"{it.about.made:%F %H:%M}", f"{used:%F %H:%M}"))
        document.append({
            "cell": it.about.name, "key": it.key, "size_bytes": it.size_bytes,
            "made": it.about.made.isoformat(), "used": used.isoformat(),
        })  # fmt: skip
    return Shown(lambda: columns(rows, "cell", "size", "made", "last used") if rows else "no snapshots", document)


@command(app, "prune", "cache prune --keep-mib 2000")
def prune(
    keep_mib: Annotated[
        int, typer.Option("--keep-mib", min=0, help="How much room the snapshots may take together.")
    ] = MAX_BYTES >> 20,
) -> None:
    """Delete snapshots, the least recently used first. Guests that run are not disturbed."""
    removed = _snapshots().prune(keep_mib << 20)
    emit(f"{counted(len(removed), 'snapshot')} deleted")
