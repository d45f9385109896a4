"""Asks one commit: build it, boot it, ask. The very same kernel is not booted twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from runner.bisect.commits import CommitJournal
from runner.bisect.questions import Asked
from runner.engine.cellrun import Tell, run_cell
from runner.engine.machine import Machine
from runner.engine.orders import CellOrder
from runner.errors import BuildError, InfraError
from runner.kernels import Means, lock_kernels
from runner.kernels.archive import Archive
from runner.kernels.build import build_kernel
from runner.kernels.checkout import Checkout
from runner.matrix.cellnames import cell_id
from runner.model import Cell, CellResult, GuestSize, ImagePin, Limits, Outcome, Pin, Wanted
from runner.model.deadline import Deadline
from runner.results.bisectcommits import CommitAnswer

_TRIES = 2  # a boot that failed may be this machine's doing
_CAUSE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class CommitKernels:
    """Everything that is the same for all commits of a search. Called with a commit's id, it is a `Test`."""

    checkout: Checkout
    arch: str
    asked: Asked
    image: ImagePin
    payload: bytes
    guest: GuestSize
    limits: Limits
    probes: tuple[str, ...]
    machine: Machine
    journal: CommitJournal
    cache: Path
    native: bool
    jobs: int
    tell: Tell

    def __call__(self, commit: str) -> CommitAnswer:
        deadline = self.limits.deadline("build_s")
        self.checkout.check_out(commit, deadline=deadline)
        source, objects = self.checkout.source, self.checkout.objects
        try:
            build_kernel(source, objects, self.arch, native=self.native, jobs=self.jobs, deadline=deadline)
        except BuildError as error:
            said = error.what.partition("\n")[2] or error.what  # without the folder, which is always the same
            return CommitAnswer(commit=commit, cause=f"does not build: {said}"[:_CAUSE_CHARS])
        kernel = self._pinned(deadline)
        digest = kernel_digest(kernel)
        if known := self.journal.of_kernel(digest):
            return known.model_copy(update={"commit": commit, "booted": False})
        result = self._boot(kernel)
        reading = self.asked.read(result)
        return CommitAnswer(
            commit=commit,
            answer=reading.answer,
            cause="" if reading.answer else reading.cause[:_CAUSE_CHARS],
            kernel=digest,
            booted=True,
            observation=self.asked.observation(result),
        )

    def _pinned(self, deadline: Deadline) -> Pin:
        wanted = Wanted(name="commit", source=f"tree:{self.checkout.objects}", arch=self.arch)
        (kernel,) = lock_kernels(wanted, Means(Archive(self.cache), self.cache, deadline))
        return kernel

    def _boot(self, kernel: Pin) -> CellResult:
        """InfraError when the machine failed: that is no reason to skip a commit."""
        cell = Cell(
            id=cell_id(kernel),
            name="commit",
            kernel=kernel,
            image=self.image,
            probes=self.probes,
            guest=self.guest,
            limits=self.limits,
        )
        asks = self.asked.asks(kernel.upstream, census=False)
        order = CellOrder(cell=cell, asks=asks, modules=self.asked.modules(census=False))
        for attempt in range(1, _TRIES + 1):
            again = order.model_copy(update={"attempt": attempt})
            result = run_cell(again, self.payload, self.machine, self.checkout.folder / "guest", self.tell)
            if result.outcome in {Outcome.RAN, Outcome.SKIPPED}:
                return result
        if result.outcome is not Outcome.BOOT_FAILED:
            raise InfraError(f"{result.outcome}: {result.cause}", hint="the same command goes on from here")
        return result


def kernel_digest(kernel: Pin) -> str:
    """Over image, configuration and modules."""
    parts = sorted(f"{file.name} {file.sha256}" for file in kernel.files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
