# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner probes`: what runs teach about a project's own probes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner import userfile, yamlfile
from runner.cli.options import command, emit, group
from runner.errors import InfraError
from runner.probes.objects.enter import entered, shown
from runner.probes.objects.judge import NAME
from runner.probes.objects.learn import learn as learned
from runner.probes.objects.learn import unneeded
from runner.project import Project
from runner.store import write_atomically
from runner.text import counted, plain

app = group("Learn what to expect of objects from runs.", "probes learn --write bpf/mine.yaml")


@command(app, "learn", "probes learn --write bpf/mine.yaml")
def learn(
    project: Project,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id. [default: every cell of the matrix, with its newest answer]"),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Add the entries to this bpf/NAME.yaml.")
    ] = None,
) -> None:
    """Print what does not load as entries of `expect:`, and the entries that no kernel needs any more."""
    judged = project.newest(run)
    cells = [(cell.result, cell.rows) for cell in judged.cells]
    lesson, why = learned(cells), f"learned from {judged.run.id}"
    rows = [row for _, rows in cells for row in rows if row.kind == NAME]
    files = {row.subject.partition("/")[0]: str(row.details.get("file", "")) for row in rows}
    known = project.of_run(judged.run.id).expectations.known.get(NAME) or ()
    gone = list(unneeded(known, cells))
    for doubt in lesson.doubts:
        emit(f"# no entry for {plain(doubt)}")
    for each in gone:
        emit(f"# no kernel needs it any more: {plain(each)}")
    if unknown := sum(not row.answered for row in rows):
        emit(f"# nothing is learned from {counted(unknown, 'row')} without an answer")
    elif not rows:
        emit(f"# nothing to learn from {judged.run.id}: it has no answers about objects")
    elif not (lesson.entries or lesson.doubts or gone):
        emit(f"# nothing to learn from {judged.run.id}: all objects load as expected")
    if write is None:
        emit(shown(lesson.entries, why, files))
        return
    if lesson.entries:
        document = yamlfile.load(write) if write.exists() else None
        before = userfile.read(write, most=yamlfile.MAX_BYTES).decode() if document else ""
        after = entered(before, lesson.entries, why, files, str(write)) if before else shown(lesson.entries, why, files)
        try:
            write_atomically(write, after.encode())
        except OSError as error:
            raise InfraError(f"cannot write to {write}: {error.strerror}") from error
    emit(f"{write}: {counted(len(lesson.entries), 'expectation')} added")
