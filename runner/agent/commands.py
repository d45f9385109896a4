# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs a user's command as root: in /payload, in mount, network and cgroup namespaces of its own.

A child makes the namespaces and stays in them, so that it sees the command's files to the end; the command is its
child, in a cgroup that is killed when it ends. What the command prints is kept in part: its beginning and its end.
"""

from __future__ import annotations

import binascii
import ctypes
import fcntl
import os
import resource
import select
import sys
import zlib
from time import monotonic, sleep

from . import NoAnswer, container
from .bring import bring
from .fastjson import encode, scan
from .guest import allow_huge_pages, load_modules, read, write
from .mounts import FILE_SYSTEMS, NETWORK, mount, mount_known, prepare
from .payload import PAYLOAD, lay, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    from .payload import Entry

    class Wanted(TypedDict):
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
MOST_PROCESSES = 2048
SPARE = 64 << 20  # bytes of what is available that are left to the agent and the ssh server
_PART = 1 << 20  # characters of a line
_BEAT_S, _LOOK_MS, _LAST_S, _GONE_S = 5, 200, 2, 120
_BEAT = b'{"event": "alive"}\n'
_SETPIPE_SZ, _PIPE = 1031, 1 << 20  # F_SETPIPE_SZ, bytes
_REST_S = 0.01  # so that what is printed comes in large pieces: under emulation each costs a millisecond and more
_NEWNS, _NEWCGROUP, _NEWNET = 0x00020000, 0x02000000, 0x40000000
_PRIVATE = 1 << 18 | 16384  # MS_PRIVATE, MS_REC
_AF_INET, _SOCK_DGRAM, _SIOCSIFFLAGS, _UP, _IFNAMSIZ, _IFREQ_BYTES = 2, 2, 0x8914, 1, 16, 40
_SIGKILL, _IGNORED = 9, (13, 25)  # SIGPIPE and SIGXFSZ: Python ignores them, and what is ignored stays so
_FILES = (1024, 524288)  # soft and hard limit of open files, as systemd sets them
_CGROUPS, _CGROUP = "/sys/fs/cgroup", "/sys/fs/cgroup/command"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108
_FRESH = ("/tmp", "/run/netns")  # noqa: S108
_SILENT, _TIMED_OUT = "silence", "time"


class Prober:
    """Runs one command after the other."""

    says_parts, needs_libbpf = True, False

    def __init__(self, libbpf: None, folder: str) -> None:  # noqa: ARG002  every kind's prober is made so
        self._folder = folder
        prepare()
        write("/proc/self/oom_score_adj", "-1000")

    def ask(self, body: Wanted) -> Answer:
        """`runs`: for each repetition how it ended. What it printed and left comes in parts, packed by zlib, as base64:
        `0/output`, `0/files/NAME`."""
        machine = os.uname().machine
        if machine not in body["files"]:
            raise NoAnswer(f"there are no files of the command for {machine}")
        if body["shared"]:
            show()
        return {"runs": [self._once(body, body["files"][machine], number) for number in range(body["repeat"])]}

    def _once(self, body: Wanted, files: list[Entry], number: int) -> Answer:
        source, target = os.pipe()
        child = os.fork()
        if not child:
            _answer(body, files, self._folder, number, target)
        os.close(target)
        with open(source, encoding="ascii") as answers:
            said = answers.read()
        os.waitpid(child, 0)
        _remove()
        if not said:
            raise NoAnswer("the process that watched the command ended before its time")
        answer: Answer = scan(said, 0)[0]
        if why := answer.get("failed"):
            raise NoAnswer(str(why))
        return answer


def _answer(body: Wanted, files: list[Entry], folder: str, number: int, target: int) -> NoReturn:
    """In the child: it ends here, whatever happens."""
    try:
        answer = Command(body).ended(files, folder, number)
    except Exception as error:
        answer = {"failed": str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__}: {error}"[:4000]}
    try:
        with open(target, "w", encoding="ascii") as answers:
            answers.write("".join(encode(answer, 0)))
    finally:
        os._exit(0)


def _say(name: str, packed: bytes, number: int) -> None:
    """Something that may be too long for a line: `name` is in the run of this number."""
    text = binascii.b2a_base64(packed, newline=False).decode()
    for at in range(0, len(text), _PART):
        part = {"event": "part", "name": f"{number}/{name}", "data": text[at : at + _PART]}
        _write_all("".join(encode(part, 0)).encode() + b"\n")


def _write_all(line: bytes) -> None:
    while line:
        line = line[os.write(1, line) :]


def shell(path: str) -> NoReturn:
    """Become a shell where the one command of this ASKS.json would run, with all that it would see but its limits."""
    with open(path, encoding="ascii") as file:
        document = scan(file.read(), 0)[0]
    load_modules(document["modules"])
    (ask,) = document["asks"]
    wanted: Wanted = ask["body"]
    prepare()
    if wanted["shared"]:
        show()
    files = wanted["files"].get(os.uname().machine, [])
    Command(wanted).become_shell(files, os.path.dirname(os.path.abspath(path)))


class Command:
    """One run of a command."""

    def __init__(self, body: Wanted) -> None:
        self._wanted = body
        self._head, self._tail, self._size = bytearray(), bytearray(), 0
        self._variables: dict[str, str] = {}  # of a container image

    def ended(self, files: list[Entry], folder: str, number: int) -> Answer:
        """Run it to its end. Raises NoAnswer when it cannot be started, OSError when the guest lacks something."""
        cgroup = _cgroup()
        self._enter(files, folder)
        begun = monotonic()
        status, why = self._listen(*self._start(cgroup), cgroup, begun)
        brought, refused = bring(self._wanted["bring"], PAYLOAD)
        answer: Answer = {
            "status": status,
            "ended": why,
            "duration_s": round(monotonic() - begun, 3),
            "oom_kills": _count(cgroup, "memory.events", "oom_kill"),
            "refused_forks": _count(cgroup, "pids.events", "max"),
            "full": [path for path in ("/", PAYLOAD, "/tmp") if _is_full(path)],  # noqa: S108
            "not_brought": refused,
        }
        _say("output", zlib.compress(self._kept(), 1), number)
        for name, packed in brought.items():
            _say(f"files/{name}", packed, number)
        return answer

    def become_shell(self, files: list[Entry], folder: str) -> NoReturn:
        """Let a shell take the command's place, on this terminal. Raises OSError."""
        self._enter(files, folder)
        mount("cgroup2", _CGROUPS, "cgroup2")
        self._execute(["sh"], TERM=os.environ.get("TERM", "dumb"))

    def _enter(self, files: list[Entry], folder: str) -> None:
        """Enter what the command has of its own: namespaces, its root, its files. Raises OSError."""
        own_network = not os.path.exists(NETWORK)
        _isolate(own_network=own_network)
        if disk := container.device():
            root, self._variables = container.mounted(disk)
            lay(files, folder, self._wanted["tree"], root)
            container.enter(root)
        else:
            lay(files, folder, self._wanted["tree"])
        _mount_own(new_sys=own_network and not disk)

    def _execute(self, words: list[str], **more: str) -> NoReturn:
        """Become a program, in /payload. Raises OSError."""
        for number in _IGNORED:
            ctypes.CDLL(None).signal(number, None)  # SIG_DFL
        os.chdir(PAYLOAD)
        os.execvpe(words[0], words, {**_ENVIRONMENT, **self._variables, **more, **self._wanted["env"]})  # noqa: S606

    def _start(self, cgroup: int) -> tuple[int, int]:
        """The command's process, and where what it prints can be read."""
        (output, printed), (failure, failed) = os.pipe(), os.pipe()
        fcntl.fcntl(output, _SETPIPE_SZ, _PIPE)
        child = os.fork()
        if not child:
            try:
                self._become(cgroup, printed)
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

    def _become(self, cgroup: int, printed: int) -> None:
        """In the new process: the command takes its place. Raises OSError."""
        os.setsid()
        if cgroup >= 0:
            os.write(os.open("cgroup.procs", os.O_WRONLY, dir_fd=cgroup), b"0")
            _unshare(_NEWCGROUP)
            mount("cgroup2", _CGROUPS, "cgroup2")
        write("/proc/self/oom_score_adj", "0")
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, _FILES)
        allow_huge_pages(True)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        self._execute(self._wanted["run"])

    def _listen(self, child: int, output: int, cgroup: int, begun: float) -> tuple[int | None, str]:
        """Keep what it prints until it ended, or reached a limit: its exit status (negative: a signal), which limit."""
        poll = select.poll()
        poll.register(output, select.POLLIN)
        end = _end_of(child)
        if end >= 0:
            poll.register(end, select.POLLIN)
        heard = beat = begun
        status, why, held = None, "", True  # held: somebody has its output
        until = begun + 2 * self._wanted["timeout_s"] + _LAST_S  # after that it does not even die
        while (now := monotonic()) < until:
            if now - beat > _BEAT_S:
                beat = now
                os.write(1, _BEAT)
            if status is None:
                why = why or self._limit(now - begun, now - heard, child, cgroup)
                status = _status(child)
                if status is not None:
                    until = now + (_LAST_S if held else 0)
                    _kill(child, cgroup)
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

    def _limit(self, since_s: float, silent_s: float, child: int, cgroup: int) -> str:
        """The limit that is reached, if one is: then it is ended, and what hangs in the kernel is on the console."""
        late, quiet = since_s > self._wanted["timeout_s"], silent_s > self._wanted["silence_s"]
        if not (late or quiet):
            return ""
        _try_write("/proc/sysrq-trigger", "w")
        _kill(child, cgroup)
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


def _cgroup() -> int:
    """The folder of a new cgroup, -1 where there is none: then nothing but the guest's own size limits the command.

    Raises NoAnswer when the last command's is still there: what does not even die would disturb this one.
    """
    for controller in ("memory", "pids"):
        _try_write(os.path.join(_CGROUPS, "cgroup.subtree_control"), f"+{controller}")
    try:
        os.mkdir(_CGROUP)
        descriptor = os.open(_CGROUP, os.O_RDONLY | os.O_DIRECTORY)
    except FileExistsError:
        raise NoAnswer("what an earlier command of this guest started does not end") from None
    except OSError:
        return -1
    _try_write(os.path.join(_CGROUP, "pids.max"), str(MOST_PROCESSES))
    # Not of all: the kernel's reserve is none of it, and at that the agent's own pages are what it drops.
    total, available = (int(read("/proc/meminfo").split()[at]) << 10 for at in (1, 7))
    _try_write(os.path.join(_CGROUP, "memory.max"), str(max(available - SPARE, total // 2)))
    return descriptor


def _remove() -> None:
    """Outside of the namespaces: in them there is another /sys. What is left of the command ends.

    Under emulation thousands of processes take half a minute to go.
    """
    _try_write(os.path.join(_CGROUP, "cgroup.kill"), "1")
    beat = begun = monotonic()
    while (now := monotonic()) < begun + _GONE_S:
        try:
            os.rmdir(_CGROUP)
        except FileNotFoundError:
            return
        except OSError:
            sleep(_LOOK_MS / 1000 if now - begun > 1 else 0.05)
        else:
            return
        if now - beat > _BEAT_S:
            beat = now
            os.write(1, _BEAT)


def _isolate(*, own_network: bool) -> None:
    """Enter new namespaces. Raises OSError."""
    _unshare(_NEWNS | (_NEWNET if own_network else 0))
    mount("none", "/", "", _PRIVATE)
    if own_network:
        _start_loopback()


def _start_loopback() -> None:
    """As `ip link set lo up` does, netdevice(7), without another process. Raises OSError."""
    request = b"lo".ljust(_IFNAMSIZ, b"\0") + _UP.to_bytes(2, sys.byteorder)
    endpoint = ctypes.CDLL(None).socket(_AF_INET, _SOCK_DGRAM, 0)  # Python's module of sockets is dear
    try:
        fcntl.ioctl(endpoint, _SIOCSIFFLAGS, request.ljust(_IFREQ_BYTES, b"\0"))
    finally:
        os.close(endpoint)


def _mount_own(*, new_sys: bool) -> None:
    """File systems of the command's own. Raises OSError."""
    if new_sys:
        mount("sysfs", "/sys", "sysfs")  # shows the network of whoever mounts it
    else:
        ctypes.CDLL(None).umount2(_CGROUPS.encode(), 2)  # MNT_DETACH: the same is not mounted twice in one place
    for path in FILE_SYSTEMS:
        if path == _CGROUPS:  # the command mounts its own
            continue
        try:
            mount_known(path)
        except OSError:  # the kernel was built without it
            continue
    for path in _FRESH:
        os.makedirs(path, exist_ok=True)
        mount("tmpfs", path, "tmpfs")


def _unshare(what: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) < 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")


def _kill(child: int, cgroup: int) -> None:
    """It and everything that it started."""
    try:
        os.write(os.open("cgroup.kill", os.O_WRONLY, dir_fd=cgroup), b"1")
    except OSError:  # before v5.14, or without a cgroup: as far as it is of one session
        try:
            os.killpg(child, _SIGKILL)
        except ProcessLookupError:
            return


def _end_of(child: int) -> int:
    """A descriptor that is ready when the process has ended; -1 before v5.3."""
    try:
        return os.pidfd_open(child)
    except OSError:
        return -1


def _status(child: int) -> int | None:
    ended, code = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(code) if ended else None


def _try_write(path: str, value: str) -> None:
    try:
        write(path, value)
    except OSError:
        return


def _count(cgroup: int, name: str, word: str) -> int:
    try:
        with open(os.open(name, os.O_RDONLY, dir_fd=cgroup), encoding="ascii") as file:
            counts = dict(line.split() for line in file)
    except OSError:
        return 0
    return int(counts.get(word, 0))


def _is_full(path: str) -> bool:
    found = os.statvfs(path)
    return found.f_blocks > 0 and found.f_bavail == 0
