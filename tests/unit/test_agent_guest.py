"""What the agent learns of the guest that it runs in, from files."""

from __future__ import annotations

from pathlib import Path

from runner.agent.guest import Memory


def test_the_memory_of_a_block_is_that_of_its_cgroup(tmp_path: Path) -> None:
    with Memory(str(tmp_path)) as memory:
        assert (tmp_path / "runner/cgroup.procs").read_text() == "0"
        (tmp_path / "runner/memory.peak").write_text(f"{5 << 20}\n")
    assert memory.peak_mib == 5
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / "cgroup.procs").read_text() == "0"  # out of it again


def test_without_cgroups_it_is_not_known(tmp_path: Path) -> None:
    with Memory(str(tmp_path / "none")) as memory:
        pass
    assert memory.peak_mib is None
