# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What Ctrl-C, SIGTERM and SIGHUP do: the first one stops cleanly, the second one ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # systemd and CI send SIGTERM, a closed terminal SIGHUP


@dataclass(slots=True)
class _State:
    came: bool = False
    pending: bool = False  # one came while it was held
    held: int = 0
    at_once: Callable[[], None] = lambda: None


_state = _State()


@contextmanager
def handled(at_once: Callable[[], None]) -> Iterator[None]:
    """Inside, the first signal is a KeyboardInterrupt, and the second one calls `at_once`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.came = _state.pending = False
    _state.at_once = at_once
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup, and & in scripts
    before = {number: signal.signal(number, _handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Inside, the first signal waits for the end of the block: what is finished is written down, or not begun."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
    if _state.pending and not _state.held:
        _state.pending = False
        raise KeyboardInterrupt


def _handle(_number: int, _frame: FrameType | None) -> None:
    if _state.came:
        _state.at_once()
    _state.came = True
    if _state.held:
        _state.pending = True
        return
    raise KeyboardInterrupt


def signal_workers(number: signal.Signals) -> None:
    """Send it to the children of this process that are not supervisors. Threads and children may end meanwhile."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in children.read_text().split():
                with suppress(OSError):
                    command = Path("/proc", pid, "cmdline").read_bytes()
                    if command and b"supervise.py" not in command:  # empty while a program is being started
                        os.kill(int(pid), number)
