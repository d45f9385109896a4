# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs a user's command as root: in /payload, in mount, network and cgroup namespaces of its own.

A child makes the namespaces and stays in them, so that it sees the command's files to the end; the command is its
child, in a cgroup that is killed when it ends. What the command prints is kept in part: its beginning and its end.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import resource
import select
import sys
import zlib
from time import monotonic, sleep

from . import NoAnswer, encode, failure, scan
from .cgroups import ROOT, CommandGroup, end_command
from .guest import LIBC, allow_huge_pages, load_modules, try_write, unshare, write
from .mounts import mount, prepare
from .surroundings import PAYLOAD, bring, enter, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    from .surroundings import Entry

    class Body(TypedDict):
        """Body of runner/probes/commands. Seconds; `files` by the machine's name."""

        run: list[str]
        files: dict[str, list[Entry]]
        tree: str
        env: dict[str, str]
        timeout_s: float
        silence_s: float
        bring: list[str]
        repeat: int
        shared: bool

    Answer = dict[str, object]

HALF = 2 << 20  # bytes of the beginning, and of the end, that are kept of what a command prints
_PART = 1 << 20  # characters of a line
_BEAT_S, _LOOK_MS, _LAST_S = 5, 200, 2
_BEAT = b'{"event": "alive"}\n'
_SETPIPE_SZ, _PIPE = 1031, 1 << 20  # F_SETPIPE_SZ, bytes
_REST_S = 0.01  # so that what is printed comes in large pieces: under emulation each costs a millisecond and more
_NEWCGROUP = 0x02000000
_IGNORED = (13, 25)  # SIGPIPE and SIGXFSZ: Python ignores them, and what is ignored stays so
_FILES = (1024, 524288)  # soft and hard limit of open files, as systemd sets them
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108
_SILENT, _TIMED_OUT = "silence", "time"


class Prober:
    """Runs one command after the other."""

    says_parts, needs_libbpf = True, False

    def __init__(self, libbpf: None, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._folder = folder
        prepare()
        write("/proc/self/oom_score_adj", "-1000")

    def ask(self, body: Body) -> Answer:
        """`runs`: for each repetition how it ended. What it printed and left comes in parts, packed by zlib, as base64:
        `0/output`, `0/files/NAME`."""
        machine = os.uname().machine
        if machine not in body["files"]:
            raise NoAnswer(f"there are no files of the command for {machine}")
        command = Command(body, self._folder)
        return {"runs": [_by_a_child(command, number) for number in range(body["repeat"])]}


def shell(path: str) -> NoReturn:
    """Become a shell where the one command of this ASKS.json would run, with all that it would see but its limits."""
    with open(path, encoding="ascii") as file:
        document = scan(file.read(), 0)[0]
    load_modules(document["modules"])
    (ask,) = document["asks"]
    prepare()
    Command(ask["body"], os.path.dirname(os.path.abspath(path))).become_shell()


def _by_a_child(command: Command, number: int) -> Answer:
    """How a run of a command ended. Raises NoAnswer."""
    source, target = os.pipe()
    child = os.fork()
    if not child:
        try:
            ended = command.ended(number)
        except Exception as error:
            ended = {"failed": failure(error)}
        try:
            with open(target, "w", encoding="ascii") as answers:
                answers.write("".join(encode(ended, 0)))
        finally:
            os._exit(0)
    os.close(target)
    with open(source, encoding="ascii") as answers:
        said = answers.read()
    os.waitpid(child, 0)
    end_command(Pulse().beat)
    if not said:
        raise NoAnswer("the process that watched the command ended before its time")
    answer: Answer = scan(said, 0)[0]
    if why := answer.get("failed"):
        raise NoAnswer(str(why))
    return answer


def _say(name: str, packed: bytes, number: int) -> None:
    """Something that may be too long for a line: `name` is in the run of this number."""
    text = binascii.b2a_base64(packed, newline=False).decode()
    for at in range(0, len(text), _PART):
        part = {"event": "part", "name": f"{number}/{name}", "data": text[at : at + _PART]}
        sys.stdout.write("".join(encode(part, 0)) + "\n")
        sys.stdout.flush()


class Pulse:
    """Says now and then that what is asked takes its time."""

    def __init__(self) -> None:
        self._last = monotonic()

    def beat(self) -> None:
        """To be called more often than it says that."""
        if monotonic() - self._last > _BEAT_S:
            self._last = monotonic()
            os.write(1, _BEAT)


class Command:
    """A command. Each of its runs is a process's own: `ended` or `become_shell` is called once in each."""

    def __init__(self, body: Body, folder: str) -> None:
        """`folder` has the pushed files."""
        self._wanted, self._folder = body, folder
        self._head, self._tail, self._size = bytearray(), bytearray(), 0
        self._variables: dict[str, str] = {}  # of a container image
        if body["shared"]:
            show()

    def ended(self, number: int) -> Answer:
        """Run it to its end. Raises NoAnswer when it cannot be started, OSError when the guest lacks something."""
        group = CommandGroup()
        self._enter()
        begun = monotonic()
        status, why = self._listen(*self._start(group), group, begun)
        brought, refused = bring(self._wanted["bring"])
        answer: Answer = {
            "status": status,
            "ended": why,
            "duration_s": round(monotonic() - begun, 3),
            "oom_kills": group.count("memory.events", "oom_kill"),
            "refused_forks": group.count("pids.events", "max"),
            "full": [path for path in ("/", PAYLOAD, "/tmp") if _is_full(path)],  # noqa: S108
            "not_brought": refused,
        }
        _say("output", zlib.compress(self._kept(), 1), number)
        for name, packed in brought.items():
            _say(f"files/{name}", packed, number)
        return answer

    def become_shell(self) -> NoReturn:
        """Let a shell take the command's place, on this terminal. Raises OSError."""
        self._enter()
        mount("cgroup2", ROOT, "cgroup2")
        self._execute(["sh"], TERM=os.environ.get("TERM", "dumb"))

    def _enter(self) -> None:
        """Enter what the command has of its own. Raises OSError."""
        files = self._wanted["files"].get(os.uname().machine, [])
        self._variables = enter(files, self._folder, self._wanted["tree"])

    def _execute(self, words: list[str], **more: str) -> NoReturn:
        """Become a program, in /payload. Raises OSError."""
        for number in _IGNORED:
            LIBC.signal(number, None)  # SIG_DFL
        os.chdir(PAYLOAD)
        os.execvpe(words[0], words, {**_ENVIRONMENT, **self._variables, **more, **self._wanted["env"]})  # noqa: S606

    def _start(self, group: CommandGroup) -> tuple[int, int]:
        """The command's process, and where what it prints can be read."""
        (output, printed), (failure, failed) = os.pipe(), os.pipe()
        fcntl.fcntl(output, _SETPIPE_SZ, _PIPE)
        child = os.fork()
        if not child:
            try:
                self._become(group, printed)
            except OSError as error:
                os.write(failed, f"{error.errno} {error.strerror}".encode())
            finally:
                os._exit(127)
        os.close(printed)
        os.close(failed)
        with open(failure, encoding="utf-8", errors="replace") as words:
            said = words.read()
        if said:
            os.waitpid(child, 0)
            number, _, what = said.partition(" ")
            raise NoAnswer(f"{self._wanted['run'][0]} cannot be started: {what} (errno {number})")
        return child, output

    def _become(self, group: CommandGroup, printed: int) -> None:
        """In the new process: the command takes its place. Raises OSError."""
        os.setsid()
        if group.enter():
            unshare(_NEWCGROUP)
            mount("cgroup2", ROOT, "cgroup2")
        write("/proc/self/oom_score_adj", "0")
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, _FILES)
        allow_huge_pages(True)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        self._execute(self._wanted["run"])

    def _listen(self, child: int, output: int, group: CommandGroup, begun: float) -> tuple[int | None, str]:
        """Keep what it prints until it ended, or reached a limit: its exit status (negative: a signal), which limit."""
        poll = select.poll()
        poll.register(output, select.POLLIN)
        end = _end_of(child)
        if end >= 0:
            poll.register(end, select.POLLIN)
        heard, pulse = begun, Pulse()
        status, why, held = None, "", True  # held: somebody has its output
        until = begun + 2 * self._wanted["timeout_s"] + _LAST_S  # after that it does not even die
        while (now := monotonic()) < until:
            pulse.beat()
            if status is None:
                why = why or self._limit(now - begun, now - heard, child, group)
                status = _status(child)
                if status is not None:
                    until = now + (_LAST_S if held else 0)
                    group.kill(child)
                    if end >= 0:
                        poll.unregister(end)
                    continue
            if output in dict(poll.poll(_LOOK_MS)):
                if now - heard < _REST_S:
                    sleep(_REST_S)
                chunk = os.read(output, _PIPE)
                heard = now
                self._keep(chunk)
                if not chunk:  # nobody has its output any more
                    poll.unregister(output)
                    held = False
                    until = now if status is not None else until
        return (None if why else status), why

    def _limit(self, since_s: float, silent_s: float, child: int, group: CommandGroup) -> str:
        """The limit that is reached, if one is: then it is ended, and what hangs in the kernel is on the console."""
        late, quiet = since_s > self._wanted["timeout_s"], silent_s > self._wanted["silence_s"]
        if not (late or quiet):
            return ""
        try_write("/proc/sysrq-trigger", "w")
        group.kill(child)
        return _TIMED_OUT if late else _SILENT

    def _keep(self, chunk: bytes) -> None:
        self._size += len(chunk)
        room = max(0, HALF - len(self._head))
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * HALF:
            del self._tail[: len(self._tail) - HALF]

    def _kept(self) -> bytes:
        del self._tail[: max(0, len(self._tail) - HALF)]
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n[... {left_out} bytes ...]\n".encode() if left_out else b""
        return bytes(self._head) + gap + bytes(self._tail)


def _end_of(child: int) -> int:
    """A descriptor that is ready when the process has ended; -1 before v5.3."""
    try:
        return os.pidfd_open(child)
    except OSError:
        return -1


def _status(child: int) -> int | None:
    ended, code = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(code) if ended else None


def _is_full(path: str) -> bool:
    found = os.statvfs(path)
    return found.f_blocks > 0 and found.f_bavail == 0
