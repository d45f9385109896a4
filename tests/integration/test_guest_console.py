# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The console of a process: kept whole, up to a limit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from runner.guest.console import MAX_BYTES, Console


def read(path: Path, *argv: str) -> Console:
    """What a program printed as a guest does."""
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE) as process,
        Console.of(process, path, end_s=20) as kept,
    ):
        process.wait(20)
    return kept


def test_all_of_it_is_kept_and_its_last_line_needs_no_end(tmp_path: Path) -> None:
    kept = read(tmp_path / "log", "printf", r"one\n\377\nKernel panic - not syncing: x")
    assert kept.text == "one\n\ufffd\nKernel panic - not syncing: x"
    assert kept.parser.died == "Kernel panic - not syncing: x"
    assert (tmp_path / "log").read_bytes() == b"one\n\xff\nKernel panic - not syncing: x"
    assert kept.ended.is_set()


def test_more_than_the_limit_is_read_and_dropped(tmp_path: Path) -> None:
    kept = read(tmp_path / "log", "head", "-c", str(2 * MAX_BYTES), "/dev/zero")
    assert MAX_BYTES < len(kept.text) < MAX_BYTES + 100
    assert (tmp_path / "log").stat().st_size == len(kept.text)


def test_a_pipe_that_something_else_keeps_open_is_not_waited_for(tmp_path: Path) -> None:
    """As qemu does when what supervises it is killed."""
    kept = read(tmp_path / "log", "sh", "-c", "echo begun; sleep 5 & exit 0")
    assert kept.text == "begun\n"
