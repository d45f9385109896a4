# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Takes the place of vng and qemu: `fakevng.py SCENARIO PORT KEYS`. A console on stdout, a real ssh server on PORT.

What it does wrong, and when, is the scenario's name; what it answers is recorded.py's.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the last import is late: the console speaks first

STARTS = "[    0.000000] Linux version 6.12.117+deb13-amd64\n"
LISTENS = "[    1.800000] runner: ssh server\n[207] Nov 25 10:00:00 Not backgrounding\n"
PANIC = "[    9.1] Kernel panic - not syncing: Fatal exception in interrupt\n[    9.2] Call Trace:\n"
OOPS = (
    "[    9.0] BUG: unable to handle page fault for address: ffffffffc0de0000\n[    9.0] Oops: 0002 [#1] PREEMPT SMP\n"
)
TROUBLE = {
    "lockup": "[   31.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [python3:133]\n",
    "stall": "[   11.847786] rcu: INFO: rcu_preempt self-detected stall on CPU\n",
    "hung-task": "[   20.933072] INFO: task python3:267 blocked for more than 2 seconds.\n",
    "no-memory": "[   12.0] Out of memory: Killed process 133 (python3) total-vm:900000kB, anon-rss:800000kB\n",
}
DEADLOCKED = "[    3.0] Kernel panic - not syncing: System is deadlocked on memory\n"
GARBAGE = (
    bytes(range(256)) + b"\xff\xfe\x80" * 99 + b"x" * (1 << 20) + b"\x1b[2J\x1b]0;title\x07\x1bP\x9b31m \x1b[38;5\r\n\0"
)


def say(text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    while data:
        data = data[os.write(1, data) :]


def hang() -> None:
    while True:
        time.sleep(60)


def die() -> None:
    """qemu ends with -no-reboot, whatever the kernel's reason."""
    os._exit(255)


def then_hang(text: str) -> Callable[[], None]:
    def act() -> None:
        say(text)
        hang()

    return act


def then_die(text: str) -> Callable[[], None]:
    def act() -> None:
        say(text)
        die()

    return act


def signalled(number: int) -> Callable[[], None]:
    def act() -> None:
        os.kill(os.getpid(), number)
        hang()  # another thread may be the one that takes the signal, a moment later

    return act


def kill_supervisor() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def kill_supervisor_and_hang() -> None:
    kill_supervisor()
    hang()


def starve() -> None:
    """Many want the one processor that there is."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for _ in range(6):
        if os.fork() == 0:
            break
    while True:
        pass


def boot_slowly() -> None:
    while True:
        say("[    1.000000] a driver\n")
        time.sleep(0.1)


def chatter() -> None:
    """As a kernel that logs everything: half a MiB, in many pieces."""
    for number in range(512):
        say(f"[    0.{number:06}] WARNING: nearly one: {'x' * 980}\n")


WHILE_BOOTING: dict[str, Callable[[], None]] = {
    "hangs-in-the-middle-of-boot": hang,
    "locks-up-at-boot": then_hang(TROUBLE["lockup"]),
    "panics-at-boot": then_die(PANIC),
    "no-memory-at-boot": then_die(DEADLOCKED),
    "powers-off-at-boot": then_die("[    2.0] reboot: Power down\n"),
    "killed-at-boot": signalled(signal.SIGKILL),
    "stopped-at-boot": signalled(signal.SIGSTOP),
    "stalls-at-boot-and-goes-on": lambda: say(TROUBLE["stall"]),
    "garbage-on-the-console": lambda: say(GARBAGE),
    "supervisor-killed-at-boot": kill_supervisor_and_hang,
    "starved-at-boot": starve,
    "boots-slowly": boot_slowly,
    "chatters-at-boot": chatter,
}
IN_A_PROBE: dict[str, Callable[[], None]] = {
    "panics-in-a-probe": then_die(PANIC),
    "oopses-in-a-probe": then_die(OOPS),
    "is-silent-in-a-probe": hang,
    "killed-in-a-probe": signalled(signal.SIGKILL),
    "stopped-in-a-probe": signalled(signal.SIGSTOP),
    "supervisor-killed-in-a-probe": kill_supervisor,
    "no-memory-in-a-probe": lambda: say(TROUBLE["no-memory"]),
    **{f"{kind}-in-a-probe": then_hang(TROUBLE[kind]) for kind in ("lockup", "stall", "hung-task")},
}
AGENT_ENDS = frozenset({"no-memory-in-a-probe", "agent-ends-early"})


def talk_tcp(scenario: str, port: int) -> None:
    """What passes for an ssh server only as long as nobody speaks to it."""
    listener = socket.create_server(("127.0.0.1", port))
    say(LISTENS)
    kept = []  # a connection that nobody refers to is closed
    while True:
        kept.append(listener.accept()[0])
        if scenario == "greets-and-says-nothing":
            kept[-1].sendall(b"SSH-2.0-dropbear_2024.86\r\n")


def main(scenario: str, port: int, keys: Path) -> None:
    if scenario == "ends-before-a-word":
        sys.exit("qemu-system-x86_64: -drive file=x: Could not open 'x'")
    if scenario == "hangs-before-the-first-line":
        hang()
    say(STARTS)
    WHILE_BOOTING.get(scenario, bool)()
    if scenario in {"accepts-and-says-nothing", "greets-and-says-nothing"}:
        talk_tcp(scenario, port)
    from tests.faults.fakessh import serve

    serve(scenario, port, keys)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
