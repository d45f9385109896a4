# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a callback leaves is read once it has run, and no longer waited for than there is patience."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runner.agent import claims, guest, setting
from runner.agent.claimobject import Object


class Results:
    """Gives these results, one for each time it is read; the last one for ever."""

    def __init__(self, *results: dict[str, int]) -> None:
        self._left = list(results)

    def read(self) -> dict[str, int]:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def awaited(*results: dict[str, int]) -> dict[str, int]:
    return setting._awaited(cast("Object", Results(*results)))


def test_what_was_written_while_it_was_read_is_read_again() -> None:
    assert awaited({"done": 0}, {"done": 1, "ret": 0}, {"done": 1, "ret": 5}) == {"done": 1, "ret": 5}


def test_a_callback_that_does_not_run_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting, "_PATIENCE_S", 0.01)
    assert awaited({"done": 0, "ret": 0}) == {"done": 0, "ret": 0}


@pytest.mark.parametrize(("loads_modules", "quiet"), [(True, {"kernel.modprobe": "\n"}), (False, {})])
def test_the_kernel_looks_for_modules_unless_all_that_it_needs_are_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loads_modules: bool, quiet: dict[str, str]
) -> None:
    """A kernel without modules has no such sysctl, and what it lacks is no failure of the claim."""
    (tmp_path / "kernel.modprobe").touch() if loads_modules else None
    monkeypatch.setattr(guest, "sysctl_path", lambda name: str(tmp_path / name))
    monkeypatch.setitem(guest.not_loaded, "cbc", "modprobe: FATAL: Module cbc not found")
    assert claims.sysctls({"a": "1"}, ["ecb"]) == {"a": "1", **quiet}
    assert claims.sysctls({"a": "1"}, ["ecb", "cbc"]) == claims.sysctls({"a": "1"}, []) == {"a": "1"}
