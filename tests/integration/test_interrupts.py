"""Which children a second Ctrl-C ends, while threads and children of this process come and go."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.engine.interrupts import signal_workers


@pytest.mark.parametrize("gone", [(), ("/proc/self/task/4194305/children",)], ids=["", "a-thread-ended"])
def test_children_are_ended_and_supervisors_are_not(monkeypatch: pytest.MonkeyPatch, gone: tuple[str, ...]) -> None:
    glob = Path.glob  # 4194305 is above what any thread can have
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [*map(Path, gone), *glob(self, pattern)])
    waits = [sys.executable, "-c", "input()"]
    with (
        subprocess.Popen(waits, stdin=subprocess.PIPE) as child,
        subprocess.Popen([*waits, "supervise.py"], stdin=subprocess.PIPE) as supervisor,
    ):
        signal_workers(signal.SIGKILL)
        assert child.wait(timeout=10) == -signal.SIGKILL
        assert supervisor.poll() is None
        supervisor.kill()
