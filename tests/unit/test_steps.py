# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How far a long step is, and what a terminal and a pipe show of it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from runner import steps
from runner.cli.booting import Display
from runner.cli.options import steps_shown
from runner.engine.plan import CellOrder, Phase, Progress
from runner.model import Outcome
from runner.steps import filling, heard, step
from tests import fakes
from tests.unit import results_samples as samples

A, B = samples.CELLS[:2]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "EVERY_S", 0.0)


def test_a_step_says_how_far_it_is_to_the_last_who_listens() -> None:
    outer: list[object] = []
    inner: list[object] = []
    with heard(lambda *said: outer.append(said)):
        with heard(lambda *said: inner.append(said)), step("fetching", 200) as reach:
            reach(50)
            reach(500)  # more than was announced
        with step("building") as reach:
            reach(7)
    with step("nobody listens", 10) as reach:
        reach(5)
    assert inner == [("fetching", 0.0), ("fetching", 0.25), ("fetching", 0.99), ("fetching", 1.0)]
    assert outer == [("building", None), ("building", 1.0)]


def test_a_step_of_another_program_is_read_off_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "EVERY_S", 0.01)
    said: list[float | None] = []
    (tmp_path / "before").mkdir()
    (tmp_path / "before/old.deb").write_bytes(b"x" * 300)
    with heard(lambda _, part: said.append(part)), filling(tmp_path, "apt", 1000):
        (tmp_path / "one.deb").write_bytes(b"x" * 400)
        limit = time.monotonic() + 10
        while 0.4 not in said and time.monotonic() < limit:
            time.sleep(0.01)
    assert said[0] == 0.0
    assert 0.4 in said
    assert said[-1] == 1.0


def test_a_terminal_has_bars_for_the_steps_of_a_command_and_a_pipe_has_none() -> None:
    for terminal in (True, False):
        console = Console(file=(out := io.StringIO()), force_terminal=terminal, width=80)
        with steps_shown(console), step("package lists", 4) as reach, step("[b]one"):
            reach(2)
        assert ("package lists" in out.getvalue()) is terminal
        assert ("[b]one" in out.getvalue()) is terminal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[Display, Clock, Console]]:
    """A display on a terminal, of two cells; the first one took 40 s the last time."""
    console, clock = Console(file=io.StringIO(), force_terminal=True, width=110), Clock()
    display = Display(console, lambda result: result.outcome, clock)
    plan = fakes.plan(tmp_path, *(CellOrder(cell=cell, asks=(), modules=()) for cell in (A, B)))
    object.__setattr__(plan, "known_s", {A.id: {"tcg": 40.0}})
    display.began(plan)
    yield display, clock, console
    if display._live:
        display._live.stop()


def drawn(display: Display) -> str:
    console = Console(file=io.StringIO(), width=110)
    with console.capture() as captured:
        console.print(display)
    return captured.get()


def test_a_download_has_a_bar_and_the_time_that_it_will_take(shown: tuple[Display, Clock, Console]) -> None:
    display, clock, _ = shown
    display.progress(Progress(cell_id=A.id, phase=Phase.PREPARING))
    clock.now += 5
    display.progress(Progress(cell_id=A.id, phase=Phase.PREPARING, note="fetching 90 MiB", part=0.0))
    assert "left" not in drawn(display)  # nobody knows yet
    clock.now += 10
    display.progress(Progress(cell_id=A.id, phase=Phase.PREPARING, note="fetching 90 MiB", part=0.25))
    line = drawn(display).splitlines()[0]
    assert "preparing    15 s" in line
    assert "30 s left" in line
    assert "━" in line
    assert "fetching 90 MiB" in line
    display.progress(Progress(cell_id=A.id, phase=Phase.PREPARING, note="fetching 90 MiB", part=1.0))
    assert "fetching" not in drawn(display)


def test_a_boot_has_the_time_left_that_the_last_one_took_and_the_run_when_all_are_known(
    shown: tuple[Display, Clock, Console],
) -> None:
    display, clock, _ = shown
    display.progress(Progress(cell_id=A.id, phase=Phase.BOOTING, note="a snapshot is made"))
    clock.now += 10
    line, sums = drawn(display).splitlines()
    assert "30 s left" in line
    assert "left" not in sums  # nobody knows what the other one takes
    clock.now += 10
    display.progress(Progress(cell_id=A.id, phase=Phase.DONE, note=Outcome.RAN))
    assert "1 waiting · 1 done · 20 s · about 20 s left" in drawn(display)  # as long as the first one
    display.progress(Progress(cell_id=B.id, phase=Phase.BOOTING))
    clock.now += 30
    assert "about" not in drawn(display)  # it took longer: nothing is promised


def test_a_pipe_has_a_line_for_each_step_and_none_for_its_parts(tmp_path: Path) -> None:
    console = Console(file=(out := io.StringIO()), width=110)
    display = Display(console, lambda result: result.outcome, Clock())
    display.began(fakes.plan(tmp_path, CellOrder(cell=A, asks=(), modules=())))
    for part in (0.0, 0.3, 0.6, 1.0):
        display.progress(Progress(cell_id=A.id, phase=Phase.PREPARING, note="fetching 90 MiB", part=part))
    display.progress(Progress(cell_id=A.id, phase=Phase.BOOTING, note="boot 2"))
    display.progress(Progress(cell_id=A.id, phase=Phase.BOOTING, note="boot 2"))
    assert [line.split()[3:] for line in out.getvalue().splitlines()] == [
        ["preparing", "fetching", "90", "MiB"],
        ["booting", "boot", "2"],
        ["booting", "boot", "2"],
    ]
