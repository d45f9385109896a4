"""Our scheduling, as xdist's hook pytest_xdist_make_scheduler wants it.

An xdist worker starts an item only when it knows the next one, so with xdist's own schedulings each worker holds one
item in reserve. Here every cell is followed by a turn, an item that does nothing: the worker runs the cell, then holds
the turn until it is told what comes after it. So a free worker is one that holds a turn alone:

    sent          [6.12-x86_64, turn]   ...done   [turn]   sent [turn, 6.18-arm64, turn]   ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from runner.engine.scheduling import Pool

TURN = "turn"  # its node id


class Node(Protocol):
    """xdist's WorkerController, as far as it is needed here."""

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def shutdown(self) -> None: ...


class TurnScheduling:
    """Implements xdist's Scheduling. `items` are the node ids of the workers' items; a turn comes after them."""

    collection_is_completed = True  # nobody waits for anybody: what is to be run is known before

    def __init__(
        self,
        items: Sequence[str],
        pool: Pool,
        name_of: Callable[[Node], tuple[str, str]],
        hopeful: Callable[[], Iterable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name_of` gives a worker's id and its host; `hopeful` are the hosts that have workers or will have some."""
        self._items = list(items)
        self._index = {item: index for index, item in enumerate(self._items)}
        self._turn = len(self._items)
        self._pool = pool
        self._name_of = name_of
        self._hopeful = hopeful
        self._clock = clock
        self._pending: dict[Node, list[int]] = {}
        self._ready: dict[str, Node] = {}

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
        worker, host = self._name_of(node)
        self._ready[worker] = node
        self._pool.join(worker, host)

    def schedule(self) -> None:
        """Give every free worker its next cell, if there is one for it."""
        going = {worker for worker, node in self._ready.items() if node.shutting_down}
        for worker, job in self._pool.assign(self._clock(), set(self._hopeful()), without=going).items():
            node = self._ready[worker]
            indices = [self._index[job.item], self._turn]
            self._pending[node] += indices
            try:
                node.send_runtest_some(indices)
            except OSError:  # it is gone; xdist will say so, and the cell comes back
                continue

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:  # noqa: ARG002
        self._pending[node].remove(item_index)
        if item_index != self._turn:
            self._pool.done(self._name_of(node)[0])
            self.schedule()

    def remove_node(self, node: Node) -> str | None:
        """A worker is gone. Returns the item that it was at; a cell that it was not at yet goes back."""
        pending = self._pending.pop(node)
        worker, _ = self._name_of(node)
        if self._ready.pop(worker, None) is None:
            return None
        job = self._pool.leave(worker)
        if job is None:
            return None
        if pending and pending[0] == self._turn:  # the turn before it was not even over
            self._pool.put_back(job)
            return None
        return job.item

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError("a cell is repeated as another item")

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        raise NotImplementedError("nothing is ever stolen from a worker")
