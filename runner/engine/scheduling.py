# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Gives xdist's workers the cells that the pool has for them, each followed by a turn (docs/architecture.md: why)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from runner.engine.pool import Pool

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
