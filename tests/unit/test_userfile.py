# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A file that a user names may be none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner import userfile
from runner.errors import UserError


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pipe", "is no regular file"),
        ("/dev/zero", "is no regular file"),
        ("", "is a folder"),
        ("none", "cannot be read: No such file"),
        ("huge", "larger than 16 MiB"),
    ],
)
def test_what_is_no_file_of_a_sane_size_is_refused(tmp_path: Path, name: str, says: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(userfile.LARGEST + 1)
    with pytest.raises(UserError, match=says):
        userfile.read(tmp_path / name)


def test_what_is_as_large_as_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345678")
    assert userfile.read(tmp_path / "file", most=8) == b"12345678"
