# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Deadlines, against a clock that the test moves."""

from __future__ import annotations

import time

import pytest

from runner.model.deadline import Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_time_runs_out_and_is_never_negative(clock: Clock) -> None:
    deadline = Deadline.after(60, "boot_s")
    assert deadline.remaining_s == 60
    seen = []
    for step in (59.5, 0.5, 100):
        clock.now += step
        seen.append((deadline.remaining_s, deadline.expired))
    assert seen == [(0.5, False), (0, True), (0, True)]


def test_nested_waits_share_the_sooner_one(clock: Clock) -> None:
    cell, probe = Deadline.after(600, "cell_s"), Deadline.after(30, "probe_s")
    assert cell.sooner(probe) is probe
    assert probe.sooner(cell) is probe
    clock.now += 590
    assert cell.sooner(Deadline.after(30, "probe_s")) is cell


@pytest.mark.parametrize(("seconds", "expected"), [(60, "boot_s of 60 s"), (0.5, "boot_s of 0.5 s")])
def test_a_deadline_names_its_limit(seconds: float, expected: str) -> None:
    assert Deadline.after(seconds, "boot_s").what == expected


def test_no_time_at_all_is_over_at_once(clock: Clock) -> None:
    assert Deadline.after(0, "x").expired
