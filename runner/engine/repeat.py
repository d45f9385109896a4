# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cell that is booted again: as it was booted before, to compare its answers, or with a shell in its guest."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runner import __version__
from runner.caches import SCRATCH, cache_root
from runner.engine.cellrun import boot_order, showing, warmed
from runner.engine.execute import execute
from runner.engine.fleet import Machine, this_machine_alone
from runner.engine.keptanswers import answered, changed_answers
from runner.engine.plan import CellOrder, Files, OpenGuests, Plan, ResultSink, Sink, cell_orders, payload, payloads
from runner.errors import UserError
from runner.guest.boot import SHELL, push
from runner.guest.interface import Guest
from runner.model import ANSWERS, Ask, AskedCell, Cell, CellResult, Deviation, Outcome, Trace, Verdict
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


def repeat(
    project: Project, earlier: Earlier, order: CellOrder, guests: OpenGuests | None, shown: Sink, *, offline: bool
) -> Repeated | None:
    """Boot it again and compare; `shown` is told of the run. None: it was interrupted."""
    byte_order, started = architecture(order.cell.arch).byte_order, datetime.now(UTC)
    deadline = project.limits.deadline("prepare_s")
    objects, same = _programs(project, earlier, byte_order, deadline)
    pushed = payload(order.cell.image, objects, cache_root(), offline=offline, deadline=deadline)
    header = RunHeader(
        id=new_run_id(started, RunKind.REPRO),
        started=started,
        matrix_sha256=project.matrix.sha256,
        runner_version=__version__,
    )
    results: list[CellResult] = []
    with own_folder(cache_root() / SCRATCH, "cell-", end_s=deadline.end_s) as folder:
        plan = Plan(header, (order,), {byte_order: pushed}, this_machine_alone(1), folder.path, offline=offline)
        if not execute(plan, (ResultSink(results.append), shown), guests=guests).complete:
            return None

    def holds(result: CellResult) -> set[str]:
        return {row.probe for row in project.expectations.rows(result) if row.verdict is Verdict.HOLDS}

    before = earlier.result
    now = results[-1].model_copy(update={"cell": before.cell})
    held = holds(before) & holds(now)
    changed = changed_answers(before, now, order.asks, held=held) if before.outcome in ANSWERS else ()
    return Repeated(earlier, now, order.asks, same, changed)


def _programs(project: Project, earlier: Earlier, byte_order: str, deadline: Deadline) -> tuple[dict[str, bytes], bool]:
    """The BPF objects of then, or else those that the source compiles to; and whether they are the same."""
    asked = earlier.asked(project.expectations)
    wanted = asked.programs
    if wanted and all(digest in earlier.objects for digest in wanted.values()):
        return {name: earlier.objects[digest] for name, digest in wanted.items()}, True
    names = sorted({str(ask.body["object"]) for ask in asked.asks if "object" in ask.body})
    objects = compile_objects(project.root, names, (byte_order,), cache_root(), deadline=deadline)[byte_order]
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in objects.items()}
    return objects, bool(wanted) and all(wanted.get(name) == digest for name, digest in digests.items())


# --- a shell ----------------------------------------------------------------------------------------------------------

_SSH_BROKE = 255  # ssh(1)


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell in a guest of `cell`; with an `ask` where that would run."""

    cell: Cell
    expectations: Expectations
    ask: Ask | None
    gdb: bool
    snapshot: bool
    offline: bool

    def run(self, machine: Machine, say: Callable[[str], None], opened: Callable[[Guest], None]) -> None:
        """Boot the guest and stay until the shell ends; `opened` is told of the guest before it begins.

        Raises UserError when the kernel cannot be booted, and what the guest raises.
        """
        with own_folder(machine.scratch, "cell-", end_s=self.cell.limits.end_s) as folder:
            files = self._files()
            order, able = boot_order(self.cell, files, machine, folder.path / "console.log", gdb=self.gdb)
            if why := able.cannot_boot():
                raise UserError(f"{self.cell.id} cannot be booted: {why}")
            order, files = showing(order, able, filter(None, (self.ask,)), files)
            if self.snapshot:
                asked = CellOrder(cell=self.cell, asks=(), modules=self.expectations.modules)
                order = warmed(asked, order, files, machine, say)
            say(f"starting {self.cell.id} ({order.accel}); `exit` ends the guest")
            with machine.boot(order, deadline=self.cell.limits.deadline("boot_s")) as guest:
                opened(guest)
                if subprocess.run(self._way(guest, files), check=False).returncode == _SSH_BROKE:
                    guest.run("true", deadline=self.cell.limits.deadline("probe_s"))  # raises why

    def _files(self) -> Files:
        limit, cache = self.cell.limits.deadline("prepare_s"), cache_root()
        if self.ask is None:
            return payload(self.cell.image, {}, cache, offline=self.offline, deadline=limit)
        made = payloads((self.cell,), self.expectations, cache=cache, offline=self.offline, deadline=limit)
        return made[architecture(self.cell.arch).byte_order]

    def _way(self, guest: Guest, files: Files) -> tuple[str, ...]:
        """The ssh command."""
        way = guest.access().ssh
        if self.ask is None:
            return way
        document = {"modules": self.expectations.modules, "asks": [self.ask.model_dump(mode="json")], "trace": False}
        asks = {"asks.json": json.dumps(document).encode()}
        push(guest, {**files, **asks}, deadline=self.cell.limits.deadline("cell_s"))
        return (*way[:-1], *(["-t"] if sys.stdin.isatty() else []), way[-1], SHELL.format(kind=self.ask.kind))
