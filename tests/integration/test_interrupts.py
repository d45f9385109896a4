"""What a second Ctrl-C ends, while threads and children of this process come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner.engine.interrupts import workers


def test_children_are_found_and_a_thread_that_ended_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in workers()
        child.kill()
    assert child.pid not in workers()


def test_a_thread_that_ends_while_it_is_looked_at_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Path("/proc/self/task/4194305/children")  # above what any thread can have
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [*glob(self, pattern), gone])
    assert isinstance(workers(), list)
