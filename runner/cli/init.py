# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner init`: a matrix, its lock and a CI job for a repository that has none."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from runner import __version__
from runner.caches import disk_fault
from runner.cli.options import Archs, Kernels, Offline, Shown, command
from runner.errors import UserError
from runner.kernels import KernelSource
from runner.matrix.lock import lock_text
from runner.model import Lock, Plain
from runner.probes.commands.written import CommandEntry
from runner.probes.files import BUILTIN, folders
from runner.probes.objects.written import ObjectEntry
from runner.project import DEFAULT_MATRIX, Project
from runner.store import write_atomically
from runner.text import counted, nearest, plain

app = typer.Typer()

_HEAD = """\
# The kernels to boot, and what to ask them. `runner matrix validate` checks this file, `runner matrix list` shows its
# cells, `runner matrix run` boots them. matrix.lock pins the exact packages; `runner kernels lock` renews it.
"""


class Ci(StrEnum):
    """Whose workflow is written."""

    GITHUB = "github"
    GITLAB = "gitlab"
    NONE = "none"


_WORKFLOWS = {Ci.GITHUB: Path(".github/workflows/kernels.yml"), Ci.GITLAB: Path(".gitlab-ci.yml")}


@command(app, "init", "init 'build/*.bpf.o' --kernel 6.1 --kernel 6.12")
def init(
    objects: Annotated[
        list[str] | None, typer.Argument(metavar="PATTERN", help="Object files to load, quoted; {arch} is known.")
    ] = None,
    run: Annotated[list[str] | None, typer.Option(metavar="COMMAND", help="A test to run. May be repeated.")] = None,
    probe: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Claims: bpf/NAME.yaml, or those of that name in runner.")
    ] = None,
    kernel: Kernels = None,
    arch: Archs = None,
    ci: Annotated[Ci, typer.Option(help="Whose workflow to write.")] = Ci.GITHUB,
    package: Annotated[
        str, typer.Option(metavar="SPEC", help="What the workflow gives to `pipx install`.")
    ] = f"kfunc-runner=={__version__}",
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    offline: Offline = False,
) -> Shown:
    """Write matrix.yaml, matrix.lock and a CI workflow into this folder.

    Without --kernel and --arch: those of the built-in matrix.
    """
    asked = list(_asked(objects or (), run or (), probe or ()))
    if not asked:
        raise UserError("ask the kernels what?", hint="runner init 'build/*.bpf.o', --run ./my.test or --probe NAME")
    if "'" in package or not package.isprintable():
        raise UserError(f"--package {package}: it cannot have a quote")
    builtin = Project.at(BUILTIN / DEFAULT_MATRIX)
    named, cells = builtin.naming(kernel or (), arch or (), (), offline=offline)
    lock = Lock(
        kernels=tuple(dict.fromkeys(cell.kernel for cell in cells)),
        images=tuple(dict.fromkeys(cell.image for cell in cells)),
    )
    files = {DEFAULT_MATRIX: _matrix_text(named.matrix.file.include, asked), Path("matrix.lock"): lock_text(lock)}
    if ci in _WORKFLOWS:
        template = (Path(__file__).parent / "ci" / f"{ci}.yml").read_text(encoding="utf-8")
        files[_WORKFLOWS[ci]] = template.replace("@PACKAGE@", package)
    _write(files, force=force)
    Project.at(DEFAULT_MATRIX).matrix.cells(lock)  # what was written is what will be read
    said = [f"written: {path}" for path in files]
    said += [
        f"{counted(len(cells), 'cell')}; next: runner matrix run",
        "Commit these files, and add /reports/ to .gitignore.",
    ]
    return Shown("\n".join(said), {"written": [str(path) for path in files], "cells": [cell.id for cell in cells]})


def _asked(objects: Iterable[str], commands: Iterable[str], claims: Iterable[str]) -> Iterator[str | Plain]:
    """The matrix's `probes`. Raises UserError for what cannot stand there."""
    try:
        for pattern in objects:
            yield ObjectEntry(object=pattern)
        for line in commands:
            yield CommandEntry(command=tuple(shlex.split(line)))
    except ValueError as error:  # pydantic's, or that of a quote without its end
        raise UserError(f"{plain(str(error))}", hint="runner init 'build/*.bpf.o' --run './my.test -v'") from None
    known = [path.stem for folder in folders(Path()) for path in folder.glob("*.yaml")]
    for name in claims:
        if name not in known:
            raise UserError(f"--probe {name}: no claims called {name!r}", hint=nearest(name, known))
        yield name


def _write(files: Mapping[Path, str], *, force: bool) -> None:
    """Raises UserError when one exists and may not be replaced; then none is written."""
    if not force and (there := [str(path) for path in files if path.exists()]):
        raise UserError(f"there already: {', '.join(there)}", hint="--force replaces them")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
        except OSError as error:
            raise disk_fault(error, f"cannot write {path}") from error


def _matrix_text(entries: Iterable[KernelSource], probes: Iterable[str | Plain]) -> str:
    entries = tuple(entries)
    every = tuple(dict.fromkeys(arch for entry in entries for arch in entry.architectures or ()))
    everywhere = [entry for entry in entries if entry.architectures == every]
    elsewhere = [entry for entry in entries if entry.architectures != every]
    parts = [
        f"{_HEAD}schema: 1\n",
        _listed("kernels", [_plain(entry) | {"architectures": None} for entry in everywhere]),
        f"architectures: [{', '.join(every)}]\n",
        _listed("include", [_plain(entry) for entry in elsewhere]),
        _listed("probes", [it if isinstance(it, str) else _plain(it) for it in probes]),
    ]
    return "\n".join(part for part in parts if part)


def _plain(entry: Plain) -> dict[str, Any]:
    written = entry.model_dump(mode="json", exclude_defaults=True)
    word = entry.word if isinstance(entry, KernelSource) else ""
    return dict(sorted(written.items(), key=lambda it: it[0] != word))  # the source first


def _listed(key: str, items: Iterable[Any]) -> str:
    """One item a line."""
    lines = []
    for item in items:
        kept = {name: it for name, it in item.items() if it is not None} if isinstance(item, dict) else item
        text = yaml.safe_dump(kept, default_flow_style=True, width=1 << 16, sort_keys=False).removesuffix("...\n")
        lines.append(f"  - {text.strip()}")
    return "\n".join([f"{key}:", *lines, ""]) if lines else ""
