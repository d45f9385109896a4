# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The guest that the agent runs in: what it says about itself, its modules, sysctls, network namespaces and log."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from . import NoAnswer

JIT = "net.core.bpf_jit_enable"
_STARTED = "kernel.modprobe"  # by the kernel; nothing where that is an empty line
_MODPROBE, _IP = "/usr/sbin/modprobe", "/usr/sbin/ip"
NEWNET = 0x40000000  # CLONE_NEWNET
_OWN = "/proc/self/ns/net"
_SET_THP_DISABLE = 41  # PR_SET_THP_DISABLE, linux/prctl.h
LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """What a function of LIBC returned. Raises OSError when that is negative."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def read(path: str) -> str:
    """A small file's text without its line end; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def sysctl_path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def write(path: str, value: str) -> None:
    """Raises OSError."""
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def try_write(path: str, value: str) -> None:
    try:
        write(path, value)
    except OSError:
        return


def write_sysctl(name: str, value: str) -> None:
    """Raises OSError."""
    write(sysctl_path(name), value)


def enable_jit() -> None:
    """riscv64 has it off; facts() reports what it is. Who boots with sysctl.net.core.bpf_jit_enable=0 wants it off."""
    if read(sysctl_path(JIT)) == "0" and f"sysctl.{JIT}=" not in read("/proc/cmdline"):
        try_write(sysctl_path(JIT), "1")


def panic_on_oops() -> None:
    """An oops would kill the process that asks and leave a guest with broken locks, whose answers are none."""
    try_write(sysctl_path("kernel.panic_on_oops"), "1")


def allow_huge_pages(allowed: bool) -> None:
    """Whether this process, and what it starts, may have transparent huge pages."""
    LIBC.prctl(_SET_THP_DISABLE, int(not allowed), 0, 0, 0)


def load_modules(names: list[str]) -> dict[str, str]:
    """Load modules, together: starting modprobe is half of the work. Each: empty, or why it did not load."""
    if not names or not run(_MODPROBE, "-a", "--", *names):
        return dict.fromkeys(names, "")
    loaded = {name: run(_MODPROBE, "--", name) for name in names}
    not_loaded.update((name, why) for name, why in loaded.items() if why)
    return loaded


not_loaded: dict[str, str] = {}  # the modules that `load_modules` could not load, and why


def run(program: str, *arguments: str, text: str = "") -> str:
    """Run a program with `text` as its input: empty, or why it failed."""
    try:
        status, output = spawn(program, [program, *arguments], {"PATH": "/usr/sbin:/usr/bin"}, text.encode())
    except OSError as error:
        return f"{program}: {error.strerror}"
    said = output.decode("utf-8", "replace").strip()
    return "" if status == 0 else (said or f"{os.path.basename(program)} ended with status {status}")[-500:]


def spawn(program: str, words: list[str], variables: dict[str, str], feed: bytes) -> tuple[int, bytes]:
    """Run a program with `feed` as its input: its status (negative: a signal), and what it printed.

    Raises OSError when it cannot be started.
    """
    given = os.memfd_create("stdin")
    os.write(given, feed)
    os.lseek(given, 0, os.SEEK_SET)
    output, write_end = os.pipe()
    ends = [(os.POSIX_SPAWN_DUP2, end, fd) for fd, end in enumerate((given, write_end, write_end))]
    with open(output, "rb") as said:
        try:
            child = os.posix_spawn(program, words, variables, file_actions=ends)
        finally:
            os.close(given)
            os.close(write_end)
        printed = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), printed


def facts(modules: dict[str, str], libbpf: str) -> dict[str, object]:
    """The document `Facts` of the host."""
    name = os.uname()
    try:
        btf = sorted(os.listdir("/sys/kernel/btf"))
    except OSError:
        btf = []
    return {
        "release": name.release,
        "build": name.version,
        "machine": name.machine,
        "cmdline": read("/proc/cmdline"),
        "jit": read(sysctl_path(JIT)),
        "btf": btf,
        "modules": modules,
        "version_signature": read("/proc/version_signature"),  # Ubuntu's: its build, and upstream's version
        "libbpf": libbpf,
        "python": sys.version.partition(" ")[0],
    }


class Sysctls:
    """Sets them for a block, and puts back what was there."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self._wanted = wanted
        self._before: dict[str, str] = {}

    def __enter__(self) -> None:
        try:
            for name, value in self._wanted.items():
                before = read(sysctl_path(name))
                write_sysctl(name, value)
                self._before[name] = before
        except OSError as error:
            self.__exit__()
            raise OSError(error.errno, f"sysctl {name}={value}: {errno.errorcode.get(error.errno or 0, '?')}") from None

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            write_sysctl(name, value)
        self._before.clear()


def no_modprobe() -> dict[str, str]:
    """With these sysctls the kernel starts no modprobe; none where it cannot load modules, and starts none anyway."""
    return {_STARTED: "\n"} if os.path.exists(sysctl_path(_STARTED)) else {}


class Namespace:
    """A network namespace that ip(8) has made, or without a name a new one. `with namespace:` is inside of it."""

    def __init__(self, name: str = "") -> None:
        self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        if not name:
            unshare(NEWNET)
        self._fd = os.open(f"/run/netns/{name}" if name else _OWN, os.O_RDONLY | os.O_CLOEXEC)
        if not name:
            self.__exit__()

    def __enter__(self) -> None:
        checked(LIBC.setns(self._fd, NEWNET), "setns")

    def __exit__(self, *_: object) -> None:
        checked(LIBC.setns(self._home, NEWNET), "setns")


def unshare(what: int) -> None:
    """Enter new namespaces; os.unshare and os.setns came with Python 3.12. Raises OSError."""
    checked(LIBC.unshare(what), "unshare")


def ip(commands: str) -> None:
    """Run commands of ip(8), one a line, in the network namespace in which this process is. Raises NoAnswer."""
    if why := run(_IP, "-batch", "-", text=commands):
        raise NoAnswer(f"ip: {why}")


class KernelLog:
    """What the kernel says from here on, of any level, whatever reaches the console."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def lines(self) -> list[str]:
        """What it said, and the end of listening."""
        found = []
        try:
            while record := os.read(self._fd, 8192):
                text = record.decode("utf-8", "replace").partition(";")[2]
                found.append(text.partition("\n")[0])  # what follows are a device's properties
        except BlockingIOError:  # there is no more
            pass
        except OSError as error:
            found.append(f"[the kernel's log could not be read on: {error.strerror}]")
        finally:
            os.close(self._fd)
        return found
