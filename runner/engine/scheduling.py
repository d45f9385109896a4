# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which worker takes which cell next: the pool decides, and xdist's workers are sent what it says.

A worker is given a cell only when it is free, so no cell waits behind another one. Who gets which is found by
simulating the rest of the run: cells that can run under KVM first, then the longest first, each to the worker that
would be done with it soonest. An idle worker on a slow host leaves a cell to a faster host if that finishes it sooner.
Without that, 10 cells on a host and one of half the speed take up to 14 % longer (`make bench`, slow-host), and a host
with KVM beside one without it takes 7 % longer on average (40 simulated runs, at worst 43 %).
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from runner.engine.fleet import FleetHealth
from runner.guest.interface import Accel
from runner.model.architecture import ARCHITECTURES

_TCG_S = 20.0  # of a cell on x86_64, where nothing is known; two cores, measured
_KVM_S = 4.0  # an estimate
_ROUNDING = 1e-9
_GONE = 256  # cells that do not wait any more, until they are left out of the order

Worker = TypeVar("Worker")  # whatever has a hash: for xdist a node


def item_id(cell_id: str, attempt: int) -> str:
    """`6.12.117-x86_64/1`."""
    return f"{cell_id}/{attempt}"


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to run. `known_s`: what it took the last time, under each acceleration."""

    id: str
    arch: str
    known_s: Mapping[str, float] = field(default_factory=dict)
    attempt: int = 1

    @property
    def item(self) -> str:
        """The node id of its pytest item."""
        return item_id(self.id, self.attempt)

    def seconds(self, accel: Accel) -> float:
        """Expected on a host of ordinary speed."""
        if accel in self.known_s:
            return self.known_s[accel]
        return _KVM_S if accel == "kvm" else _TCG_S * ARCHITECTURES[self.arch].tcg_cost


@dataclass(frozen=True, slots=True)
class Running:
    """A cell on a worker, since when."""

    job: Job
    since: float


def play(
    jobs: Iterable[Job],
    free_at: Mapping[str, Mapping[Worker, float]],
    cost_s: Callable[[Job, str], float],
    may_start: Callable[[Job, str, Sequence[Job]], bool],
    now: float,
) -> dict[Worker, Job]:
    """What each worker that is free `now` gets. `free_at` holds the workers of each host and when they are free.

    `cost_s(job, host)` is infinite where the job cannot run; `may_start(job, host, others)` says whether the host has
    room for one more beside what runs there and `others`, which it got here.
    """
    number = itertools.count()  # workers have no order
    heaps = {
        host: sorted((moment, next(number), worker) for worker, moment in workers.items())
        for host, workers in free_at.items()
    }
    idle = {worker for workers in free_at.values() for worker, moment in workers.items() if moment <= now}
    got: dict[Worker, Job] = {}
    given: dict[str, list[Job]] = {host: [] for host in free_at}
    for job in jobs:
        if not idle - got.keys():
            break
        offers = sorted(
            (heap[0][0] + cost, host) for host, heap in heaps.items() if (cost := cost_s(job, host)) < math.inf
        )
        for done_at, host in offers:
            moment, place, worker = heaps[host][0]
            if moment <= now and worker not in got:
                if not may_start(job, host, given[host]):
                    continue
                got[worker] = job
                given[host].append(job)
            heapq.heapreplace(heaps[host], (done_at, place, worker))
            break
    return got


class Pool(Generic[Worker]):
    """The cells that wait, and the workers. A worker belongs to a host and runs at most one cell."""

    def __init__(self, jobs: Iterable[Job], health: FleetHealth) -> None:
        self.waiting = {job.id: job for job in jobs}
        self.health = health
        self.hosts = {host.name: host for host in health.fleet.hosts}
        self._home: dict[Worker, str] = {}  # worker -> its host
        self._running: dict[Worker, Running] = {}
        self._in_order: list[Job] = []  # those that wait, and a few that did; empty: to be sorted again
        self._native: frozenset[str] = frozenset()  # by which it was sorted

    # --- workers ------------------------------------------------------------------------------------------------------

    def join(self, worker: Worker, host: str) -> None:
        """A worker is there, and free."""
        self._home[worker] = host

    def at(self, worker: Worker) -> Job | None:
        """The cell that a worker is at; None of one that never joined, too."""
        return self._running[worker].job if worker in self._running else None

    def leave(self, worker: Worker) -> Job | None:
        """A worker is gone. Returns the cell that it was at."""
        job = self.at(worker)
        self.done(worker)
        self._home.pop(worker, None)
        return job

    def done(self, worker: Worker) -> None:
        """A worker is free again."""
        self._running.pop(worker, None)

    def put_back(self, job: Job) -> None:
        """A cell that did not start, or that is repeated."""
        self.waiting[job.id] = job
        self._in_order = []

    @property
    def running(self) -> tuple[Job, ...]:
        return tuple(at.job for at in self._running.values())

    # --- deciding -----------------------------------------------------------------------------------------------------

    def assign(self, now: float, hopeful: Container[str], *, without: Container[Worker] = ()) -> dict[Worker, Job]:
        """Worker -> the cell that it is to start now; they count as running from here on.

        `hopeful` are the hosts that have workers or will have some, `without` the workers that end soon.
        """
        there = {worker: host for worker, host in self._home.items() if worker not in without}
        if not self.waiting or not there.keys() - self._running.keys():
            return {}
        free_at: dict[str, dict[Worker, float]] = {}
        for worker, host in there.items():
            if host not in self.health.aside:
                free_at.setdefault(host, {})[worker] = self._free_at(worker, now)

        def cost_s(job: Job, host: str) -> float:
            avoided = self.health.avoided(job.id, job.arch, host, hopeful)
            return math.inf if avoided else self._expected_s(job, host)

        got = play(self._ordered(free_at), free_at, cost_s, self._has_room, now)
        for worker, job in got.items():
            del self.waiting[job.id]
            self._running[worker] = Running(job, now)
        return got

    def learn(self, host: str, job: Job, taken_s: float) -> None:
        """A host took so long for a cell: its speed."""
        self.health.learn(host, taken_s / job.seconds(self.hosts[host].accel[job.arch]))

    def stranded(self, hopeful: Iterable[str]) -> tuple[Job, ...]:
        """The waiting cells that none of these hosts can run."""
        archs = {arch for name in hopeful for arch in self.hosts[name].slots}
        return tuple(job for job in self.waiting.values() if job.arch not in archs)

    def _ordered(self, hosts: Iterable[str]) -> Iterator[Job]:
        """Those that wait, repeated ones last. Sorted only when it must be: a fleet may have ten thousand."""
        native = frozenset(arch for host in hosts for arch, accel in self.hosts[host].accel.items() if accel == "kvm")

        def rank(job: Job) -> tuple[int, bool, float, str]:
            seconds = job.seconds("kvm" if job.arch in native else "tcg")
            return job.attempt, job.arch not in native, -seconds, job.id

        if native != self._native or not self._in_order:
            self._native, self._in_order = native, sorted(self.waiting.values(), key=rank)
        elif len(self._in_order) > len(self.waiting) + _GONE:
            self._in_order = [job for job in self._in_order if job.id in self.waiting]
        return (job for job in self._in_order if job.id in self.waiting)

    def _expected_s(self, job: Job, host: str) -> float:
        if job.arch not in self.hosts[host].slots:
            return math.inf
        return job.seconds(self.hosts[host].accel[job.arch]) * self.health.slowness(host)

    def _has_room(self, job: Job, host: str, others: Sequence[Job]) -> bool:
        """A guest takes one slot of its architecture's number: with 8 for x86_64 and 4 for arm64, 4 and 2 go."""
        slots = self.hosts[host].slots
        there = [at.job for worker, at in self._running.items() if self._home[worker] == host]
        return sum(1 / slots[one.arch] for one in (*there, *others, job)) <= 1 + _ROUNDING

    def _free_at(self, worker: Worker, now: float) -> float:
        """A cell that takes longer than was expected will probably take a while yet."""
        if worker not in self._running:
            return now
        at = self._running[worker]
        elapsed = now - at.since
        return now + max(self._expected_s(at.job, self._home[worker]) - elapsed, elapsed / 4, _ROUNDING)


TURN = "turn"  # its node id


class Node(Protocol):
    """xdist's WorkerController, as far as it is needed here."""

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...


class TurnScheduling:
    """Implements xdist's Scheduling. `items` are the node ids of the workers' items; a turn comes after them."""

    collection_is_completed = True  # nobody waits for anybody: what is to be run is known before

    def __init__(
        self,
        items: Sequence[str],
        pool: Pool[Node],
        host_of: Callable[[Node], str],
        hopeful: Callable[[], Iterable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`host_of` names a worker's host; `hopeful` are the hosts that have workers or will have some."""
        self._items = list(items)
        self._index = {item: index for index, item in enumerate(self._items)}
        self._turn = len(self._items)
        self._pool = pool
        self._host_of = host_of
        self._hopeful = hopeful
        self._clock = clock
        self._pending: dict[Node, list[int]] = {}  # what was sent to it and is not done

    @property
    def nodes(self) -> list[Node]:
        return list(self._pending)

    @property
    def has_pending(self) -> bool:
        return bool(self._pool.waiting or self._pool.running)

    @property
    def tests_finished(self) -> bool:
        """Nothing runs, and what waits, if anything, waits for a host that there is not."""
        if self._pool.running:
            return False
        waiting = self._pool.waiting
        return not waiting or len(self._pool.stranded(self._hopeful())) == len(waiting)

    def add_node(self, node: Node) -> None:
        self._pending[node] = []

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        """A worker is ready."""
        if list(collection) != [*self._items, TURN]:
            raise RuntimeError(f"{node} has other items than it was sent")
        self._pool.join(node, self._host_of(node))

    def schedule(self) -> None:
        """Give every free worker its next cell, if there is one for it."""
        going = {node for node in self._pending if node.shutting_down}
        for node, job in self._pool.assign(self._clock(), set(self._hopeful()), without=going).items():
            indices = [self._index[job.item], self._turn]
            self._pending[node] += indices
            try:
                node.send_runtest_some(indices)
            except OSError:  # it is gone; xdist will say so, and the cell comes back
                continue

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        self._pending[node].remove(item_index)
        if item_index != self._turn:
            self._pool.done(node)
            self.schedule()

    def remove_node(self, node: Node) -> str | None:
        """A worker is gone. Returns the item that it was at; a cell that it was not at yet goes back."""
        pending = self._pending.pop(node)
        job = self._pool.leave(node)
        if job and pending[0] == self._turn:  # the turn before it was not even over
            self._pool.put_back(job)
            return None
        return job.item if job else None

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError("a cell is repeated as another item")

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        raise NotImplementedError("nothing is ever stolen from a worker")
