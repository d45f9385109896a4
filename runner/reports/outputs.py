# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests printed that did not end as expected; and the files that guests left, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Verdict
from runner.probes.kinds import KINDS
from runner.reports.drawing import section
from runner.reports.findings import alike
from runner.results.model import JudgedRun
from runner.text import counted, plain

_LINES = 30
_LONGEST = 200


def outputs_report(judged: JudgedRun) -> RenderableType:
    """The end of what was printed, once for all kernels on which it is the same."""
    rows = [
        (cell.id, row)
        for cell in judged.cells
        for row in cell.rows
        if row.log and row.verdict in (Verdict.BROKEN, Verdict.NO_ANSWER)
    ]
    parts = []
    for same in alike(rows, lambda it: (it[1].subject, it[1].log)):
        _, row = same[0]
        lines = row.log.splitlines()
        more = [f"[... {len(lines) - _LINES} lines ...]"] if len(lines) > _LINES else []
        title = f"Output of {plain(row.subject)} on {', '.join(cell_id for cell_id, _ in same)}"
        parts.append(section(title, *more, *lines[-_LINES:]))
    return Group(Text(), *parts) if parts else Group()


def keep_files(judged: JudgedRun, folder: Path) -> Iterator[str]:
    """Write what guests left below `folder`, each cell's into its own; says where, and what could not be written."""
    for cell in judged.cells:
        found = {name: it for kind in KINDS.values() for name, it in kind.left(cell.result).items()}
        target = folder / cell.id / "files"
        kept = 0
        for name, content in found.items():
            parts = PurePosixPath(name).parts
            if not parts or any(it in {"..", "/"} or len(it) > _LONGEST or not it.isprintable() for it in parts):
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
