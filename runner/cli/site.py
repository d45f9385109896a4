"""`runner report html`: the static site."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.formats import RunId
from runner.cli.judging import Knowledge
from runner.cli.options import DEFAULT_MATRIX, MatrixFile, Project
from runner.cli.stores import store_of
from runner.errors import InfraError, UserError
from runner.reports.site import site
from runner.results.bisections import load_bisections
from runner.results.model import RunKind
from runner.text import counted

_MARKER = b'<meta name="generator" content="kfunc-runner'


def html_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the site; made when it is not there.")],
    run: RunId = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many runs get a page: the last ones.")] = 20,
    matrix: MatrixFile = DEFAULT_MATRIX,
) -> None:
    """Write a static site that opens from the disk: grids, evidence, a page per kfunc and per run.

    What an earlier build left in the folder stays, so that links to older runs go on working.

    Example: runner report html --output site
    """
    project = Project.at(matrix)
    knowledge = Knowledge.of(project)
    with store_of(project, read_only=True) as store:
        shown = knowledge.judged(store.load(run, consoles=True))
        listed = [info.id for info in store.runs() if info.kind is RunKind.MATRIX][:runs]
        others = [knowledge.judged(store.load(each)) for each in listed if each != shown.run.id]
    every = [claim for file in knowledge.claims for claim in file.claims]
    said = {claim.id: (claim.says, f"{claim.source.kind}: {'; '.join(claim.source.refs)}") for claim in every}
    count = write_site(output, site(shown, [shown, *others], said, tuple(load_bisections(project.reports))))
    typer.echo(f"{output / 'index.html'}: {counted(count, 'file')}")


def write_site(folder: Path, files: Iterable[tuple[str, str]]) -> int:
    """Write every file, whole or not at all; how many. A folder that holds something else is refused."""
    index = folder / "index.html"
    try:
        if folder.exists() and any(folder.iterdir()) and not (index.exists() and _MARKER in index.read_bytes()):
            raise UserError(f"{folder} holds something else than a site", hint="name a new folder")
        count = 0
        for path, text in files:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.new")
            draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")
            draft.replace(target)
            count += 1
    except OSError as error:
        raise InfraError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return count
