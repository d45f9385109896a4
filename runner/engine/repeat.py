# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cell that is booted again as it was booted before, and what it answers differently."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runner import __version__
from runner.caches import SCRATCH, cache_root
from runner.engine.deviations import answered, changed_answers
from runner.engine.execute import execute
from runner.engine.fleet import this_machine_alone
from runner.engine.plan import CellOrder, OpenGuests, Plan, ResultSink, Sink, cell_orders, payload
from runner.model import ANSWERS, Ask, AskedCell, CellResult, Deviation, Outcome, Trace, Verdict
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.probes import Expectations, compile_objects
from runner.process import own_folder
from runner.project import Project
from runner.results.model import RunHeader, RunKind, new_run_id


@dataclass(frozen=True, slots=True)
class Earlier:
    """A cell as it was booted before. `recorded` is what it was asked, None where the run did not store it.

    `objects` are the BPF objects by their digest, as far as they are known.
    """

    where: str
    result: CellResult
    recorded: AskedCell | None
    objects: Mapping[str, bytes]

    def asked(self, expectations: Expectations) -> AskedCell:
        """What it was asked; where that is not known, what it would be asked now."""
        if self.recorded:
            return self.recorded
        (order,) = cell_orders((self.result.cell,), expectations)
        return AskedCell(asks=order.asks, modules=order.modules, programs={})


@dataclass(frozen=True, slots=True)
class Repeated:
    """What the second boot gave. `asks` were asked; `same_programs`: with the very BPF objects of then."""

    earlier: Earlier
    result: CellResult
    asks: tuple[Ask, ...]
    same_programs: bool
    changed: tuple[Deviation, ...]

    @property
    def same(self) -> bool | None:
        """Is the answer the same? None: one of both boots gave none."""
        before, now = self.earlier.result.outcome, self.result.outcome
        if not ANSWERS.issuperset({before, now}):
            return None
        if now is before is Outcome.RAN and not any(answered(self.result, ask) for ask in self.asks):
            return None
        return now is before and not self.changed

    @property
    def notes(self) -> list[str]:
        """What is not as it was then, so that another answer may come from that."""
        before, now, recorded = self.earlier.result, self.result, self.earlier.recorded
        said = {
            "the run did not store what it asked: what the claims ask now was asked": not recorded,
            "the BPF programs of that run are not available: these were compiled now, perhaps from other source": (
                recorded and recorded.programs and not self.same_programs
            ),
            "the kernel has another digest: the same packages, unpacked in another way": (
                before.build.sha256 not in {"", now.build.sha256}
            ),
            "the image has another digest: the same packages, built in another way": (
                before.image_sha256 not in {"", now.image_sha256}
            ),
        }
        return [note for note, is_so in said.items() if is_so]

    def trace(self, probe: str) -> Trace | None:
        return next((one for one in self.result.traces if one.probe == probe), None)


@dataclass(frozen=True, slots=True)
class Repetition:
    """What boots a cell again. `shown` is told of the run."""

    project: Project
    shown: Sink
    offline: bool = False

    def run(self, earlier: Earlier, order: CellOrder, guests: OpenGuests | None) -> Repeated | None:
        """Boot it and compare. None: it was interrupted."""
        byte_order, started = architecture(order.cell.arch).byte_order, datetime.now(UTC)
        deadline = self.project.limits.deadline("prepare_s")
        objects, same = self._programs(earlier, byte_order, deadline)
        pushed = payload(order.cell.image, objects, cache_root(), offline=self.offline, deadline=deadline)
        header = RunHeader(
            id=new_run_id(started, RunKind.REPRO),
            started=started,
            matrix_sha256=self.project.matrix.sha256,
            runner_version=__version__,
        )
        results: list[CellResult] = []
        with own_folder(cache_root() / SCRATCH, "cell-", end_s=deadline.end_s) as folder:
            alone = this_machine_alone(1)
            plan = Plan(header, (order,), {byte_order: pushed}, alone, folder.path, offline=self.offline)
            if not execute(plan, (ResultSink(results.append), self.shown), guests=guests).complete:
                return None
        before = earlier.result
        now = results[-1].model_copy(update={"cell": before.cell})
        held = self._holds(before) & self._holds(now)
        changed = changed_answers(before, now, order.asks, held=held) if before.outcome in ANSWERS else ()
        return Repeated(earlier, now, order.asks, same, changed)

    def _programs(self, earlier: Earlier, byte_order: str, deadline: Deadline) -> tuple[dict[str, bytes], bool]:
        """The BPF objects of then, or else those that the source compiles to; and whether they are the same."""
        asked = earlier.asked(self.project.expectations)
        wanted = asked.programs
        if wanted and all(digest in earlier.objects for digest in wanted.values()):
            return {name: earlier.objects[digest] for name, digest in wanted.items()}, True
        names = sorted({str(ask.body["object"]) for ask in asked.asks if "object" in ask.body})
        root = self.project.root
        objects = compile_objects(root, names, (byte_order,), cache_root(), deadline=deadline)[byte_order]
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in objects.items()}
        return objects, bool(wanted) and all(wanted.get(name) == digest for name, digest in digests.items())

    def _holds(self, result: CellResult) -> set[str]:
        return {row.probe for row in self.project.expectations.rows(result) if row.verdict is Verdict.HOLDS}
