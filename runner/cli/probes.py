# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner probes`: what runs teach about a project's own probes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from runner import userfile, yamlfile
from runner.cli.options import RunId, command, emit, group
from runner.errors import InfraError
from runner.probes import KINDS
from runner.probes.lessons import Lesson, entered
from runner.project import Project
from runner.results.model import JudgedRun
from runner.store import write_atomically
from runner.text import counted, plain

app = group("Learn what to expect of objects and commands from runs.", "probes learn --write bpf/mine.yaml")


@command(app, "learn", "probes learn --write bpf/mine.yaml")
def learn(
    project: Project,
    run: RunId = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Add the entries to this bpf/NAME.yaml.")
    ] = None,
) -> None:
    """Print what does not load or pass as entries of `expect:`, and the entries that no kernel needs any more."""
    judged = project.newest(run)
    cells = [(cell.result, cell.rows) for cell in judged.cells]
    known = project.of_run(judged.run.id).expectations.known
    lessons = {name: kind.learn(known[name], cells) for name, kind in KINDS.items() if name in known}
    emit_notes(judged, lessons)
    before = userfile.read(write, most=yamlfile.MAX_BYTES) if write and write.exists() else b""
    if write and before:
        yamlfile.load(write)  # raises where it is no mapping, or not UTF-8
    after = before.decode()
    for name, lesson in lessons.items():
        begun = {it.of: KINDS[name].begun(known[name], it.of) for it in lesson.entries}
        why = f"learned from {judged.run.id}"
        after = entered(after, KINDS[name], begun, lesson.entries, why=why, path=str(write or ""))
    if write is None:
        emit(after)
        return
    if after.encode() != before:
        try:
            write_atomically(write, after.encode())
        except OSError as error:
            raise InfraError(f"cannot write to {write}: {error.strerror}") from error
    emit(f"{write}: {counted(sum(len(it.entries) for it in lessons.values()), 'expectation')} added")


def emit_notes(judged: JudgedRun, lessons: Mapping[str, Lesson]) -> None:
    """What no entry tells, as comments."""
    rows = [row for cell in judged.cells for row in cell.rows if KINDS[row.kind].users]
    for lesson in lessons.values():
        for doubt in lesson.doubts:
            emit(f"# no entry for {plain(doubt)}")
        for each in lesson.gone:
            emit(f"# no kernel needs it any more: {plain(each)}")
    if unknown := sum(not row.answered for row in rows):
        emit(f"# nothing is learned from {counted(unknown, 'row')} without an answer")
    elif not rows:
        emit(f"# nothing to learn from {judged.run.id}: it has no answers about objects or commands")
    elif not any(it.entries or it.doubts or it.gone for it in lessons.values()):
        emit(f"# nothing to learn from {judged.run.id}: everything is as expected")
