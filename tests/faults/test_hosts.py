"""What can happen to workers, with real xdist workers; guests are fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.engine.controller import execute
from runner.engine.fleet import this_machine_alone
from runner.engine.heartbeat import Heartbeats
from runner.engine.orders import Phase
from runner.errors import InfraError
from runner.model import CellResult, Limits, Outcome
from tests import fakes
from tests.faults.leftovers import Place, nothing_left
from tests.faults.project import cells, plan

RAN, LOST, INFRA, DEAD = Outcome.RAN, Outcome.LOST, Outcome.INFRA_FAILED, Outcome.BOOT_FAILED
# what a cell does -> how its attempts end, and a word of the cause of the last one that failed
TABLE: dict[str, tuple[list[Outcome], str]] = {
    "fine": ([RAN], ""),
    "kills-worker-once": ([LOST, RAN], "the worker died: it ended without a word"),
    "kills-worker": ([LOST, LOST], "the worker died: it ended without a word"),
    "stops-worker-once": ([LOST, RAN], "it was not done within cell_s and end_s"),
    "bug": ([INFRA, INFRA], "an unexpected exception in a worker: ZeroDivisionError: a mistake of ours"),
    "full-disk": ([INFRA, INFRA], "No space left on device"),
    "broken-disk": ([INFRA, INFRA], "Input/output error"),
    "boot-silent": ([INFRA, INFRA], "the console stayed empty"),
    "drops": ([LOST, LOST], "the ssh connection broke"),
    "drops-once": ([LOST, RAN], "the ssh connection broke"),
    "boot-panics": ([DEAD, DEAD], "Kernel panic"),
    "ends-early-once": ([INFRA, RAN], "the agent ended too early"),
    "nonsense": ([RAN], ""),
}


def test_every_cell_ends_as_it_must_beside_all_the_others(tmp_path: Path) -> None:
    wanted = cells(list(TABLE), Limits(cell_s=4, end_s=0.5))
    told = fakes.Told()
    with nothing_left(Place(tmp_path, tmp_path / "scratch")):
        assert execute(plan(wanted, tmp_path, fleet=this_machine_alone(2)), [told]).complete
    for cell in wanted:
        outcomes, word = TABLE[cell.name]
        mine = [result for result in told.results if result.cell.id == cell.id]
        assert [result.outcome for result in mine] == outcomes, (cell.name, [result.cause for result in mine])
        assert [result.attempts for result in mine] == list(range(1, len(outcomes) + 1))
        assert word in next((result.cause for result in reversed(mine) if result.outcome is not RAN), "")
        if outcomes[-1] is RAN:
            assert len(mine[-1].observations) == 6
            assert mine[-1].unasked == ()


@dataclass
class Failing(fakes.Told):
    """A sink that fails at its first result."""

    error: BaseException = field(default_factory=Exception)

    def result(self, result: CellResult) -> None:
        super().result(result)
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        InfraError("results.db: database or disk is full", hint="is the disk full?"),
        ZeroDivisionError("ours"),
        SystemExit("rich, when nobody reads stdout any more"),
    ],
)
def test_the_exception_of_a_sink_ends_the_run_and_is_the_callers(
    tmp_path: Path, error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    told, sink = fakes.Told(), Failing(error=error)
    wanted = cells(["fine"] * 3)
    with nothing_left(Place(tmp_path, tmp_path / "scratch")), pytest.raises(type(error)) as caught:
        execute(plan(wanted, tmp_path), [sink, told])
    assert caught.value is error
    assert len(sink.results) == 1
    assert told.results == []  # it stands behind the one that failed
    assert sink.events[-1] == told.events[-1] == "finished failed"
    assert capfd.readouterr().err == ""


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
        (self.cell,) = cells(["fine"], limits)
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
