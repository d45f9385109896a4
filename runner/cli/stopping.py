"""How a run ends when it is told to for the second time."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager, suppress

from runner.cli import EXIT_INTERRUPTED
from runner.engine.interrupts import handled, workers

_SHOW_CURSOR = b"\x1b[?25h"


def stoppable() -> AbstractContextManager[None]:
    """Ctrl-C, SIGTERM and SIGHUP: the first one is a KeyboardInterrupt, the second one ends the process at once."""
    return handled(_end_at_once)


def _end_at_once() -> None:
    """Guests go with their supervisors, which see that whoever started them is gone."""
    if sys.stdout.isatty():
        os.write(1, _SHOW_CURSOR)
    os.write(2, b"ended at once; `runner matrix run --resume` boots the cells without a result\n")
    for pid in workers():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(EXIT_INTERRUPTED)
