"""The command line. The only place that turns an outcome into an exit status."""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.text import Text

from runner.errors import BootError, RunnerError, UserError

EXIT_OK, EXIT_BROKEN, EXIT_NO_ANSWER, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 64, 130
_TYPER_USAGE = 2  # what typer exits with for a bad option


class Finished(Exception):
    """A command is done; its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main() -> None:
    """The entry point `runner`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where it is not UTF-8, a question mark is better than a traceback
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit status. No traceback for a user's mistake or a machine's."""
    from runner.cli.app import app  # noqa: PLC0415  late, so that an interrupt while importing is caught as well

    try:
        app(arguments, prog_name="runner")
    except Finished as finished:
        return finished.status
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else EXIT_OK
        return EXIT_USAGE if code == _TYPER_USAGE else code
    except RunnerError as error:
        return _explain(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `runner ... | head`
        sys.stderr.close()
        return EXIT_OK
    return EXIT_OK


def _explain(error: RunnerError) -> int:
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble(("error: ", "bold red"), error.what), soft_wrap=True)
    if error.hint:
        console.print(Text(f"  {error.hint}"), soft_wrap=True)
    if isinstance(error, BootError):
        console.print(Text(error.console_tail, style="dim"), soft_wrap=True)
        return EXIT_BROKEN
    return EXIT_USAGE if isinstance(error, UserError) else EXIT_NO_ANSWER
