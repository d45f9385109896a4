"""Ends workers that no longer report. A worker that dies is noticed by xdist; one that was stopped, or hangs, is not.

A cell keeps its limits by itself: prepare_s, then cell_s. Some seconds after that its worker is killed, from here, and
xdist reports the cell as crashed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.deadline import Deadline
from runner.execution.orders import Phase
from runner.model import Cell, Limits

log = logging.getLogger(__name__)

GRACE_S = 20.0  # to end a guest and to send a result, on a busy host
_LOOK_EVERY_S = 0.5

Kill = Callable[[], None]


@dataclass(slots=True)
class Watchdog:
    """`with` starts and ends its thread."""

    overdue: dict[str, str] = field(default_factory=dict)  # what was killed: a cell's id, or a worker's; and why
    _watched: dict[str, tuple[Deadline, Kill]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def starting(self, worker: str, limits: Limits, kill: Kill) -> None:
        """A worker is being started."""
        with self._lock:
            self._watched[worker] = (Deadline.after(limits.start_s, "start_s"), kill)

    def entered(self, cell: Cell, phase: Phase, kill: Kill) -> None:
        """A cell reports. Of a cell that boots several times, only the first boot starts the clock."""
        name = "prepare_s" if phase is Phase.PREPARING else "cell_s"
        seconds = getattr(cell.limits, name) + GRACE_S
        with self._lock:
            known = self._watched.get(cell.id)
            if known is None or not known[0].what.startswith(name):
                self._watched[cell.id] = (Deadline.after(seconds, f"{name} and {GRACE_S:g} s: in all"), kill)

    def done(self, name: str) -> None:
        """A cell has a result, or a worker is ready."""
        with self._lock:
            self._watched.pop(name, None)

    def __enter__(self) -> Watchdog:
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Kill what is overdue."""
        with self._lock:
            late = {name: it for name, it in self._watched.items() if it[0].at <= time.monotonic()}
            for name in late:
                del self._watched[name]
        for name, (deadline, kill) in late.items():
            self.overdue[name] = f"nothing was heard of it within {deadline.what}; its worker was ended"
            log.warning("%s: %s", name, self.overdue[name])
            kill()
