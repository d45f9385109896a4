# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Unit tests start no process: what does belongs to tests/integration."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_running = False


def _watch(event: str, _arguments: tuple[object, ...]) -> None:
    if _running and event in {"subprocess.Popen", "os.posix_spawn", "socket.bind"}:
        raise AssertionError(f"{event} in a unit test: move it to tests/integration")


sys.addaudithook(_watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Called for every item, whatever its folder."""
    global _running  # noqa: PLW0603  an audit hook cannot be taken away again
    _running = HERE in item.path.parents
    try:
        return (yield)
    finally:
        _running = False


def pytest_collection_finish() -> None:
    gc.freeze()  # modules, models and items stay to the end: no collection need look at them again
