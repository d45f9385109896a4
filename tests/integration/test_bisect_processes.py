# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection does with processes: it reads packages with dpkg-deb, and outlives its own death."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.bisect.boots import Journal
from runner.bisect.changelog import packed_changelog
from runner.bisect.search import Tally, Tell, search
from runner.errors import InfraError
from runner.model import Limits
from runner.model.deadline import Deadline
from runner.results.bisections import Reply, Why, load_bisections
from runner.results.store import ResultStore
from tests.integration.test_bisect_changelog import TEXT
from tests.unit.test_bisect_journal import CANDIDATES, journal


def limit() -> Deadline:
    return Limits().deadline("prepare_s")


def packed(tmp_path: Path, files: dict[str, bytes]) -> Path:
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    root = tmp_path / "root"
    files = {"DEBIAN/control": b"Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m\nDescription: d\n", **files}
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    subprocess.run(["dpkg-deb", "-Znone", "--build", root, tmp_path / "p.deb"], check=True, capture_output=True)  # noqa: S607
    return tmp_path / "p.deb"


def test_a_changelog_in_a_package(tmp_path: Path) -> None:
    name = "usr/share/doc/linux-image-6.12.113+deb13-amd64/changelog.gz"
    assert packed_changelog(packed(tmp_path, {name: gzip.compress(TEXT.encode())}), deadline=limit()) == TEXT


def test_a_package_without_one(tmp_path: Path) -> None:
    assert packed_changelog(packed(tmp_path, {"usr/share/doc/p/copyright": b"c"}), deadline=limit()) == ""


def test_a_damaged_one_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"p\.deb"):
        packed_changelog(packed(tmp_path, {"usr/share/doc/p/changelog.gz": b"not packed"}), deadline=limit())


def resume(kept: Journal, asked: list[int], *, die_after: int = 1000) -> Tally:
    keys = [candidate.key for candidate in CANDIDATES]

    def ask(batch: Mapping[str, Why], tell: Tell) -> None:
        for key, why in batch.items():
            if len(asked) == die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            asked.append(keys.index(key))
            tell(Reply(candidate=key, why=why, answer="new" if keys.index(key) >= 42 else "old"))

    return search(keys, kept.replies, ask, slots=3, samples=2, kept=kept.keep)


def test_killed_in_the_middle_it_is_resumed(tmp_path: Path) -> None:
    whole: list[int] = []
    with ResultStore(tmp_path / "whole.db") as store:
        resume(journal(store), whole)
    path = tmp_path / "results.db"
    child = os.fork()
    if child == 0:
        try:
            with ResultStore(path) as store:
                resume(journal(store), [], die_after=7)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with ResultStore(path) as store:
        kept = journal(store)
        assert kept.resumed
        assert len(kept.replies) == 7
        asked: list[int] = []
        tally = resume(kept, asked)
        assert [(gap.low, gap.high) for gap in tally.edges] == [(41, 42)]
        assert 7 + len(asked) <= len(whole) + 2  # but for the round that was cut short
        assert [bisection.id for bisection in load_bisections(store)] == [kept.bisection.id]
