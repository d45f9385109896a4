# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An older commit to compare with: a checkout with a virtual environment of its own, in a folder that is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BEFORE = "BENCH_BEFORE"  # the checkout's folder, for the goals that compare


@contextmanager
def checkout(commit: str) -> Iterator[None]:
    """Sets BEFORE; does nothing without a commit. Raises CalledProcessError when git or pip fails."""
    if not commit:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bench-before-") as name:
        folder, python = Path(name) / commit, Path(name) / commit / ".venv/bin/python"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], check=True)  # noqa: S607
        try:
            subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
            for words in (["--upgrade", "pip>=25.1"], ["--editable", ".", "--group", "dev"]):
                subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True, cwd=folder)
            os.environ[BEFORE] = str(folder)
            yield
        finally:
            os.environ.pop(BEFORE, None)
            subprocess.run(["git", "worktree", "remove", "--force", folder], check=True)  # noqa: S607
