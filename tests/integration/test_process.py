# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Child processes: whatever happens, nothing that was started here is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner import supervise
from runner.errors import InfraError
from runner.model.deadline import Deadline
from runner.process import own_folder, require, run, spawn
from tests.samples import soon

# Makes a process in a session of its own, whose parent is gone: nobody's. It writes its pid, and ignores SIGTERM if the
# last argument says so.
GRANDCHILD = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if sys.argv[3:] == ["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(sys.argv[1] + ".part", "w") as file:
            file.write(str(os.getpid()))
        os.rename(sys.argv[1] + ".part", sys.argv[1])
        time.sleep(600)
    os._exit(0)
time.sleep(float(sys.argv[2]))
"""


def pid_in(file: Path) -> int:
    """The pid that a child writes, as soon as it is there."""
    end = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < end, "the child did not start"
        time.sleep(0.01)
    return int(file.read_text())


def is_gone(pid: int, within_s: float = 0) -> bool:
    end = time.monotonic() + within_s
    while True:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)


def test_output_status_and_input_come_back() -> None:
    script = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('e'); sys.exit(3)"
    done = run([sys.executable, "-c", script], input=b"abc", deadline=soon(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "ABC", "e")


def test_without_input_there_is_none_to_wait_for() -> None:
    assert run(["cat"], deadline=soon()).stdout == ""


def test_a_failure_names_command_status_and_last_words() -> None:
    script = "for i in $(seq 100); do echo line $i >&2; done; exit 7"
    with pytest.raises(InfraError, match=r"(?s)`sh -c .*` failed with exit status 7:.*line 100") as caught:
        run(["sh", "-c", script], deadline=soon())
    assert "line 50" not in str(caught.value)


def test_a_signal_is_a_failure() -> None:
    assert run(["sh", "-c", "kill -SEGV $$"], deadline=soon(), check=False).returncode == 128 + signal.SIGSEGV


def test_environment_and_folder_are_handed_on(tmp_path: Path) -> None:
    done = run(["sh", "-c", 'echo "$EXTRA $HOME"; pwd'], deadline=soon(), env={"EXTRA": "more"}, cwd=tmp_path)
    assert done.stdout == f"more {os.environ.get('HOME', '')}\n{tmp_path}\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert run(["printf", r"a\377b"], deadline=soon()).stdout == "a\ufffdb"


def test_a_missing_tool_is_named_with_the_remedy() -> None:
    with pytest.raises(InfraError, match=r"no-such-tool is not installed\n.*doctor --fix"):
        run(["no-such-tool", "x"], deadline=soon())


def test_tools_of_the_administrator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert require("ldconfig").endswith("sbin/ldconfig")


def test_a_deadline_ends_the_command() -> None:
    with pytest.raises(InfraError, match=r"`sleep 600` did not end within the limit of 0\.3 s"):
        run(["sleep", "600"], deadline=Deadline.after(0.3, "the limit"))


def test_descendants_go_with_the_deadline(tmp_path: Path) -> None:
    """Even those that ignore SIGTERM, left their session and were given up by their parents."""
    file = tmp_path / "pid"
    with pytest.raises(InfraError, match="did not end within"):
        run([sys.executable, "-c", GRANDCHILD, str(file), "600", "stubborn"], deadline=Deadline.after(1, "the limit"))
    assert is_gone(pid_in(file))


def test_descendants_go_when_the_command_ends_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with spawn([sys.executable, "-c", GRANDCHILD, str(file), "0.5"], end_s=20) as process:
        assert process.wait(timeout=20) == 0
    assert is_gone(pid_in(file))


def test_descendants_go_when_the_block_is_left(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def interrupted() -> None:
        with spawn([sys.executable, "-c", GRANDCHILD, str(file), "600"], end_s=20):
            assert not is_gone(pid_in(file))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert is_gone(pid_in(file))


@contextmanager
def killed_program(folder: Path, *, supervisor_too: bool) -> Iterator[tuple[Path, int]]:
    """A program that started a grandchild with a folder of its own, and then got SIGKILL: that folder, that pid."""
    pid_file, own_file = folder / "pid", folder / "own"
    program = (
        "import sys; from pathlib import Path; from runner.process import own_folder, spawn\n"
        f"argv = [sys.executable, '-c', {GRANDCHILD!r}, {str(pid_file)!r}, '600', 'stubborn']\n"
        f"with own_folder(Path({str(folder)!r}), 'own-', end_s=20) as own, spawn(argv, end_s=20, folder=own) as p:\n"
        f"    Path({str(own_file)!r}).write_text(f'{{p.pid}} {{own.path}}')\n"
        "    p.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    pid = pid_in(pid_file)
    supervisor, _, own = own_file.read_text().partition(" ")
    try:
        assert not is_gone(pid)
        assert Path(own).exists()
        if supervisor_too:
            os.kill(parent.pid, signal.SIGSTOP)  # it would end what its supervisor left
            os.kill(int(supervisor), signal.SIGKILL)
        parent.kill()
        parent.wait()
        yield Path(own), pid
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_nothing_outlives_a_killed_program(tmp_path: Path) -> None:
    """SIGKILL leaves no chance to clean up: the pipe to the supervisor closes, and that does it."""
    with killed_program(tmp_path, supervisor_too=False) as (own, pid):
        assert is_gone(pid, within_s=10)
        end = time.monotonic() + 5
        while own.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert not own.exists()


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    argv = [sys.executable, "-c", GRANDCHILD, str(file), "600", "stubborn"]
    with own_folder(tmp_path, "own-", end_s=20) as own:
        with spawn(argv, end_s=20, folder=own) as process:
            pid = pid_in(file)
            os.kill(process.pid, signal.SIGKILL)
        assert is_gone(pid)
    assert not own.path.exists()


def test_what_a_program_and_its_supervisor_left_goes_with_the_next_start(tmp_path: Path) -> None:
    with killed_program(tmp_path, supervisor_too=True) as (left, pid):
        assert not is_gone(pid, within_s=1)
        with own_folder(tmp_path, "own-", end_s=20) as first, own_folder(tmp_path, "own-", end_s=20) as second:
            assert is_gone(pid)
            assert not left.exists()
            assert first.path.exists(), "what is in use is left alone"
        assert not first.path.exists()
        assert not second.path.exists()


def test_what_ignores_the_request_to_end_is_killed_after_a_tenth_of_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with spawn([sys.executable, "-c", GRANDCHILD, str(file), "600", "stubborn"], end_s=10):
        pid_in(file)
        begun = time.monotonic()
    assert is_gone(pid_in(file))
    assert 1 <= time.monotonic() - begun < 5


def test_a_supervisor_that_somebody_stopped_is_not_waited_for_without_end(caplog: pytest.LogCaptureFixture) -> None:
    with spawn(["sleep", "0"], end_s=0.2) as process:
        os.kill(process.pid, signal.SIGSTOP)
    assert f"process {process.pid}, which ends what it started, did not end within 0.4 s" in caplog.text


def test_a_process_of_another_user_does_not_keep_the_others_from_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As below sudo."""
    ended: list[int] = []

    def kill(pid: int, _: int) -> None:
        if pid == 1:
            raise PermissionError
        ended.append(pid)

    monkeypatch.setattr(supervise, "descendants", lambda: [1, 2])
    monkeypatch.setattr(os, "kill", kill)
    assert supervise.signal_all(signal.SIGTERM)
    assert ended == [2]
