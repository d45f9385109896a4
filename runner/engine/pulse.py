"""The worker's answers to the watchdog, which asks each second.

A worker of another machine that is not asked any more cannot reach its controller: it ends itself, and what it started
ends with it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PULSE_KEY = "runner_pulse"  # an execnet channel, in xdist's workerinput
EVERY_S = 1.0


def answer(channel: Any, *, silence_s: float | None, last: Callable[[], None]) -> None:
    """With `silence_s`, this process ends when it is not asked for so long; `last` tidies up."""
    asked = [time.monotonic()]

    def beat(_: object) -> None:
        asked[0] = time.monotonic()
        with suppress(OSError):
            channel.send(None)

    channel.setcallback(beat)
    if silence_s is not None:
        threading.Thread(target=_end_when_silent, args=(asked, silence_s, last), name="pulse", daemon=True).start()


def _end_when_silent(asked: list[float], silence_s: float, last: Callable[[], None]) -> None:
    while time.monotonic() - asked[0] < silence_s:
        time.sleep(EVERY_S)
    last()
    os.kill(os.getpid(), signal.SIGKILL)  # guests end with their worker: runner/process.py
