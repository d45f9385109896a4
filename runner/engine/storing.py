# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs of the store: one that begins or is resumed, and the store as a sink."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial

from runner import __version__
from runner.engine.keptanswers import KeptAnswers
from runner.engine.plan import AGENT, CellOrder, Files, Plan, RunEnd, Sink
from runner.errors import UserError
from runner.model import ANSWERS, Ask, Asked, AskedCell, Cell, CellResult, Outcome
from runner.model.architecture import architecture
from runner.probes.kinds import KINDS
from runner.results.model import Run, RunKind, new_run_id
from runner.results.store import ResultStore
from runner.results.stored import StoredResult

log = logging.getLogger(__name__)

_LASTING = frozenset({RunKind.MATRIX, RunKind.LOAD, RunKind.EXEC})  # runs whose answers later ones are held against


def new_run(
    store: ResultStore,
    cells: tuple[Cell, ...],
    *,
    matrix_sha256: str,
    run_id: str | None = None,
    kind: RunKind = RunKind.MATRIX,
    fresh: bool = False,
) -> Run:
    """A run that begins now. Runs are ordered by their beginning: this one is the last one, whatever the clock says.

    Raises UserError when there is a run of that id.
    """
    started, others = datetime.now(UTC), store.runs()
    last = max((other.started for other in others), default=None)
    if last and last >= started:
        log.warning("the clock was set back: the last run began at %s; this one is dated after it", last.isoformat())
        started = last + timedelta(milliseconds=1)
    run_id = run_id or new_run_id(started, kind)
    if any(other.id == run_id for other in others):
        raise UserError(f"there is a run {run_id} in {store.path} already", hint="give it another id")
    return Run(
        id=run_id, started=started, matrix_sha256=matrix_sha256, runner_version=__version__, fresh=fresh, cells=cells
    )


def stopped_run(store: ResultStore, *, matrix_sha256: str, run_id: str | None = None) -> Run:
    """A run to resume, by default the last one of this matrix that was stopped, or else the last one.

    Raises UserError when there is none, or when the matrix has changed since it began.
    """
    stopped = (info for info in store.runs() if info.kind is RunKind.MATRIX and info.finished is None)
    run = store.load(run_id or next((info.id for info in stopped if info.matrix_sha256 == matrix_sha256), None))
    if run.matrix_sha256 != matrix_sha256:
        raise UserError(
            f"run {run.id} was begun with another matrix",
            hint="put that file back, or begin a new run with `runner matrix run`",
        )
    return run


def after(run: Run, orders: Iterable[CellOrder]) -> tuple[CellOrder, ...]:
    """The same orders; their attempts are counted from what `run` has already."""
    return tuple(order.model_copy(update={"attempt": len(run.attempts(order.cell.id)) + 1}) for order in orders)


def reminded(store: ResultStore, orders: Iterable[CellOrder]) -> Iterator[CellOrder]:
    """The same orders; asks whose answers are held against the same kernel's last one have what they need of it.

    A kernel is the same by its name in the matrix: its newest build is held against the one before.
    """

    @cache
    def finals() -> list[StoredResult]:
        return [it for it in reversed(store.finals()) if it.outcome is Outcome.RAN and RunKind.of(it.run) in _LASTING]

    def last(ask: Ask, cell: Cell) -> CellResult | None:
        of_kernel = (it for it in finals() if (it.cell.name, it.cell.arch) == (cell.name, cell.arch))
        results = (store.result(final) for final in of_kernel)
        return next((it for it in results if any(answer.probe == ask.probe for answer in it.answers)), None)

    for order in orders:
        asks = tuple(KINDS[ask.kind].reminded(ask, partial(last, ask, order.cell)) for ask in order.asks)
        yield order.model_copy(update={"asks": asks})


@dataclass(slots=True)
class StoreSink(Sink):
    """Stands before every other sink: a result is on the disk before anybody else is told of it.

    Begins a run in the store, or continues one that is there; cells that are new to it are added to it.

    A result without an answer does not take the place of an answer that the run has already.
    """

    store: ResultStore
    _run_id: str = ""
    _answered: set[str] = field(default_factory=set)
    _kept: Mapping[str, KeptAnswers] = field(default_factory=dict)
    _started: datetime | None = None  # of a run that begins here

    def began(self, plan: Plan, /) -> None:
        self._run_id, cells = plan.run.id, tuple(order.cell for order in plan.orders)
        self._kept = plan.kept
        if any(info.id == plan.run.id for info in self.store.runs()):
            run = self.store.load(plan.run.id)
            there = {cell.id for cell in run.cells}
            if new := [cell for cell in cells if cell.id not in there]:
                self.store.widen(run.id, [*run.cells, *new])
            self._answered = there - {cell.id for cell in run.missing_cells()}
            self.store.resume(run.id, datetime.now(UTC))
        else:
            self.store.begin(Run(**dict(plan.run), cells=cells))
            self._answered, self._started = set(), plan.run.started
        # so that `runner cell repro` can repeat it
        self.store.write_asked(plan.run.id, asked_of(plan.orders, plan.payload))

    def result(self, result: CellResult, /) -> None:
        known = self._kept.get(result.cell.id)
        if known and known.result is result and known.seq:
            self.store.repeat(self._run_id, result, known.seq)
        elif result.outcome in ANSWERS or result.cell.id not in self._answered:
            self.store.add(self._run_id, result)
        if result.outcome is Outcome.RAN:
            self._answered.add(result.cell.id)

    def finished(self, end: RunEnd, /) -> None:
        if end.complete:
            # by a clock that does not jump while the run goes on
            now = self._started + timedelta(seconds=end.ran_s) if self._started else datetime.now(UTC)
            self.store.finish(end.run_id, now)


# --- what is kept of a plan, to ask the very same later ------------------------------------------------------------


def asked_of(orders: Iterable[CellOrder], payload: Mapping[str, Files]) -> Asked:
    """What is about to be asked, and with which programs."""
    objects: dict[str, bytes] = {}
    digests = {byte_order: programs_of(files) for byte_order, files in payload.items()}
    for byte_order, files in payload.items():
        objects |= {digest: files[name] for name, digest in digests[byte_order].items()}
    cells = {
        order.cell.id: AskedCell(
            asks=order.asks, modules=order.modules, programs=digests.get(architecture(order.cell.arch).byte_order, {})
        )
        for order in orders
    }
    return Asked(cells=cells, objects=objects)


def programs_of(files: Files) -> dict[str, str]:
    """The digests of what is pushed beside the agent, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if not name.startswith(AGENT)}
