"""The one way to start another program. What is started here is gone, with all its descendants, when the block ends.

Every command runs under `supervise.py`, in a session of its own: a Ctrl-C reaches this program alone, which then ends
what it started, and a SIGKILL of this program ends it as well.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.caches import FULL_DISK_HINT
from runner.errors import InfraError
from runner.model.deadline import Deadline

log = logging.getLogger(__name__)

Stdio = int | None  # a file descriptor, subprocess.PIPE or DEVNULL; None inherits
_SUPERVISOR = Path(__file__).with_name("supervise.py")
_TAIL_LINES = 15
_SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def require(tool: str) -> str:
    """The path of a program. InfraError when it is not installed."""
    found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")  # not in an ordinary user's PATH
    if found is None:
        raise InfraError(f"{tool} is not installed", hint="`runner doctor --fix` installs what is missing")
    return found


@contextlib.contextmanager
def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    end_s: float,
    stdin: Stdio = subprocess.DEVNULL,
    stdout: Stdio = None,
    stderr: Stdio = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    remove: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `argv` with `env` added to the environment. `remove` is a folder that goes when the command has gone.

    When the block ends, what still runs is ended, and killed before `end_s` is over.

    Raises InfraError when the program does not exist.
    """
    command = [os.fspath(part) for part in argv]
    command[0] = require(command[0])
    log.info("$ %s", shlex.join(command))
    read_end, write_end = os.pipe()
    supervised = [
        sys.executable,
        "-I",
        "-S",
        os.fspath(_SUPERVISOR),
        str(read_end),
        str(remove or ""),
        str(end_s),
        *command,
    ]
    try:
        process = subprocess.Popen(
            supervised,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            pass_fds=[read_end],
            start_new_session=True,
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    with process:  # waits, and closes the pipes
        try:
            yield process
        finally:
            os.close(write_end)
            _await(process, 2 * end_s)  # on a KeyboardInterrupt, Popen's own exit gives up after 0.25 s


@contextlib.contextmanager
def ended_at(deadline: Deadline, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends the process when its time is over: a read from its pipe has no limit of its own."""
    timer = threading.Timer(deadline.remaining_s, process.terminate)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _await(supervisor: subprocess.Popen[bytes], limit_s: float) -> None:
    """It ends by itself once it has ended the others, unless somebody stopped it."""
    try:
        supervisor.wait(limit_s)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        log.warning("process %d, which ends what it started, did not end within %g s", supervisor.pid, limit_s)


def _shown(argv: Sequence[str | os.PathLike[str]]) -> str:
    """The command, cut for a message; `-v` shows it whole."""
    line = shlex.join(os.fspath(part) for part in argv)
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…"


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    deadline: Deadline,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002  as in subprocess.run
    check: bool = True,
) -> Completed:
    """Run `argv` to its end and keep what it printed.

    Raises InfraError when the program does not exist, when `deadline` passes, and, unless `check` is False, when it
    exits with anything but 0.
    """
    pipe = subprocess.PIPE
    stdin = subprocess.DEVNULL if input is None else pipe
    line = _shown(argv)
    with spawn(argv, end_s=deadline.end_s, stdin=stdin, stdout=pipe, stderr=pipe, cwd=cwd, env=env) as process:
        try:
            out, err = process.communicate(input, timeout=deadline.remaining_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise InfraError(f"`{line}` did not end within {deadline.what}") from None
        except BaseException:
            process.terminate()
            raise
    done = Completed(
        tuple(os.fspath(part) for part in argv),
        process.returncode,
        out.decode(errors="replace"),
        err.decode(errors="replace"),
    )
    if check and done.returncode != 0:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL_LINES:])
        hint = FULL_DISK_HINT if os.strerror(errno.ENOSPC) in tail else ""
        raise InfraError(f"`{line}` failed with exit status {done.returncode}:\n{tail}", hint=hint)
    return done
