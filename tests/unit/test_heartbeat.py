# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""When a worker is ended: it says nothing, or is not done within its limits. The time here does not pass by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from runner.engine.gateways import Heartbeats
from runner.engine.plan import Phase
from runner.model import Limits
from tests import fakes


class Worker:
    """As much of xdist's node as the heartbeats see. It answers as long as it lives."""

    def __init__(self, name: str) -> None:
        self.gateway, self.id, self.workerinput = self, name, dict[str, object]()
        self.lives = True
        self.hear: Callable[[object], object] = bool

    def newchannel(self) -> Worker:
        return self

    def setcallback(self, hear: Callable[[object], object]) -> None:
        self.hear = hear

    def send(self, _: object) -> None:
        if self.lives:
            self.hear(None)


@dataclass
class Watched:
    """Heartbeats whose time does not pass by itself."""

    patch: pytest.MonkeyPatch
    now: float = 100.0
    ended: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patch.setattr("time.monotonic", lambda: self.now)
        limits = Limits(prepare_s=50, cell_s=20, start_s=10, end_s=5)
        self.cell = fakes.cell().model_copy(update={"limits": limits})
        self.beats = Heartbeats(8.0, limits, lambda node, why: self.ended.update({node.id: why}), lambda: None)

    def worker(self, name: str, *, ready: bool = True) -> Worker:
        worker = Worker(name)
        self.beats.starting(worker)
        if ready:
            self.beats.ready(worker)
        return worker

    def until(self, now: float) -> None:
        while self.now < now:
            self.now += 1
            self.beats.ask()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_a_worker_that_does_not_get_ready_is_ended(watched: Watched) -> None:
    watched.worker("slow", ready=False).lives = False  # silence means nothing while it starts
    watched.worker("quick")
    watched.until(109)
    assert not watched.ended
    watched.until(120)
    assert watched.ended == {"slow": "it was not done within start_s of 10 s"}


def test_a_silent_worker_is_ended_and_one_that_answers_is_not(watched: Watched) -> None:
    watched.worker("talks")
    watched.worker("silent").lives = False
    watched.until(108)
    assert not watched.ended
    watched.until(200)
    assert watched.ended == {"silent": "no heartbeat for 8 s"}


def test_a_cell_has_its_limits_and_no_boot_one_of_its_own(watched: Watched) -> None:
    node = watched.worker("gw0")
    watched.beats.entered(node, watched.cell, Phase.PREPARING)
    watched.until(150)
    watched.beats.entered(node, watched.cell, Phase.BOOTING)
    watched.until(165)
    watched.beats.entered(node, watched.cell, Phase.PROBING)
    watched.beats.entered(node, watched.cell, Phase.BOOTING)
    watched.until(174)
    assert not watched.ended
    watched.until(175)
    assert watched.ended == {"gw0": "it was not done within cell_s and end_s: in all of 25 s"}


def test_a_done_cell_has_no_limit_any_more_and_the_next_one_its_own(watched: Watched) -> None:
    node = watched.worker("gw0")
    watched.beats.entered(node, watched.cell, Phase.BOOTING)
    watched.beats.done(node)
    watched.until(1000)
    watched.beats.entered(node, watched.cell, Phase.BOOTING)
    watched.until(1024)
    assert not watched.ended
    watched.until(1025)
    assert watched.ended


def test_time_in_which_the_controller_itself_slept_counts_against_nobody(watched: Watched) -> None:
    node = watched.worker("gw0")
    watched.beats.entered(node, watched.cell, Phase.BOOTING)
    watched.until(110)
    watched.now += 3600
    watched.beats.ask()
    watched.until(3600 + 124)
    assert not watched.ended
    watched.until(3600 + 126)
    assert watched.ended


def test_when_all_is_over_a_worker_ends_within_its_limit(watched: Watched) -> None:
    idle, busy = watched.worker("idle"), watched.worker("busy")
    watched.beats.entered(busy, watched.cell, Phase.BOOTING)
    watched.beats.over()
    watched.until(106)
    assert watched.ended == {"idle": "it was not done within end_s of 5 s"}
    watched.beats.done(busy)
    watched.until(112)
    assert watched.ended.keys() == {"idle", "busy"}
    assert idle.workerinput
