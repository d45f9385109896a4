# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The snapshots on a machine: complete or not there, private, bounded."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from runner.guest.snapshots import DamagedError, SnapshotFacts, Snapshots, copy_sparse

RAM = bytes(1 << 20) + b"x" * 4096 + bytes(1 << 20)
STATE = b"what qemu keeps"


def make(snapshots: Snapshots, key: str, used_s: int = 0) -> None:
    with snapshots.making(end_s=1) as folder:
        (folder / "source").write_bytes(RAM)
        copy_sparse(folder / "source", folder / "ram")
        (folder / "source").unlink()
        (folder / "state").write_bytes(STATE)
        digest = sha256(STATE).hexdigest()
        made = datetime.now(UTC)
        about = SnapshotFacts(
            name=key, made=made, argv=("-m", "1G"), folder="/x", state_sha256=digest, ram_bytes=len(RAM)
        )
        snapshots.publish(key, folder, about)
    if used_s:
        os.utime(snapshots.root / key / "about.json", (used_s, used_s))


def names(snapshots: Snapshots) -> list[str]:
    return [it.about.name for it in snapshots]


def test_what_was_saved_is_found_again_and_is_the_users_alone(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "snapshots")
    assert snapshots.find("a") is None
    make(snapshots, "a")
    found = snapshots.find("a")
    assert found
    assert (found.about.argv, found.ram.read_bytes(), found.state.read_bytes()) == (("-m", "1G"), RAM, STATE)
    assert found.size_bytes < len(RAM)  # zeros are holes
    assert {path.stat().st_mode & 0o777 for path in found.folder.iterdir()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (snapshots.root, found.folder)} == {0o700}
    assert [path.name for path in snapshots.root.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["ram", "state", "about.json"])
@pytest.mark.parametrize("left", [0, 7])
def test_a_cut_file_is_seen_and_the_snapshot_is_gone(tmp_path: Path, name: str, left: int) -> None:
    snapshots = Snapshots(tmp_path)
    make(snapshots, "a")
    os.truncate(tmp_path / "a" / name, left)
    if name == "about.json":
        assert snapshots.find("a") is None
    else:
        with pytest.raises(DamagedError, match="the snapshot of a is damaged"):
            snapshots.find("a")
    make(snapshots, "a")
    assert snapshots.find("a")


def test_what_a_killed_maker_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    with snapshots.making(end_s=1) as folder:
        (folder / "ram").write_bytes(RAM)
        copied = tmp_path / ".making-killed"
        (folder.parent).rename(copied)  # the lock goes with the process; here with the block
    assert copied.exists()
    assert names(snapshots) == []
    make(snapshots, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_maker_that_is_killed_while_it_saves_leaves_nothing_that_starts(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from runner.guest.snapshots import Snapshots\n"
        "with Snapshots(Path(sys.argv[1])).making(end_s=1) as folder:\n"
        "    (folder / 'ram').write_bytes(b'half'); print('half', flush=True); sys.stdin.read()"
    )
    with Popen([sys.executable, "-c", script, tmp_path], stdin=PIPE, stdout=PIPE) as maker:
        assert maker.stdout
        assert maker.stdout.readline() == b"half\n"
        assert list(Snapshots(tmp_path)) == []
        make(Snapshots(tmp_path), "a")
        assert len([*tmp_path.iterdir()]) == 2  # the other one still saves
        maker.kill()
    assert names(Snapshots(tmp_path)) == ["a"]
    make(Snapshots(tmp_path), "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_second_of_two_makers_leaves_the_first_ones(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    make(snapshots, "a", used_s=1_000_000_000)
    make(snapshots, "a")
    (found,) = snapshots
    assert found.used_s == 1_000_000_000


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    for number, key in enumerate("abc"):
        make(snapshots, key, used_s=1_000_000_000 + number)
    assert snapshots.find("a")  # used now
    assert names(snapshots) == ["a", "c", "b"]
    size = next(iter(snapshots)).size_bytes
    assert [it.key for it in snapshots.prune(2 * size)] == ["b"]
    assert names(snapshots) == ["a", "c"]
    assert [it.key for it in snapshots.prune(0, spare="c")] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
