# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What claims are given in the guest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.agent import given


def test_memory_is_charged_to_a_cgroup_that_is_left_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "_ROOT", str(tmp_path))
    monkeypatch.setattr(given, "_BELOW", str(tmp_path / "charged"))
    held: list[int] = []
    monkeypatch.setattr(given, "_held", held)
    (tmp_path / "cgroup.procs").write_text("")
    given.charge("4096")
    assert (tmp_path / "charged" / "cgroup.procs").read_text() == str(os.getpid())
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())
    (fd,) = held
    assert os.fstat(fd).st_size == 4096
    os.close(fd)
