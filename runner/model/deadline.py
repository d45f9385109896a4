# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A moment by which something must be done. Passed down instead of seconds, so that nested waits share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

END_S = 20.0  # where nothing else was said


@dataclass(frozen=True, slots=True)
class Deadline:
    """`what` names the limit in messages: `boot_s of 60 s`. What is ended then is given `end_s` for that."""

    at: float  # time.monotonic(), which does not jump with the clock
    what: str
    end_s: float = END_S

    @classmethod
    def after(cls, seconds: float, what: str, *, end_s: float = END_S) -> Self:
        return cls(time.monotonic() + seconds, f"{what} of {seconds:g} s", end_s)

    @property
    def remaining_s(self) -> float:
        """Never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining_s == 0.0

    def sooner(self, other: Deadline) -> Deadline:
        """Whichever comes first."""
        return self if self.at <= other.at else other

    @contextmanager
    def at_end(self, act: Callable[[], object]) -> Iterator[None]:
        """Calls `act`, in a thread, if the time is over before the block is: what waits in there has no limit."""
        timer = threading.Timer(self.remaining_s, act)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
