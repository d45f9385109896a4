"""A project: a matrix, the files that belong to it, and its runs, judged by the claims as they are now."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from runner.caches import cache_root
from runner.errors import UserError
from runner.kernels.archive import Archive
from runner.matrix import Matrix, load_matrix, project_root
from runner.matrix.lock import Mode, read_lock, settle, write_lock
from runner.model import Asked, Limits, Lock
from runner.probes import Expectations
from runner.results.lookup import newest, run_of_cell
from runner.results.model import JudgedRun, judge_run
from runner.results.store import ResultStore

log = logging.getLogger(__name__)

DEFAULT_MATRIX = Path("matrix.yaml")


@dataclass(frozen=True)
class Project:
    """Where everything is, and how it is opened. Nothing but the matrix is read before it is needed."""

    matrix: Matrix

    @classmethod
    def at(cls, path: Path) -> Self:
        """Raises UserError when the matrix is wrong."""
        return cls(load_matrix(path))

    @property
    def root(self) -> Path:
        return project_root(self.matrix.path)

    @property
    def lock_path(self) -> Path:
        """matrix.lock beside matrix.yaml; nightly.lock beside nightly.yaml."""
        return self.matrix.path.with_suffix(".lock")

    @property
    def limits(self) -> Limits:
        return self.matrix.file.limits

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def table(self) -> Path:
        """The availability of a matrix's last run: availability.md of matrix.yaml, nightly.md of nightly.yaml."""
        stem = self.matrix.path.stem
        return self.reports / f"{'availability' if stem == DEFAULT_MATRIX.stem else stem}.md"

    @property
    def database(self) -> Path:
        return self.reports / "results.db"

    @cached_property
    def expectations(self) -> Expectations:
        """Raises UserError, with file and line, when one of the files is wrong."""
        return Expectations.load(self.root, self.matrix.file.probes)

    def lock(self) -> Lock:
        return read_lock(self.lock_path)

    def settled(self, *, mode: Mode, offline: bool) -> Lock:
        """The lock, brought up to what can be had and written if it changed; warns about pins that were replaced."""
        before, cache = self.lock(), cache_root()
        lock, warnings = settle(
            self.matrix.wanted(),
            self.matrix.file.image.suite,
            before,
            Archive(cache),
            cache,
            mode=mode,
            offline=offline,
            deadline=self.limits.deadline("lock_s"),
        )
        for warning in warnings:
            log.warning(warning)
        if lock != before:
            write_lock(self.lock_path, lock)
        return lock

    def store(self, *, read_only: bool = True) -> ResultStore:
        """`with project.store() as store:`."""
        return ResultStore(self.database, read_only=read_only, busy_s=self.limits.store_s)

    def run(self, run_id: str | None = None, *, cell_id: str = "", consoles: bool = False) -> JudgedRun:
        """A run; by default the one with the newest answer of a cell, or else the last matrix run.

        Raises UserError when there is none.
        """
        with self.store() as store:
            found = store.load(run_id or (run_of_cell(store, cell_id) if cell_id else None), consoles=consoles)
        return judge_run(found, self.expectations)

    def newest(self, run_id: str | None = None, *, consoles: bool = False) -> JudgedRun:
        """A run; without one, every cell of the matrix with its newest answer. Raises UserError when there is none.

        Without a lock that is the last matrix run.
        """
        if run_id is not None:
            return self.run(run_id, consoles=consoles)
        expectations = self.expectations
        with self.store() as store:
            try:
                cells = self.matrix.cells(self.lock())
            except UserError:
                cells = store.load().cells
            run, sources = newest(store, cells, consoles=consoles)
        return judge_run(run, expectations).model_copy(update={"sources": sources})

    def asked(self, run_id: str) -> Asked | None:
        """What a run asked; None when that was not recorded."""
        with self.store() as store:
            return store.asked(run_id)


def limits_of(matrix: Path) -> Limits:
    """A matrix's limits, for a command that needs nothing else of it; without a matrix.yaml those by default."""
    return Limits() if matrix == DEFAULT_MATRIX and not matrix.exists() else Project.at(matrix).limits
