# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which children a second Ctrl-C ends, while threads and children of this process come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import execnet
import pytest

from runner.engine.execute import signal_workers
from runner.engine.gateways import Links


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


def test_a_terminals_ctrl_c_does_not_reach_a_worker_by_itself() -> None:
    """It goes to a whole process group; the worker would get it twice, the second time while it tidies up."""
    group = Links(connect_s=60)
    spec = execnet.XSpec("popen//id=here//execmodel=main_thread_only")
    spec.env = {}
    try:
        session = group.makegateway(spec).remote_exec("import os; channel.send(os.getsid(0))").receive(timeout=60)
    finally:
        group.terminate(timeout=10)
    assert session != os.getsid(0)
