# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A fleet of 64 hosts and 10,000 cells, simulated: what the controller does for each, and how good its order is.

Real are the controller, the scheduling, the store and the answers, which are recorded ones. Hosts, workers and time are
not: a worker is done with its cell when the clock of the simulation says so.
"""

from __future__ import annotations

import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.engine.controller import Controller
from runner.engine.fleet import Fleet, Host
from runner.engine.plan import DELIVERY_KEY, CellOrder, Delivery, Phase, Plan, Progress
from runner.engine.scheduling import TURN, TurnScheduling
from runner.engine.storing import StoreSink
from runner.engine.xdist import FleetSession
from runner.model import Build, Cell, Timings
from runner.results.store import ResultStore
from tests import fakes
from tests.bench.measure import Figure
from tests.unit import agent_samples

HOSTS, CELLS = 64, 10_000
ARCHES = ("x86_64", "arm64")
_PHASES = (Phase.PREPARING, Phase.BOOTING, Phase.PROBING)
_SEED = 14
ANSWERS = 3  # of a cell: more take longer to unpack and to store, see docs/performance.md


@dataclass(eq=False)
class Worker:
    """As xdist shows it. What it is sent is in `queue` until the simulation takes it."""

    host: str
    gateway: SimpleNamespace
    shutting_down: bool = False
    queue: list[int] = field(default_factory=list)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Simulation:
    """`controller_s` are the processor seconds of what a controller does. Everything else is not counted."""

    def __init__(self, cells: int, folder: Path, store: ResultStore) -> None:
        dice = Random(_SEED)  # noqa: S311
        self.hosts = _hosts(dice)
        orders = tuple(_order(number, dice) for number in range(cells))
        known_s = {order.cell.id: {"tcg": dice.uniform(10, 60)} for order in orders}
        self.taken_s = {name: known["tcg"] * dice.uniform(0.9, 1.1) for name, known in known_s.items()}
        plan: Plan = fakes.plan(folder, *orders, fleet=Fleet(self.hosts))
        plan = Plan(**{**{name: getattr(plan, name) for name in plan.__slots__}, "known_s": known_s})
        self.sink = StoreSink(store)
        self.now = self.controller_s = 0.0
        self._counted(lambda: self._begin(plan))

    def _begin(self, plan: Plan) -> None:
        self.sink.began(plan)
        self.controller = Controller(plan, [self.sink])
        self.controller.session = cast(
            FleetSession,
            SimpleNamespace(
                came=self._came,
                distrust=lambda node: sys.exit(f"what {node} sent is not believed"),
                heartbeats=SimpleNamespace(entered=lambda *_: None),
            ),
        )
        self.items = list(self.controller._orders)
        names = {host.name for host in self.hosts}
        self.scheduling = TurnScheduling(
            self.items, self.controller.pool, lambda it: cast(Worker, it).host, lambda: names, clock=lambda: self.now
        )

    def _came(self, node: Worker, result: Any) -> None:
        """As FleetSession does it."""
        self.controller.pool.health.answered(node.host)
        if job := self.controller.pool.at(node):
            self.controller.pool.learn(node.host, job, result.timings.total_s)

    def _counted(self, work: Any) -> None:
        begun = time.process_time()
        work()
        self.controller_s += time.process_time() - begun

    def run(self) -> None:
        """To the end of the last cell."""
        workers = [
            Worker(host.name, SimpleNamespace(spec=SimpleNamespace(host=host)))
            for host in self.hosts
            for _ in range(host.workers)
        ]
        for worker in workers:
            self.scheduling.add_node(worker)
            self.scheduling.add_node_collection(worker, [*self.items, TURN])
        self._counted(self.scheduling.schedule)
        ends: list[tuple[float, int, Worker]] = []
        running: dict[Worker, str] = {}
        turn = len(self.items)
        while True:
            for at, worker in enumerate(workers):
                if worker.queue and worker not in running:
                    index, _ = worker.queue[:2]
                    running[worker] = self.items[index]
                    cell_id = self.items[index].rpartition("/")[0]
                    heapq.heappush(ends, (self.now + self.taken_s[cell_id], at, worker))
            if not ends:
                return
            self.now, _, worker = heapq.heappop(ends)
            item = running.pop(worker)
            reports = [*self._reports(item, worker)]
            index = worker.queue.pop(0)
            worker.queue.remove(turn)

            def deliver(reports: list[Any] = reports, worker: Worker = worker, index: int = index) -> None:
                for report in reports:
                    self.controller.pytest_runtest_logreport(report)
                self.scheduling.mark_test_complete(worker, index)
                self.scheduling.mark_test_complete(worker, turn)

            self._counted(deliver)

    def _reports(self, item: str, worker: Worker) -> Any:
        order = self.controller._orders[item]
        for phase in _PHASES:
            yield _report(item, worker, Delivery(progress=Progress(cell_id=order.cell.id, phase=phase)))
        taken_s = self.taken_s[order.cell.id]
        yield _report(item, worker, Delivery(result=_result(order.cell, taken_s)))


def _report(item: str, worker: Worker, delivery: Delivery) -> pytest.TestReport:
    properties = [(DELIVERY_KEY, delivery.packed())]
    report = pytest.TestReport(item, ("", None, ""), {}, "passed", None, "call", user_properties=properties)
    report.node = worker  # type: ignore[attr-defined]
    return report


def _hosts(dice: Random) -> tuple[Host, ...]:
    return tuple(
        Host(f"host-{number}", dict.fromkeys(ARCHES, slots), dict.fromkeys(ARCHES, "tcg"))
        for number, slots in enumerate(dice.choices((2, 4, 8), k=HOSTS))
    )


def _order(number: int, dice: Random) -> CellOrder:
    return fakes.cell_order(f"kernel-{number}", number=number)


@cache
def _recorded() -> Any:
    whole = agent_samples.result("6.12.117")
    return whole.model_copy(update={"answers": whole.answers[:ANSWERS]})


def _result(cell: Cell, taken_s: float) -> Any:
    now = {
        "cell": cell,
        "build": Build(sha256=sha256(cell.id.encode()).hexdigest()),
        "timings": Timings(prepare_s=0.0, boot_s=taken_s / 2, probe_s=taken_s / 2, total_s=taken_s),
        "began": datetime.now(UTC),
        "host": "host",
        "accel": "tcg",
        "boots": 1,
    }
    return _recorded().model_copy(update=now)


def _measure(folder: Path, cells: int) -> dict[str, float]:
    with ResultStore(folder / "results.db") as store:
        simulation = Simulation(cells, folder / "run", store)
        simulation.run()
        if not simulation.controller.complete:
            raise RuntimeError("a cell has no result")
    taken_s, slots = simulation.taken_s.values(), sum(host.workers for host in simulation.hosts)
    return {
        "ms": 1000 * simulation.controller_s / cells,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "over_bound": simulation.now / max(sum(taken_s) / slots, *taken_s),
        "slots": slots,
    }


@cache
def _run(cells: int) -> dict[str, float]:
    """In a process of its own, for its peak."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as name:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.fleet", name, str(cells)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    document: dict[str, float] = json.loads(done.stdout)
    return document


def _how() -> str:
    return f"{CELLS} cells of {len(_recorded().answers)} answers on {HOSTS} hosts, {_run(CELLS)['slots']:.0f} slots"


def fleet_ms() -> Figure:
    return Figure(_run(CELLS)["ms"], "ms", f"{_how()}, simulated; with the store", at_most=5)


def fleet_mib() -> Figure:
    return Figure(_run(CELLS)["peak_mib"], "MiB", f"{_how()}; peak of the process", at_most=300)


def fleet_order() -> Figure:
    """When the last cell ends, over the larger of the work for each slot and the longest cell."""
    return Figure(_run(CELLS)["over_bound"], "x", f"{_how()}; each takes up to a tenth more or less", at_most=1.05)


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
