# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The one way to start another program. What is started here is gone, with all its descendants, when the block ends.

Every command runs under `supervise.py`, in a session of its own: a Ctrl-C reaches this program alone, which then ends
what it started, and a SIGKILL of this program ends it as well. If the supervisor is killed, this program ends what it
left; if both are killed, the next `own_folder` beside theirs does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
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
_MARK = "RUNNER_TREE"  # in the environment of all that is started here: by it they are found without a supervisor
_STOPPED = frozenset({"T", "t"})  # proc(5): by a signal, by a debugger


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left, here or on another machine. Hostile text when that is a guest."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of what `spawn` starts. Its lock is held for as long as somebody is there to remove it."""

    path: Path
    lock: int  # a file descriptor


@contextlib.contextmanager
def own_folder(parent: Path, prefix: str, *, end_s: float) -> Iterator[Folder]:
    """A new folder in `parent`, removed when the block ends.

    Ends and removes first what killed programs left beside it under the same prefix, within `end_s` for each.
    Raises InfraError when another program has taken the new folder.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(parent, end_s):
        left = [folder for path in parent.glob(f"{prefix}*") if (folder := _take(path))]
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        folder = _take(path)
    for old in left:
        log.warning("%s is of a program that was killed: ending what it left", old.path)
        _end_marked(str(old.path), end_s)
        _remove(old)
    if folder is None:
        raise InfraError(f"{path} is in use by another program")
    try:
        yield folder
    finally:
        _remove(folder)


@contextlib.contextmanager
def _locked(parent: Path, limit_s: float) -> Iterator[None]:
    """Nobody else makes or takes a folder in there; held for an instant, but its holder may be stopped."""
    limit = time.monotonic() + limit_s
    while (held := _take(parent)) is None:
        if time.monotonic() > limit:
            raise InfraError(f"{parent} is locked by another program for more than {limit_s:g} s")
        time.sleep(0.01)
    try:
        yield
    finally:
        os.close(held.lock)


def _take(path: Path) -> Folder | None:
    """The folder with its lock; None when it is somebody else's, or gone."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return Folder(path, lock)


def _remove(folder: Folder) -> None:
    shutil.rmtree(folder.path, ignore_errors=True)
    os.close(folder.lock)


def require(tool: str) -> str:
    """The path of a program. Raises InfraError when it is not installed."""
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
    folder: Folder | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `argv` with `env` added to the environment. `folder` goes when the command has gone.

    When the block ends, what still runs is ended, and killed before `end_s` is over.

    Raises InfraError when the program does not exist.
    """
    command = [os.fspath(part) for part in argv]
    command[0] = require(command[0])
    log.info("$ %s", shlex.join(command))
    mark = str(folder.path) if folder else secrets.token_hex(16)
    read_end, write_end = os.pipe()
    supervised = [sys.executable, "-I", "-S", os.fspath(_SUPERVISOR)]
    supervised += [str(read_end), str(folder.path if folder else ""), str(end_s), *command]
    try:
        process = subprocess.Popen(
            supervised,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, **(env or {}), _MARK: mark},
            pass_fds=[read_end, folder.lock] if folder else [read_end],
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
            if process.wait() < 0:
                _end_marked(mark, end_s)


def _await(supervisor: subprocess.Popen[bytes], limit_s: float) -> None:
    """It ends by itself once it has ended the others, unless somebody stopped it."""
    try:
        supervisor.wait(limit_s)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        log.warning("process %d, which ends what it started, did not end within %g s", supervisor.pid, limit_s)


def _end_marked(mark: str, end_s: float) -> None:
    """SIGKILL what carries `mark` until nothing does: their supervisor was killed."""
    limit = time.monotonic() + end_s
    while marked := [pid for pid in _processes() if _carries(pid, mark)]:
        if time.monotonic() > limit:
            log.warning("cannot be ended, and are left: %s", marked)
            return
        for pid in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _carries(pid: int, mark: str) -> bool:
    try:
        return f"{_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # somebody else's, or gone
        return False


def is_stopped(supervisor: int) -> bool:
    """Is a process below `supervisor` stopped?"""
    return any(state in _STOPPED for _, state in _below(supervisor))


def starved_s(supervisor: int) -> float:
    """For how long the thread below `supervisor` that waited most was ready to run and had no processor, in seconds.

    0 where the kernel does not count it. Documentation/scheduler/sched-stats.rst: the second of three numbers.
    """
    waited_ns = [0]
    for pid, _ in _below(supervisor):
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                waited_ns.append(int(path.read_text().split()[1]))
    return max(waited_ns) / 1e9


def _below(supervisor: int) -> Iterator[tuple[int, str]]:
    """Each process below `supervisor`, and itself: its id and state."""
    processes = _processes()
    for pid, (state, _) in processes.items():
        above = pid
        while above in processes and above != supervisor:
            above = processes[above][1]
        if above == supervisor:
            yield pid, state


def _processes() -> dict[int, tuple[str, int]]:
    """Of each process its state and its parent's id; zombies are none."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            found[int(path.parent.name)] = state, int(parent)
    return found


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
    stdin: Stdio = subprocess.DEVNULL,
    check: bool = True,
) -> Completed:
    """Run `argv` to its end and keep what it printed. `stdin`: where `input` is not given.

    Raises InfraError when the program does not exist, when `deadline` passes, and, unless `check` is False, when it
    exits with anything but 0.
    """
    pipe = subprocess.PIPE
    line = _shown(argv)
    stdin = stdin if input is None else pipe
    with spawn(argv, end_s=deadline.end_s, stdin=stdin, stdout=pipe, stderr=pipe, cwd=cwd, env=env) as process:
        try:
            out, err = process.communicate(input, timeout=deadline.remaining_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise InfraError(f"`{line}` did not end within {deadline.what}") from None
        except BaseException:
            process.terminate()
            raise
    done = Completed(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and done.returncode != 0:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL_LINES:])
        hint = FULL_DISK_HINT if os.strerror(errno.ENOSPC) in tail else ""
        raise InfraError(f"`{line}` failed with exit status {done.returncode}:\n{tail}", hint=hint)
    return done


def run_in_sight(argv: Sequence[str | os.PathLike[str]], *, end_s: float, limit_s: float | None = None) -> int:
    """Run `argv` to its end; all that it prints goes to stderr as it comes. Returns its exit status.

    Raises InfraError when the program does not exist, and when it takes longer than `limit_s`.
    """
    sys.stdout.flush()
    with spawn(argv, end_s=end_s, stdout=2) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise InfraError(f"`{_shown(argv)}` did not end within {limit_s:.0f} s") from None
