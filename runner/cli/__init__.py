# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The command line, and the only place that turns an outcome into an exit status.

0: everything was answered as expected. 1: a kernel answered otherwise. 2: something has no answer, or this program or
its machine failed. 64: bad usage. 130: interrupted. An exception that nobody expected is this program's fault: it is
status 2, never 1, which would blame a kernel. For `git bisect run` other numbers are meant, see BISECT.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import select
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

from runner.errors import BootError, InfraError, RunnerError, UserError

EXIT_OK, EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 64, 130
# `git bisect run` takes 1 for bad, 125 for a commit to skip, any other one below 128 for bad, and stops at all above
BISECT, EXIT_SKIP, EXIT_STOP = "--bisect", 125, 128
_BISECT_KNOWS = frozenset((EXIT_OK, EXIT_BROKEN, EXIT_SKIP, EXIT_INTERRUPTED))
_TYPER_USAGE = 2  # the status with which typer ends for a bad option
_OBJECTS = 100_000  # new ones before cycles are looked for, of which there are few: a tenth of a command's time
_VERBOSE = frozenset(("-v", "--verbose"))


class Finished(Exception):
    """A command is done; its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _NoReaderError(Exception):
    """Whoever read stdout is gone, as in `runner ... | head`."""


def main() -> None:
    """The entry point `runner`."""
    gc.set_threshold(_OBJECTS)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where it is not UTF-8, a question mark is better than a traceback
    sys.exit(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """As if /dev/null: else the first file that is opened takes the number of a stream that the caller closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(nowhere := os.open(os.devnull, os.O_RDWR), number)
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def run(arguments: list[str], engine: object = None) -> int:
    """Run one command line and return its exit status. Raises nothing. Another `engine` than ours boots no guests."""
    streams = sys.stdout, sys.stderr
    try:
        status = _command(arguments, engine)
        _flush()
    except RunnerError as error:
        status = explain(error)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except _NoReaderError:
        status = EXIT_NO_ANSWER  # what was printed is not whole, and nobody reads what else could be said
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        said: RunnerError = InfraError(f"cannot write to {error.filename or 'stdout'}: {error.strerror}")
        if _folder_is_gone():
            said = UserError("the current folder was deleted", hint="cd to another one")
        status = explain(said) if full or isinstance(said, UserError) else _unexpected(error, arguments)
    except BaseException as error:
        status = _unexpected(error, arguments)
    sys.stdout, sys.stderr = streams  # typer replaces them when a pipe breaks
    _drop_unwritten()
    return EXIT_STOP if BISECT in arguments and status not in _BISECT_KNOWS else status


def _command(arguments: list[str], engine: object) -> int:
    from runner.cli.app import app  # noqa: PLC0415  late, so that an interrupt while importing is caught as well

    try:
        app(arguments, prog_name="runner", obj=engine)
    except Finished as finished:
        return finished.status
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer and rich make it status 1
            of_rich = traceback.extract_tb(ended.__traceback__)[-1].name == "on_broken_pipe"
            raise _NoReaderError if of_rich or _reader_is_gone() else ended.__context__ from None
        if ended.code == _TYPER_USAGE:
            return EXIT_USAGE
        if ended.code in {EXIT_OK, EXIT_INTERRUPTED}:
            return int(ended.code or 0)
        raise
    return EXIT_OK


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise _NoReaderError from None
    except OSError as error:
        raise InfraError(f"cannot write to stdout: {error.strerror}") from error


def explain(error: RunnerError) -> int:
    """Print it to stderr. Returns the exit status."""
    from rich.console import Console  # noqa: PLC0415  late: what cannot be imported must not end this module
    from rich.text import Text  # noqa: PLC0415

    from runner.text import printable  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    with suppress(OSError):
        console.print(Text.assemble(("error: ", "bold red"), printable(error.what)), soft_wrap=True)
        if error.hint:
            console.print(Text(f"  {printable(error.hint)}"), soft_wrap=True)
        if isinstance(error, BootError):
            console.print(Text(printable(error.console_tail), style="dim"), soft_wrap=True)
    if isinstance(error, BootError):
        return EXIT_BROKEN
    return EXIT_USAGE if isinstance(error, UserError) else EXIT_NO_ANSWER


def _unexpected(error: BaseException, arguments: list[str]) -> int:
    """One line and where the traceback is; with -v the traceback as well."""
    from runner.text import plain  # noqa: PLC0415

    trace = "".join(traceback.format_exception(error))
    shown = bool(_VERBOSE.intersection(arguments))
    place = "above"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="runner-error-", suffix=".log", delete=False) as file:
            file.write(trace)
        place = file.name
    except OSError:
        shown = True
    said = plain(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 200)
    with suppress(OSError, ValueError):  # of a stderr that is full or closed
        sys.stderr.write(
            f"{trace if shown else ''}error: a bug in runner, not in a kernel: {said}; traceback: {place}\n"
        )
    return EXIT_NO_ANSWER


def _folder_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _reader_is_gone() -> bool:
    """Was it stdout that broke, and not a pipe of our own?"""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return True


def _drop_unwritten() -> None:
    """Python would try to write the rest at its end, and change the exit status."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
