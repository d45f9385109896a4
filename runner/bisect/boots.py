"""Asks kernels by booting them: a round of a bisection is a round of an ordinary run, stored as its own run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from runner import __version__
from runner.bisect.candidates import Bootable
from runner.bisect.questions import Asked
from runner.bisect.search import Tell, Want
from runner.engine.orders import CellOrder, Progress
from runner.engine.plan import Plan, RunEnd, Sink
from runner.engine.storing import StoreSink
from runner.errors import InfraError
from runner.model import Cell, CellResult, Outcome
from runner.results.bisections import Reply, Why
from runner.results.model import RunHeader
from runner.results.store import ResultStore

Execute = Callable[[Plan, Sequence[Sink]], RunEnd]  # runner.engine.controller.execute
Show = Callable[[Sequence[tuple[Cell, Why]]], Sink]


@dataclass(slots=True)
class Boots:
    """`plan` holds the payload for every architecture; its own orders are not looked at."""

    asked: Asked
    keys: Sequence[str]
    cells: Mapping[str, Cell]  # by the candidate's key
    plan: Plan
    store: ResultStore
    show: Show
    execute: Execute
    attempts: dict[str, int] = field(default_factory=dict)  # by the cell's id: the last one
    _begun: bool = False

    def ask(self, batch: Sequence[Want], tell: Tell) -> None:
        """One round. KeyboardInterrupt when it was interrupted; InfraError when the machine failed all of it."""
        self._begin()
        wanted = {self.cells[self.keys[want.at]].id: (self.keys[want.at], want.why) for want in batch}
        orders = tuple(self._order(self.cells[key], why) for key, why in wanted.values())
        last: dict[str, CellResult] = {}

        def took(result: CellResult) -> None:
            self._note(result)
            last[result.cell.id] = result
            if result.outcome is Outcome.RAN:  # what did not run is tried once more in this round
                tell(self._reply(*wanted[result.cell.id], result))

        shown = self.show([(order.cell, wanted[order.cell.id][1]) for order in orders])
        end = self.execute(replace(self.plan, orders=orders), [StoreSink(self.store), _Took(took), shown])
        if not end.complete:
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

    def _begin(self) -> None:
        """Of a bisection that is resumed, attempts are counted on."""
        if self._begun:
            return
        self._begun = True
        if any(info.id == self.plan.run.id for info in self.store.runs()):
            for result in self.store.load(self.plan.run.id).results:
                self._note(result)

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
            run=self.plan.run.id,
            cell=result.cell.id,
        )

    def _note(self, result: CellResult) -> None:
        self.attempts[result.cell.id] = max(result.attempts, self.attempts.get(result.cell.id, 0))


@dataclass(frozen=True, slots=True)
class _Took:
    """A sink for results alone."""

    take: Callable[[CellResult], None]

    def began(self, plan: Plan) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        pass

    def result(self, result: CellResult) -> None:
        self.take(result)

    def finished(self, end: RunEnd) -> None:
        pass


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


def new_run(run_id: str, started: datetime, matrix_sha256: str, slots: int) -> RunHeader:
    return RunHeader(id=run_id, started=started, matrix_sha256=matrix_sha256, runner_version=__version__, slots=slots)
