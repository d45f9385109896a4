# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One cell of the default matrix in this process, with something done to its guest that no user can ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from runner.caches import cache_root
from runner.engine.cellrun import Tell, run_cell
from runner.engine.fleet import Machine, this_machine
from runner.engine.plan import OpenGuests, cell_orders, payloads
from runner.guest.boot import START_AGENT, LiveGuest, push
from runner.guest.interface import Accel, Access, BootOrder, Guest
from runner.matrix import load_matrix
from runner.matrix.cells import select
from runner.matrix.lock import read_lock
from runner.model import Ask, Cell, CellResult, Image, Kernel, Splat
from runner.model.architecture import architecture
from runner.model.cells import Tools
from runner.model.deadline import Deadline
from runner.probes import Expectations
from runner.process import Completed

_LIMIT_S = 1800


@dataclass(frozen=True)
class AlteredGuest:
    """A guest in which another agent is started; `hear` is told each line that it prints."""

    guest: Guest
    altered: Callable[[str], str]
    hear: Callable[[str], object]

    def run(self, command: str, *, deadline: Deadline, stdin: bytes = b"") -> Completed:
        return self.guest.run(command, deadline=deadline, stdin=stdin)

    def ask(self, files: Mapping[str, bytes], *, silence: Callable[[], Deadline], deadline: Deadline) -> Iterator[str]:
        assert isinstance(self.guest, LiveGuest)
        push(self.guest, files, deadline=silence().sooner(deadline))
        for line in self.guest.lines(self.altered(START_AGENT), silence=silence, deadline=deadline):
            self.hear(line)
            yield line

    def access(self) -> Access:
        return self.guest.access()

    @property
    def begun(self) -> str:
        return self.guest.begun

    @property
    def splats(self) -> tuple[Splat, ...]:
        return self.guest.splats


@dataclass(frozen=True)
class AlteredMachine:
    """This machine, but guests' folders are in `scratch`, and some of these may be others.

    `tree` is the kernel's; guests get `words` on the kernel's command line; their agents are started by what `agent`
    makes of the command; `hear` is told what these print.
    """

    real: Machine
    scratch: Path
    tree: Path | None = None
    words: str = ""
    agent: Callable[[str], str] = str
    hear: Callable[[str], object] = bool

    @property
    def name(self) -> str:
        return self.real.name

    @contextmanager
    def boot(self, order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        # what a machine keeps for a kernel is of the kernel's own tree
        order = replace(order, root="9p" if self.tree else order.root, cmdline=f"{order.cmdline} {self.words}")
        with self.real.boot(order, deadline=deadline) as guest:
            yield AlteredGuest(guest, self.agent, self.hear)

    def prepare(self, cell: Cell, *, deadline: Deadline) -> tuple[Kernel, Image]:
        kernel, image = self.real.prepare(cell, deadline=deadline)
        if self.tree is None:
            return kernel, image
        root = PurePosixPath(self.tree)
        moved = {name: root / getattr(kernel, name).relative_to(kernel.root) for name in ("image", "config")}
        return kernel.model_copy(update={"root": root, **moved}), image

    def digests(self, cell: Cell) -> tuple[str, str] | None:
        return None

    def accel(self, cell: Cell) -> Accel:
        return self.real.accel(cell)

    def tools(self, cell: Cell) -> Tools:
        return self.real.tools(cell)


@dataclass(frozen=True)
class OneCell:
    """A cell of a project, ready to run in this process."""

    root: Path
    only: str
    cell: Cell
    expectations: Expectations

    @classmethod
    def of(cls, root: Path, only: str, *probes: str) -> OneCell:
        """Asked these of the project's probes, or all."""
        matrix = load_matrix(root / "matrix.yaml")
        (cell,) = select(matrix.cells(read_lock(root / "matrix.lock")), only)
        return cls(root, only, cell, Expectations.load(root, probes or matrix.file.probes))

    def run(
        self,
        *,
        tree: Path | None = None,
        words: str = "",
        agent: Callable[[str], str] = str,
        tell: Tell = lambda phase, note: None,
        guests: OpenGuests | None = None,
        only: Callable[[Ask], bool] = lambda ask: True,
    ) -> CellResult:
        (order,) = cell_orders((self.cell,), self.expectations)
        order = order.model_copy(update={"asks": tuple(filter(only, order.asks))})
        limit = Deadline.after(_LIMIT_S, "the test's limit")
        payload = payloads((self.cell,), self.expectations, cache=cache_root(), offline=False, deadline=limit)
        altered = AlteredMachine(this_machine(offline=False), self.root / "scratch", tree, words, agent)
        files = payload[architecture(self.cell.arch).byte_order]
        return run_cell(order, files, altered, self.root / "reports", tell, guests=guests)

    def copy_tree(self, to: Path) -> Path:
        return copied_tree(this_machine(offline=False), self.cell, to)


def copied_tree(machine: Machine, cell: Cell, to: Path) -> Path:
    """The kernel's tree, as hard links: what is changed must be replaced, not written to."""
    kernel, _ = machine.prepare(cell, deadline=Deadline.after(_LIMIT_S, "the test's limit"))
    shutil.copytree(kernel.root, to, copy_function=os.link, symlinks=True)
    return to
