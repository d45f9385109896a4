# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs one command and ends its whole process tree with it: `python -I -S supervise.py FD DIR END_S COMMAND...`.

FD is the reading end of a pipe whose other end only the parent holds: when the parent is gone, however it went, the
pipe closes and the tree is ended. As a child subreaper (prctl(2)) this process inherits every orphan below it, so
qemu, which virtme-ng starts three processes deep, cannot get away. DIR, if not empty, is removed at the end. END_S is
the limit for ending the tree: a tenth of it may pass before SIGKILL, in which apt and mmdebstrap clean up.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE = 0.1  # of END_S: between SIGTERM and SIGKILL


def descendants() -> list[int]:
    """Every process below this one, parents first."""
    from pathlib import Path  # noqa: PLC0415  late: most commands leave nothing behind, and end sooner without it

    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def signal_all(number: int) -> bool:
    """Send it to every process below; False when there is none."""
    below = descendants()
    for pid in below:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):  # it ended meanwhile; it is another user's, as of sudo
            continue
    return bool(below)


def end_tree(end_s: float) -> None:
    """SIGTERM, a short grace, then SIGKILL until nothing is left, or what is left cannot be killed.

    A process that waits in the kernel, for a disk that hangs, does not even see SIGKILL.
    """
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # zombies that it inherited
            pass
    except ChildProcessError:  # a process below it is its child, or has a parent below it: there is none
        return
    begun = time.monotonic()
    alive = signal_all(signal.SIGTERM)
    signal_all(signal.SIGCONT)  # a stopped process does not see SIGTERM
    while alive and time.monotonic() < begun + GRACE * end_s:
        time.sleep(0.02)
        alive = bool(descendants())
    while signal_all(signal.SIGKILL):
        if time.monotonic() > begun + end_s:
            sys.stderr.write(f"cannot be ended, and are left: {descendants()}\n")
            return
        time.sleep(0.01)


def wait(child: "subprocess.Popen[bytes]", lifeline: int, wakeup: int) -> int | None:
    """The child's exit status; None when this process must end first."""
    while True:
        ready, _, _ = select.select([lifeline, wakeup], [], [])
        if lifeline in ready:
            return None
        signals = os.read(wakeup, 64)
        if child.poll() is not None:
            return child.returncode
        if any(number in signals for number in (signal.SIGTERM, signal.SIGHUP)):
            return None


def main() -> int:
    lifeline, folder, end_s, command = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        child = subprocess.Popen(command)
        status = wait(child, lifeline, wakeup)
        end_tree(end_s)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        status = 127
    finally:
        if folder:
            import shutil  # noqa: PLC0415  late: as above

            shutil.rmtree(folder, ignore_errors=True)
    if status is None:
        return 128 + signal.SIGTERM
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
