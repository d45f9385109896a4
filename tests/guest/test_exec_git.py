# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner bisect NAME --git` with a command, in real guests. The commits build kernels of the default matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.bisect import commits
from runner.caches import cache_root
from runner.kernels.build import Recipe
from runner.matrix.lock import read_lock
from runner.model import Pin
from tests.guest.conftest import Project
from tests.integration.test_bisect_commits import history
from tests.samples import ROOT

MATRIX = """\
kernels: [{debian: trixie, series: "6.12"}]
architectures: [x86_64]
probes: [{command: [./t.sh], results: tap, files: [t.sh]}]
"""
TEST = """\
#!/bin/sh
echo 1..2
echo ok 1 - always
case $(uname -r) in 6.1.*) echo ok 2 - old;; *) echo not ok 2 - old;; esac
"""


def build(source: Path, objects: Path, recipe: Recipe, **_: object) -> None:
    objects.mkdir(exist_ok=True)
    (objects / "series").write_text((source / "kernel").read_text().split()[0])


def lock(wanted: Any, means: object) -> tuple[Pin, ...]:
    series = (Path(wanted.source.removeprefix("tree:")) / "series").read_text()
    pins = read_lock(ROOT / "matrix.lock").kernels
    return (next(it for it in pins if it.arch == "x86_64" and it.version.startswith(f"{series}.")),)


def test_the_commit_that_a_test_of_a_command_fails_since(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(cache_root()))
    monkeypatch.setattr(commits, "build_kernel", build)
    monkeypatch.setattr(commits, "lock_kernels", lock)
    monkeypatch.setattr(commits, "kernel_digest", lambda kernel: kernel.release.encode().hex().ljust(64, "0"))
    (project.root / "matrix.yaml").write_text(MATRIX)
    test = project.root / "t.sh"
    test.write_text(TEST)
    test.chmod(0o755)
    repository = project.root / "linux"
    ids = history(repository, "6.1", "6.1 b", "6.12", "6.12 d")
    monkeypatch.chdir(project.root)
    words = ["bisect", "t.sh/old", "--git", str(repository), "--good", ids[0], "--bad", ids[-1], "--arch", "x86_64"]
    status = cli.run(words)
    said = capsys.readouterr()
    assert status == 0, said.out + said.err
    assert f"{ids[2][:12]} commit 2: 6.12" in said.out.partition("first bad")[2], said.out
