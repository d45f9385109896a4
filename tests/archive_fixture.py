# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A tiny signed archive (tests/data/make_archive.py) in the place of Debian's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.kernels import archive as archive_module
from runner.kernels.archive import Archive, Mirrors
from tests import samples

DATA = samples.DATA / "archive"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A copy of the archive that a test may damage."""
    return Path(shutil.copytree(DATA, tmp_path / "mirror"))


@pytest.fixture
def archive(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive at `mirror`, with its cache in tmp_path/cache; ensure_kernel and ensure_image use it too."""
    mirrors = Mirrors(f"copy:{mirror}", f"copy:{mirror}")
    monkeypatch.setattr(archive_module, "KEYRING", mirror / "keyring.gpg")
    monkeypatch.setattr(archive_module, "find_mirrors", lambda **_: mirrors)
    return Archive(tmp_path / "cache")
