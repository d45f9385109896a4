# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Asks kernels by booting them: each round of a bisection is executed as a run is, and stored in a run of its own.

The bisection itself is a document in the store: see `Journal`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from runner import __version__
from runner.bisect.search import Tell
from runner.bisect.target import Target
from runner.caches import cache_root
from runner.engine.execute import execute
from runner.engine.fleet import Fleet
from runner.engine.plan import CellOrder, Plan, ResultSink, Sink, payloads_of
from runner.engine.storing import StoreSink
from runner.errors import InfraError
from runner.images import lock_image
from runner.kernels.archive import Archive
from runner.model import Cell, CellResult, ImagePin, Limits, Outcome, Pin
from runner.project import Project
from runner.results.bisections import (
    Bisection,
    BisectionQuestion,
    Candidate,
    Reply,
    Why,
    load_bisections,
    write_bisection,
)
from runner.results.evidence import run_folder
from runner.results.model import Run, RunKind, new_run_id
from runner.results.store import ResultStore


@dataclass(frozen=True, slots=True)
class BisectSetup:
    """What does not depend on the kernels that are asked."""

    target: Target
    project: Project
    store: ResultStore
    offline: bool
    say: Callable[[str], None]
    shown: Sink  # is told of each round
    snapshots: bool = False  # a kernel is asked again and again: its guests start from one
    _images: dict[str, ImagePin] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return self.project.limits

    @property
    def archive(self) -> Archive:
        return Archive(cache_root(), offline=self.offline)

    def image(self, arch: str) -> ImagePin:
        """The image that the project is pinned to, or the newest."""
        wanted = self.project.matrix.file.image.wanted
        if arch not in self._images:
            pins = self.project.lock().images
            pinned = next((it for it in pins if (it.named, it.arch) == (wanted.named, arch)), None)
            deadline = self.limits.deadline("lock_s")
            self._images[arch] = pinned or lock_image(wanted, arch, self.archive, deadline=deadline)
        return self._images[arch]

    def cell(self, cell_id: str, name: str, kernel: Pin) -> Cell:
        """The cell that boots a kernel."""
        file, image = self.project.matrix.file, self.image(kernel.arch)
        return Cell(
            id=cell_id,
            name=name,
            kernel=kernel,
            image=image,
            probes=file.probe_names,
            guest=file.guest,
            limits=file.limits,
        )

    def payload(self, archs: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """What is pushed into guests of these architectures, for each byte order."""
        cache, deadline, image = cache_root(), self.limits.deadline("prepare_s"), self.image(archs[0])
        expectations = self.target.expectations
        return payloads_of(archs, image, expectations, cache=cache, offline=self.offline, deadline=deadline)

    def boots(self, bisection: Bisection, payload: dict[str, dict[str, bytes]], fleet: Fleet) -> Boots:
        """What boots the kernels of a bisection."""
        run = self.store.load(bisection.id)
        attempts = {it.cell.id: it.attempts for it in run.results}  # if it is resumed
        plan = Plan(run.header, (), payload, fleet, run_folder(self.store.path.parent, run.id), offline=self.offline)
        return Boots(self, plan, attempts)


@dataclass(slots=True)
class Boots:
    """`plan` holds the payload for every architecture, and no orders. `attempts`: the last of each cell, by its id."""

    setup: BisectSetup
    plan: Plan
    attempts: dict[str, int] = field(default_factory=dict)

    def boot(self, batch: Mapping[str, tuple[Cell, Why]], tell: Tell) -> None:
        """Execute one round and tell a reply for each candidate of `batch`, by its key.

        Raises KeyboardInterrupt when it was interrupted, InfraError when the machine failed all of it.
        """
        wanted = {cell.id: (key, why) for key, (cell, why) in batch.items()}
        orders = tuple(self._order(cell, why) for cell, why in batch.values())
        last: dict[str, CellResult] = {}

        def took(result: CellResult) -> None:
            self.attempts[result.cell.id] = max(result.attempts, self.attempts.get(result.cell.id, 0))
            last[result.cell.id] = result
            if result.outcome is Outcome.RAN:  # what did not run is tried once more in this round
                tell(self._reply(*wanted[result.cell.id], result))

        sinks: tuple[Sink, ...] = (StoreSink(self.setup.store), ResultSink(took), self.setup.shown)
        if not execute(replace(self.plan, orders=orders), sinks).complete:
            raise KeyboardInterrupt
        unanswered = [result for result in last.values() if result.outcome is not Outcome.RAN]
        replies = [self._reply(*wanted[result.cell.id], result) for result in unanswered]
        if len(replies) == len(batch) and all(reply.machines_fault for reply in replies):
            raise InfraError(
                f"no guest of this round could be asked, and that is no kernel's fault: {replies[0].cause}"
            )
        for reply in replies:
            tell(reply)

    def _order(self, cell: Cell, why: Why) -> CellOrder:
        expectations = self.setup.target.expectations
        asks = self.setup.target.asks(cell.kernel.judged_as, fully=why is Why.CONFIRM)
        attempt = self.attempts.get(cell.id, 0) + 1
        return CellOrder(
            cell=cell, asks=asks, modules=expectations.modules, attempt=attempt, snapshot=self.setup.snapshots
        )

    def _reply(self, key: str, why: Why, result: CellResult) -> Reply:
        said = self.setup.target.read(result)
        return Reply(
            candidate=key,
            why=why,
            answer=said.answer,
            cause="" if said.answer else said.cause,
            outcome=result.outcome,
            run=self.plan.run.id,
            cell=result.cell.id,
        )


# --- what is known, written anew after each reply: whatever ends this program, the next one resumes it ----------------


def digest(*words: str) -> str:
    """Equal for equal words."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def begun(key: str, question: BisectionQuestion, candidates: tuple[Candidate, ...] = ()) -> Bisection:
    """A new bisection; `key` is equal for the same question to the same kernels."""
    now = datetime.now(UTC)
    run_id = new_run_id(now, RunKind.BISECT)
    return Bisection(id=run_id, key=key, question=question, started=now, candidates=candidates)


class Journal:
    """The current bisection: the unfinished one with the key of `new`, or `new`, whose run begins.

    What was the machine's fault is dropped, and so asked once more. `replies` is what the search appends to, before
    `keep` writes it.
    """

    def __init__(self, store: ResultStore, new: Bisection, matrix_sha256: str) -> None:
        self._store = store
        old = next((it for it in load_bisections(store) if it.key == new.key and it.finished is None), None)
        if old:
            kept = tuple(reply for reply in old.replies if not reply.machines_fault)
            new = old.model_copy(update={"replies": kept, "slots": new.slots, "samples": new.samples})
        else:
            store.begin(
                Run(
                    id=new.id,
                    started=new.started,
                    matrix_sha256=matrix_sha256,
                    runner_version=__version__,
                    slots=new.slots,
                    cells=(),
                )
            )
        self.bisection = new
        self.replies = list(new.replies)

    @property
    def resumed(self) -> bool:
        return bool(self.bisection.replies)

    def count_round(self) -> None:
        self._change(rounds=self.bisection.rounds + 1)

    def add(self, candidate: Candidate, reply: Reply) -> None:
        """Write the reply of a candidate that was not known when the bisection began."""
        if all(it.key != candidate.key for it in self.bisection.candidates):
            self._change(candidates=(*self.bisection.candidates, candidate))
        self.replies.append(reply)
        self.keep()

    def keep(self) -> None:
        """Write what is known. Raises InfraError when that is not possible."""
        self._change(replies=tuple(self.replies))
        write_bisection(self._store, self.bisection)

    def finish(self, **found: object) -> Bisection:
        """Write the end of it, with what was found."""
        self._change(**found, finished=datetime.now(UTC))
        self.keep()
        return self.bisection

    def _change(self, **changes: object) -> None:
        self.bisection = self.bisection.model_copy(update=changes)
