# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The same sources are the same wheel, wherever, whenever and by whomever it is built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner import __version__
from tests.samples import ROOT

SOURCES = (
    "runner",
    "bpf",
    "reports",
    "LICENSES",
    "LICENSE",
    "README.md",
    "matrix.yaml",
    "matrix.lock",
    "pyproject.toml",
)


def built(folder: Path, umask: int, epoch_s: int) -> Path:
    """A wheel of a copy of the sources, all of whose files are that old and have the permissions of that umask."""
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            executable = 0o111 if path.is_dir() or os.access(path, os.X_OK) else 0
            path.chmod((0o666 | executable) & ~umask)
            os.utime(path, (epoch_s, epoch_s))
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    env = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    subprocess.run(argv, cwd=folder, env=env, umask=umask, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.mark.heavy
def test_two_folders_umasks_and_dates_make_the_same_bytes(tmp_path: Path) -> None:
    first = built(tmp_path / "a", 0o022, 1_000_000_000)
    second = built(tmp_path / "a longer name", 0o077, 1_700_000_000)
    assert first.name == second.name
    assert first.name.startswith(f"kfunc_runner-{__version__}-")  # what `runner --version` says
    digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (first, second)]
    assert digests[0] == digests[1]
    names = zipfile.ZipFile(first).namelist()
    assert "runner/builtin/matrix.yaml" in names
    assert "runner/cli/ci/github.yml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
