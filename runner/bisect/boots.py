"""Asks kernels by booting them: a round of a bisection is a round of an ordinary run, stored as its own run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from runner import __version__
from runner.bisect.candidates import Bootable
from runner.bisect.questions import Asked
from runner.bisect.search import Tell, Want
from runner.engine.again import asked_of
from runner.engine.fleet import Fleet
from runner.engine.orders import CellOrder, Progress, WorkerOrders
from runner.errors import InfraError
from runner.model import Cell, CellResult, Outcome
from runner.results.asked import read_asked, write_asked
from runner.results.bisections import Reply, Why
from runner.results.model import Run
from runner.results.store import ResultStore

RunRounds = Callable[..., bool]  # runner.engine.controller.run_rounds


class Shown(Protocol):
    """What a round is shown on."""

    def progress(self, progress: Progress) -> None: ...

    def result(self, result: CellResult) -> None: ...


Show = Callable[[Sequence[tuple[Cell, Why]]], AbstractContextManager[Shown]]


@dataclass(slots=True)
class Boots:
    """`orders` holds the payload for every architecture; its own orders are not looked at."""

    asked: Asked
    keys: Sequence[str]
    cells: Mapping[str, Cell]  # by the candidate's key
    orders: WorkerOrders
    store: ResultStore
    run: Run
    fleet: Fleet
    show: Show
    rounds: RunRounds
    attempts: dict[str, int] = field(default_factory=dict)  # by the cell's id: the last one
    _begun: bool = False
    _cells: list[Cell] = field(default_factory=list)  # of the run, in the order in which they were asked

    def ask(self, batch: Sequence[Want], tell: Tell) -> None:
        """One round. KeyboardInterrupt when it was interrupted; InfraError when the machine failed all of it."""
        self._begin()
        wanted = {self.cells[self.keys[want.at]].id: (self.keys[want.at], want.why) for want in batch}
        orders = tuple(self._order(self.cells[key], why) for key, why in wanted.values())
        self._cells += [order.cell for order in orders if order.cell not in self._cells]
        self.store.widen(self.run.id, self._cells)
        batch_orders = self.orders.model_copy(update={"orders": orders})
        self._keep_asked(batch_orders)
        last: dict[str, CellResult] = {}

        def keep(result: CellResult) -> None:
            self._note(result)
            if result.outcome in (Outcome.RAN, Outcome.BOOT_FAILED) or not self._answered(result.cell):
                self.store.add(self.run.id, result)
            last[result.cell.id] = result
            shown.result(result)
            if result.outcome is Outcome.RAN:  # what did not run is tried once more in this round
                tell(self._reply(*wanted[result.cell.id], result))

        with self.show([(order.cell, wanted[order.cell.id][1]) for order in orders]) as shown:
            whole = self.rounds(
                batch_orders,
                fleet=self.fleet,
                on_result=keep,
                on_progress=shown.progress,
            )
        if not whole:
            raise KeyboardInterrupt
        unanswered = [result for result in last.values() if result.outcome is not Outcome.RAN]
        replies = [self._reply(*wanted[result.cell.id], result) for result in unanswered]
        if len(replies) == len(batch) and all(reply.machines_fault for reply in replies):
            raise InfraError(
                f"no guest of this round could be asked, and that is not the kernels' doing: {replies[0].cause}",
                hint="the same command goes on from here",
            )
        for reply in replies:
            tell(reply)

    def close(self) -> None:
        """The bisection came to its end."""
        if self._begun:
            self.store.finish(self.run.id, datetime.now(UTC))

    def _begin(self) -> None:
        """Begin the run in the store, or go on with it."""
        if self._begun:
            return
        self._begun = True
        if any(info.id == self.run.id for info in self.store.runs()):
            before = self.store.load(self.run.id)
            self._cells = list(before.cells)
            for result in before.results:
                self._note(result)
        else:
            self.store.begin(self.run.model_copy(update={"cells": ()}))

    def _keep_asked(self, orders: WorkerOrders) -> None:
        """What each cell was asked last, so that `runner cell repro` can ask it again."""
        reports = self.store.path.parent
        now, before = asked_of(orders), read_asked(reports, self.run.id)
        cells, objects = (before.cells, before.objects) if before else ({}, {})
        both = now.model_copy(update={"cells": {**cells, **now.cells}, "objects": {**objects, **now.objects}})
        write_asked(reports, self.run.id, both)

    def _order(self, cell: Cell, why: Why) -> CellOrder:
        census = why is Why.CONFIRM  # the ends of a change also tell their prototypes
        return CellOrder(
            cell=cell,
            asks=self.asked.asks(cell.kernel.upstream, census=census),
            modules=self.asked.modules(census=census),
            attempt=self.attempts.get(cell.id, 0) + 1,
        )

    def _reply(self, key: str, why: Why, result: CellResult) -> Reply:
        reading = self.asked.read(result)
        return Reply(
            candidate=key,
            why=why,
            answer=reading.answer,
            cause="" if reading.answer else reading.cause,
            outcome=result.outcome,
            run=self.run.id,
            cell=result.cell.id,
        )

    def _note(self, result: CellResult) -> None:
        self.attempts[result.cell.id] = max(result.attempts, self.attempts.get(result.cell.id, 0))

    def _answered(self, cell: Cell) -> bool:
        """Has this run an answer of it already? What could not confirm it does not take its place."""
        return any(result.outcome is Outcome.RAN for result in self.store.load(self.run.id).attempts(cell.id))


def known_replies(
    store: ResultStore, asked: Asked, kernels: Sequence[Bootable], *, but: str = ""
) -> Iterator[tuple[str, CellResult, Reply]]:
    """The last answer that the store has of each kernel from other runs than `but`: candidate, result, reply."""
    keys = {(it.kernel.arch, it.digests): it.candidate.key for it in kernels}
    found: dict[str, tuple[str, CellResult, Reply]] = {}
    for final in store.finals():
        kernel = final.cell.kernel
        key = keys.get((kernel.arch, frozenset(package.sha256 for package in kernel.packages)))
        if key is None or final.outcome is not Outcome.RAN or final.run == but:
            continue
        result = store.result(final, census=asked.claim is None)
        reading = asked.read(result)
        if reading.answer:
            reply = Reply(candidate=key, why=Why.KNOWN, answer=reading.answer, run=final.run, cell=final.cell.id)
            found[key] = (key, result, reply)
    yield from found.values()


def new_run(bisection_id: str, started: datetime, matrix_sha256: str, slots: int) -> Run:
    return Run(
        id=bisection_id, started=started, matrix_sha256=matrix_sha256, runner_version=__version__, slots=slots, cells=()
    )
