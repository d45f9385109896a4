"""What several commands share: their options, where a project's files are, and how something is printed."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from runner.errors import InfraError
from runner.matrix import Matrix, load_matrix, project_root
from runner.matrix.lock import read_lock
from runner.model import Limits, Lock
from runner.results.store import ResultStore

_WHOLE = 1000  # characters; more than any first sentence has


class Group(TyperGroup):
    """Its help shows the first sentence about each command whole, on several lines where it is long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Format(StrEnum):
    """How a command that lists or shows prints."""

    TEXT = "text"
    JSON = "json"


class _Formatter(logging.Formatter):
    """Commands as they are; anything worse says what it is."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def set_verbose(wanted: bool) -> None:
    """Warnings always go to stderr; with -v, so does every command that is run."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO if wanted else logging.WARNING, handlers=[handler], force=True)


MatrixFile = Annotated[Path, typer.Option("--matrix", help="The matrix file.", show_default=True)]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of printing.")]
Hosts = Annotated[Path | None, typer.Option("--hosts", help="Run on the hosts of this file, see `runner host`.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is in the cache.")]
Gdb = Annotated[bool, typer.Option("--gdb", help="Let gdb attach to the guest, and print the line that does.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=set_verbose, help="Show the commands that are run.")]

DEFAULT_MATRIX = Path("matrix.yaml")


@dataclass(frozen=True, slots=True)
class Project:
    """A matrix and the files that belong to it."""

    matrix: Matrix

    @classmethod
    def at(cls, path: Path) -> Self:
        """Raises UserError when the matrix is wrong; nothing else is touched."""
        return cls(load_matrix(path))

    @property
    def root(self) -> Path:
        return project_root(self.matrix.path)

    @property
    def lock_path(self) -> Path:
        """matrix.lock beside matrix.yaml; nightly.lock beside nightly.yaml."""
        return self.matrix.path.with_suffix(".lock")

    @property
    def limits(self) -> Limits:
        return self.matrix.file.limits

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def table(self) -> Path:
        """The availability of a matrix's last run: availability.md of matrix.yaml, nightly.md of nightly.yaml."""
        stem = self.matrix.path.stem
        return self.reports / f"{'availability' if stem == DEFAULT_MATRIX.stem else stem}.md"

    @property
    def database(self) -> Path:
        return self.reports / "results.db"

    def lock(self) -> Lock:
        return read_lock(self.lock_path)


def store_of(project: Project, *, read_only: bool = False) -> ResultStore:
    """`with store_of(project) as store:`."""
    return ResultStore(project.database, read_only=read_only, busy_s=project.limits.store_s)


def limits_of(matrix: Path) -> Limits:
    """A matrix's limits, for a command that needs nothing else of it; without a matrix.yaml those by default."""
    return Limits() if matrix == DEFAULT_MATRIX and not matrix.exists() else Project.at(matrix).limits


def out_console() -> Console:
    """For what a command is about. Pipes and NO_COLOR are respected by rich; a pipe is not 80 columns wide."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    return console


def emit(content: str | RenderableType, output: Path | None) -> None:
    """Print a text as it is, or anything that rich can draw; or write it to a file. Raises InfraError."""
    try:
        with ExitStack() as stack:
            target = stack.enter_context(output.open("w", encoding="utf-8")) if output else sys.stdout
            if isinstance(content, str):
                target.write(content if content.endswith("\n") else content + "\n")
            elif output is None:
                out_console().print(content, crop=False)
            else:
                Console(file=target, width=160, highlight=False).print(content, crop=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InfraError(f"cannot write to {output or 'stdout'}: {error.strerror}") from error


def emit_json(document: object, output: Path | None) -> None:
    """Print a document for scripts, or write it to a file."""
    emit(json.dumps(document, indent=1), output)
