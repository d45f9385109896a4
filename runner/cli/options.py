# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What several commands share: their options, how a function becomes a command, how an answer is printed."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from runner.cli import BISECT, EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_OK, Finished, completion
from runner.errors import InfraError, UserError
from runner.model.version import Versions
from runner.project import DEFAULT_MATRIX, Project
from runner.reports.findings import broken, incomplete
from runner.results.diff import builds_compared
from runner.results.model import JudgedRun
from runner.steps import heard
from runner.text import nearest, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_WHOLE = 1000  # characters; more than any first sentence has
_PIPE_WIDTH = 160  # characters of a line where there is no terminal


class Format(StrEnum):
    """How a command that lists or shows prints."""

    TEXT = "text"
    JSON = "json"


class _Formatter(logging.Formatter):
    """Commands as they are; anything worse says what it is. What a host or a guest said acts on no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


def set_verbose(wanted: bool) -> None:
    """Warnings always go to stderr; with -v, so does every command that is run."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO if wanted else logging.WARNING, handlers=[handler], force=True)


MatrixFile = Annotated[Path, typer.Option("--matrix", help="The matrix file.", show_default=True)]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of printing.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", callback=set_verbose, help="Show the commands that are run.")]
Hosts = Annotated[Path | None, typer.Option("--hosts", help="Run on the hosts of this file, see `runner host`.")]
Slots = Annotated[
    int | None, typer.Option("-n", "--slots", min=1, help="Concurrent guests. [default: what this machine can run]")
]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KERNEL",
        autocompletion=completion.kernels,
        help="6.12, 6.12.117, '>=6.1,<7', ./bzImage, ./linux, oci:REF. May be repeated. [default: the matrix's]",
    ),
]
Archs = Annotated[
    list[str] | None, typer.Option(metavar="ARCH", help="Architecture. May be repeated. [default: the matrix's]")
]
CompilerOption = Annotated[
    str, typer.Option("--cc", metavar="CC", help="The compiler of the kernel, such as gcc-14. [default: gcc]")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask everything, also what is answered in an earlier run.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is in the cache.")]
NoSnapshot = Annotated[bool, typer.Option("--no-snapshot", help="Boot each guest instead of starting from a snapshot.")]
Bisects = Annotated[
    bool, typer.Option(BISECT, help="For `git bisect run`: exit 0 as expected, 1 not, 125 no answer, 128 failure.")
]
Resumed = Annotated[str, typer.Option(metavar="RUN", autocompletion=completion.runs, help="Resume this stopped run.")]
EventFormat = Annotated[
    Format, typer.Option("--format", help="json: a JSON object per event on stdout, all else on stderr.")
]
RunId = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="A run's id. [default: every cell of the matrix, with its newest answer]",
    ),
]


class Group(TyperGroup):
    """Its help shows the first sentence about each command whole, on several lines where it is long."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Raises UserError, with the nearest name, when there is no such command: typer sees no lazy ones."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not (name.startswith("-") or ctx.resilient_parsing):
            raise UserError(f"there is no command `{ctx.command_path} {name}`", hint=nearest(name, known))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def group(help_: str, example: str) -> typer.Typer:
    """A group of commands. `example` is a command line without `runner`."""
    return typer.Typer(cls=Group, help=help_, epilog=f"Example: runner {example}", no_args_is_help=True)


def versions(option: str, word: str) -> Versions:
    """Raises UserError when they are none."""
    try:
        return Versions.parse(word)
    except ValueError as error:
        hint = f"such as {option} 6.12 or {option} '>=6.1,<7'"
        raise UserError(f"{option} {word}: {error}", hint=hint) from None


def only_a_new_run_takes(given: Mapping[str, object], hint: str) -> None:
    """Raises UserError when an option or argument was given that cannot change a run which is resumed."""
    if wrong := [word for word, it in given.items() if it]:
        raise UserError(f"--resume executes a run as it began; {', '.join(wrong)} cannot change it", hint=hint)


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command answers: for people, for scripts, and as an exit status. A function is called when it is wanted.

    A string is printed as it is; a document that is none becomes JSON.
    """

    text: RenderableType | Callable[[], RenderableType]
    document: Any  # str, what JSON can hold, or a function that returns it
    status: int = EXIT_OK

    def emit(self, format_: Format, output: Path | None) -> None:
        content: Any = self.text if format_ is Format.TEXT else self.document
        content = content() if callable(content) else content
        if format_ is Format.JSON and not isinstance(content, str):
            content = json.dumps(content, indent=1)
        emit(content, output)


def exit_status(judged: JudgedRun) -> int:
    """Of `runner matrix run` and `runner load`, and of the reports that show a run."""
    if compared := builds_compared(judged):
        return EXIT_BROKEN if compared.worse else EXIT_NO_ANSWER if compared.open else EXIT_OK
    return EXIT_BROKEN if broken(judged) else EXIT_NO_ANSWER if incomplete(judged) else EXIT_OK


Stats = Annotated[
    Literal["insns", "states", "peak_states", "stack_depth_bytes", "prog_bytes", "jited_bytes"] | None,
    typer.Option("--stats", help="Show this number of the verifier in the grid."),
]

Body = Callable[..., Shown | None]


def command(app: typer.Typer, name: str, example: str = "", *, takes_rest: bool = False) -> Callable[[Body], Body]:
    """Make a function a command of `app`. `example` is a command line without `runner`; without one it is hidden.

    With `takes_rest`, everything behind the first argument belongs to it, also what looks like an option.

    Its options come from its signature. `project: Project` is that of --matrix, any other dataclass stands for its
    fields, a function that returns Shown has --format and --output, and all have -v.
    """

    def add(body: Body) -> Body:
        signature = inspect.signature(body, eval_str=True)
        shows = signature.return_annotation is Shown
        parts: dict[str, Any] = {
            it.name: it.annotation for it in signature.parameters.values() if is_dataclass(it.annotation)
        }
        options: dict[str, tuple[Any, Any]] = {}
        for it in signature.parameters.values():
            options |= _fields(parts[it.name]) if it.name in parts else {it.name: (it.annotation, it.default)}
        options |= {"matrix": (MatrixFile, DEFAULT_MATRIX)} if Project in parts.values() else {}
        options |= {"format_": (FormatOption, Format.TEXT), "output": (Output, None)} if shows else {}
        options["verbose"] = (Verbose, False)

        def run(**given: Any) -> None:
            words = {word: given[word] for word in signature.parameters if word not in parts}
            for word, part in parts.items():
                words[word] = (
                    Project.at(given["matrix"]) if part is Project else part(**{it: given[it] for it in _fields(part)})
                )
            with steps_shown(progress_console()):
                shown = body(**words)
            if shown is not None:
                shown.emit(given["format_"], given["output"])
                raise Finished(shown.status)

        only = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(word, only, annotation=it, default=value) for word, (it, value) in options.items()]
        )
        run.__annotations__ = {word: it for word, (it, _) in options.items()}
        text = f"{inspect.getdoc(body)}\n\nExample: runner {example}"
        settings = {"allow_interspersed_args": not takes_rest}
        shown = text if example else inspect.getdoc(body)
        app.command(name, hidden=not example, help=shown, context_settings=settings)(run)
        return body

    return add


def _fields(part: Any) -> dict[str, tuple[Any, Any]]:
    """The options of a dataclass: annotation and default of each field. A project has none of its own."""
    hints = get_type_hints(part, include_extras=True)
    return {} if part is Project else {it.name: (hints[it.name], it.default) for it in fields(part)}


# --- printing ---------------------------------------------------------------------------------------------------------


def out_console(file: IO[str] | None = None) -> Console:
    """For what a command is about. Pipes and NO_COLOR are respected by rich; a pipe is not 80 columns wide."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def progress_console() -> Console:
    """For everything else: stderr."""
    return Console(stderr=True, highlight=False)


@contextmanager
def steps_shown(console: Console) -> Iterator[None]:
    """On a terminal, a bar for each step that is under way, with the time left where that is known."""
    if not console.is_terminal:
        yield
        return
    tasks: dict[str, TaskID] = {}
    with ExitStack() as last:
        bars: list[Progress] = []

        def hear(name: str, part: float | None) -> None:
            if not bars:
                bars.append(_bars(console))
                last.callback(bars[0].stop)
            (bar,) = bars
            if part == 1.0:
                if name in tasks:
                    bar.remove_task(tasks.pop(name))
                if not tasks:
                    bar.stop()
                return
            if name not in tasks:
                bar.start()
                tasks[name] = bar.add_task(name, total=None if part is None else 1.0)
            bar.update(tasks[name], completed=part or 0.0)

        with heard(hear):
            yield


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  late: most need none

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn(compact=True))
    return Progress(*columns, console=console, transient=True)


def emit(content: RenderableType, output: Path | None = None, mode: Literal["w", "a"] = "w") -> None:
    """Print a text as it is, or anything that rich can draw; or write it to a file. Raises InfraError."""
    try:
        with ExitStack() as stack:
            target = stack.enter_context(output.open(mode, encoding="utf-8")) if output else sys.stdout
            if isinstance(content, str):
                target.write(content if content.endswith("\n") or not content else content + "\n")
            else:
                out_console(target).print(content, crop=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InfraError(
            f"cannot write to {output or 'stdout'}: {error.strerror}",
            hint="`--output FILE` names another file" if output else "",
        ) from error
