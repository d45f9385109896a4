# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the agent learns of the guest that it runs in, from files."""

from __future__ import annotations

from pathlib import Path

from runner.agent.cgroups import Memory


def test_memory_is_that_of_a_cgroup_of_its_own(tmp_path: Path) -> None:
    memory = Memory(str(tmp_path))
    memory.enter()
    assert (tmp_path / "runner/cgroup.procs").read_text() == "0"
    (tmp_path / "runner/memory.peak").write_text(f"{5 << 20}\n")
    assert memory.leave() == 5
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / "cgroup.procs").read_text() == "0"  # out of it again


def test_without_cgroups_it_is_not_known(tmp_path: Path) -> None:
    memory = Memory(str(tmp_path / "none"))
    assert memory.leave() is None
    memory.enter()
    assert memory.leave() is None
