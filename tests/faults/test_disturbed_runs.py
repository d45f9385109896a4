"""Two hundred runs with random faults: each ends complete or says exactly what is missing, and no answer is wrong.

The rounds, the cells, the store and the resuming are the real ones; the workers are this process, to be quick. What
xdist makes of a dead worker is in test_hosts.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runner.cli.resuming import left
from runner.engine import controller
from runner.engine.cellrun import run_cell
from runner.engine.controller import run_rounds
from runner.engine.fleet import this_machine_alone
from runner.engine.orders import Delivery
from runner.errors import InfraError
from runner.model import CellResult, Outcome, State, Verdict
from runner.model.deadline import Deadline
from runner.probes import judge, states
from runner.results.missing import missing_cells
from runner.results.model import Run
from runner.results.store import ResultStore
from tests.faults import machine
from tests.faults.leftovers import DRAFTS
from tests.faults.machine import AGENT, AT_BOOT, AT_PREPARE, IN_PROBE, ONCE, WorkerDied, disturbed
from tests.faults.project import cells, few_claims, orders
from tests.unit import results_samples as samples

RUNS, CELLS = 200, 4
FAULTS = sorted({*AT_PREPARE, *AT_BOOT, *IN_PROBE, *AGENT} - {"stops-worker", "slow"})
KERNELS_FAULT = {"panics"}  # that kernel did die in a probe
MEMORY = Path("/dev/shm")  # thousands of commits, each of which waits for the disk


class Killed(BaseException):
    """Stands for the SIGKILL of the controller."""


def one_round(plugin: controller._Round) -> controller._Round | None:
    """As a round of xdist's: results come as JSON, a dead worker's cell is reported as lost."""
    orders = plugin.orders
    here = disturbed(offline=True)
    try:
        for order in orders.orders:
            folder = Path(orders.folder) / order.cell.id
            try:
                result = run_cell(order, orders.payload["little"], here, folder, lambda phase, note: None)
            except WorkerDied:
                plugin._lost(order.cell.id, "worker 'gw0' crashed")
                continue
            sent = Delivery.model_validate_json(Delivery(result=result).model_dump_json())
            assert sent.result is not None
            plugin._take(sent.result)
    except KeyboardInterrupt:
        return None
    return plugin


def disturbance(dice: random.Random, keep: Callable[[CellResult], None]) -> Callable[[CellResult], None]:
    """What may happen when a result comes: Ctrl-C, kill -9 before or after it is stored, a full disk."""
    at, what = dice.randrange(1, 2 * CELLS), dice.choice(("", "", "ctrl-c", "killed before", "killed after", "full"))
    number = 0

    def take(result: CellResult) -> None:
        nonlocal number
        number += 1
        if number != at:
            keep(result)
        elif what == "killed before":
            raise Killed
        elif what == "full":
            raise InfraError("database or disk is full")
        else:
            keep(result)
            if what == "ctrl-c":
                raise KeyboardInterrupt
            if what == "killed after":
                raise Killed

    return take


def behaviours(dice: random.Random) -> list[str]:
    return [
        dice.choice(["fine", *FAULTS, *(f"{it}{ONCE}" for it in FAULTS if it not in AT_PREPARE)]) for _ in range(CELLS)
    ]


@contextmanager
def opened(folder: Path) -> Iterator[ResultStore]:
    with ResultStore(folder / "results.db") as store:
        yield store


def disturbed_run(seed: int, folder: Path) -> Run:
    """Begin, and resume until nothing more comes of it: three times at most."""
    dice = random.Random(seed)  # noqa: S311
    wanted = cells(behaviours(dice))
    for attempt in range(4):
        with opened(folder) as store:
            if attempt == 0:
                store.begin(samples.run(cells=wanted, run_id="r"))
            run = store.load("r")
            todo = left(orders(wanted, folder / "runs" / "r"), run)
            if not todo.orders:
                return run
            keep = disturbance(dice, lambda result: store.add("r", result))
            try:
                run_rounds(todo, fleet=this_machine_alone(1), on_result=keep, on_progress=lambda _: None)
            except (Killed, InfraError):
                continue
    with opened(folder) as store:
        return store.load("r")


def check(run: Run) -> None:
    """Every cell is right, or is said to be missing; a missing one says why."""
    missing = {cell.id for cell in missing_cells(run)}
    for cell in run.cells:
        result, name = run.final(cell), cell.name
        complete = not result.unasked and result.outcome is Outcome.RAN
        assert complete or cell.id in missing or result.outcome is Outcome.BOOT_FAILED, (name, result.outcome)
        assert complete == (not result.cause), (name, result.cause)
        attempts = [(it.attempts, it.outcome) for it in run.attempts(cell.id)]
        assert [number for number, _ in attempts] == list(range(1, len(attempts) + 1)), "counted twice"
        if cell.id not in missing and attempts:
            assert Outcome.RAN not in [outcome for _, outcome in attempts[:-1]], "what was finished was run again"
        for verdict in judge(result, few_claims()):
            if verdict.verdict is Verdict.BROKEN:
                assert name.removesuffix(ONCE) in KERNELS_FAULT
                assert verdict.crashed
            else:
                assert verdict.verdict is Verdict.HOLDS or verdict.cause, verdict
        found = {state.state for state in states(result, few_claims())}
        assert not {State.ABSENT, State.NOT_ALLOWED} & found, (name, found)


def test_disturbed_runs_end_complete_or_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_run_round", one_round)
    monkeypatch.setattr(machine, "IN_PROCESS", True)
    complete = 0
    limit = Deadline.after(300, "the test's limit")
    for seed in range(RUNS):
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
            run = disturbed_run(seed, Path(name))
            check(run)
            complete += not missing_cells(run)
            assert not list(Path(name).rglob(DRAFTS))
        assert not limit.expired, f"{seed} runs"
    assert 0 < complete < RUNS
