# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The store between processes: made once, waited for, and cleaned up after one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import InfraError
from runner.store import Store, key_of
from tests.samples import soon
from tests.unit.test_store import KEY, make

MAKER = """
import sys, time
from pathlib import Path
from runner.model.deadline import Deadline
from runner.store import Store

root, key, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def make(tree):
    (tree / "data").write_text("half")
    with (root.parent / "made").open("a") as made:
        made.write("x")
    time.sleep(seconds)
    (tree / "more").write_text("whole")

print(Store(root).ensure(key, make, deadline=Deadline.after(30, "limit")).sha256)
"""


def start_maker(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER, str(root), KEY, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_two_processes_make_an_entry_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    makers = [start_maker(root, 0.3) for _ in range(2)]
    outputs = {maker.communicate(timeout=30)[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0]
    assert len(outputs) == 1
    assert (tmp_path / "made").read_text() == "x"


@pytest.mark.parametrize("next_key", [KEY, key_of(name="other")])
def test_what_a_killed_maker_left_is_never_an_entry_and_is_swept(tmp_path: Path, next_key: str) -> None:
    root = tmp_path / "store"
    maker = start_maker(root, 60)
    wait_for(tmp_path / "made")
    os.kill(maker.pid, signal.SIGKILL)
    maker.communicate(timeout=30)
    assert list(root.glob(f".making-{KEY}-*"))
    store = Store(root)
    assert store.get(KEY) is None
    store.ensure(next_key, make, deadline=soon())
    assert not list(root.glob(".making-*"))


def test_a_living_maker_is_not_swept_and_its_lock_is_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "store"
    maker = start_maker(root, 60)
    try:
        wait_for(tmp_path / "made")
        Store(root).ensure(key_of(name="other"), make, deadline=soon())
        assert list(root.glob(f".making-{KEY}-*"))
        with pytest.raises(InfraError, match="another process"):
            Store(root).ensure(KEY, make, deadline=soon(0.1))
    finally:
        maker.kill()
        maker.communicate(timeout=30)
