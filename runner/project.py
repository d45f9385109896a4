# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A project: a matrix, the files that belong to it, and its runs, judged by the claims as they are now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import platformdirs

from runner.caches import cache_root
from runner.errors import UserError
from runner.kernels import Means
from runner.kernels.archive import Archive
from runner.matrix import Matrix, load_matrix, project_root
from runner.matrix.lock import Mode, read_lock, settle, write_lock
from runner.matrix.named import named_kernels
from runner.model import Asked, Cell, Limits, Lock, Plain
from runner.probes import Expectations
from runner.probes.files import BUILTIN, PACKAGE
from runner.results.model import JudgedRun, RunKind, judge_run
from runner.results.series import Measured, different, measurements, newest, run_of_cell
from runner.results.store import ResultStore
from runner.text import nearest

log = logging.getLogger(__name__)

DEFAULT_MATRIX = Path("matrix.yaml")
MEASURED = BUILTIN / "reports" / "availability.json"  # what `runner report availability` wrote of the default matrix


@dataclass(frozen=True)
class Project:
    """Where everything is, and how it is opened. Nothing but the matrix is read before it is needed."""

    matrix: Matrix
    recalled: Expectations | None = None  # those of a run whose probes stand in no file
    is_builtin: bool = False  # then nothing is written into the current folder, nor into the program

    @classmethod
    def at(cls, path: Path) -> Self:
        """That of the matrix `path`; for the default of the nearest one, here or above, or else the built-in one.

        Raises UserError when the matrix is wrong.
        """
        if path == DEFAULT_MATRIX and not path.exists():
            here = Path.cwd()
            path = next((it for folder in (here, *here.parents) if (it := folder / path).exists()), BUILTIN / path)
            return cls(load_matrix(path), is_builtin=path.parent == BUILTIN and not here.is_relative_to(BUILTIN))
        return cls(load_matrix(path), is_builtin=path.absolute().is_relative_to(PACKAGE))

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
        return platformdirs.user_state_path("kfunc-runner") / "reports" if self.is_builtin else self.root / "reports"

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
        return self.recalled or Expectations.load(self.root, self.matrix.file.probes, self.matrix.document)

    def lock(self) -> Lock:
        return read_lock(self.lock_path)

    def naming(
        self, words: Sequence[str], archs: Sequence[str], probes: Sequence[Plain], *, offline: bool
    ) -> tuple[Self, tuple[Cell, ...]]:
        """This project with other probes, and the cells of these kernels and architectures; the lock file stays.

        Raises what `named_kernels` raises.
        """
        cache, lock = cache_root(), self.lock()
        means = Means(Archive(cache, offline=offline), cache, self.limits.deadline("lock_s"))
        named = named_kernels(words, archs, self.matrix, lock, probes=probes, means=means)
        other = replace(self, matrix=named.matrix)
        return other, named.cells(other.settled(mode="keep", offline=offline, write=False))

    def probing(self, *probes: Plain) -> Self:
        """This project with these probes alone."""
        file = self.matrix.file.model_copy(update={"probes": probes})
        return replace(self, matrix=self.matrix.holding(file))

    def of_run(self, run_id: str) -> Self:
        """This project as a run saw it, where that was begun with probes of its own."""
        if RunKind.of(run_id) not in {RunKind.LOAD, RunKind.EXEC, RunKind.BISECT}:
            return self
        with self.store() as store:
            run, asked = store.load(run_id), store.asked(run_id)
        return replace(self.recalling(asked), matrix=replace(self.matrix, sha256=run.matrix_sha256)) if asked else self

    def recalling(self, asked: Asked) -> Self:
        """This project with the probes that were asked, where these tell what was expected of them."""
        recalled = Expectations.recalled(self.root, asked)
        return replace(self, recalled=recalled) if recalled.known else self

    def settled(self, *, mode: Mode, offline: bool, write: bool = True) -> Lock:
        """The lock, brought up to what can be had and written if it changed; warns about pins that were replaced."""
        before, cache = self.lock(), cache_root()
        lock, warnings = settle(
            self.matrix.wanted(),
            self.matrix.file.image.wanted,
            before,
            Means(Archive(cache), cache, self.limits.deadline("lock_s")),
            mode=mode,
            offline=offline,
            places=self.matrix.places,
        )
        for warning in warnings:
            log.warning(warning)
        if write and lock != before and not self.is_builtin:
            write_lock(self.lock_path, lock)
        return lock

    def store(self, *, read_only: bool = True) -> ResultStore:
        """`with project.store() as store:`."""
        return ResultStore(self.database, read_only=read_only, busy_s=self.limits.store_s)

    def run(self, run_id: str | None = None, *, cell_id: str = "", consoles: bool = False) -> JudgedRun:
        """A run; by default the one with the newest answer of a cell, without a cell the last matrix run.

        Raises UserError when there is none.
        """
        with self.store() as store:
            found = store.load(run_id or (run_of_cell(store, cell_id) if cell_id else None), consoles=consoles)
        return judge_run(found, self.of_run(found.id).expectations)

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
                cells = store.load(answers=False).cells
            run, sources = newest(store, cells, consoles=consoles)
        return judge_run(run, expectations).model_copy(update={"sources": sources})

    def measured(
        self, subject: str | None = None, arch: str | None = None, *, verdicts_of: str = ""
    ) -> tuple[Measured, ...]:
        """Answers of all matrix runs, of one architecture, judged by the claims as they are now; with the verdicts
        about one subject. Raises UserError when no kernel was ever asked about `subject`.
        """
        with self.store() as store:
            every = measurements(store, self.expectations, verdicts_of)
        kept = tuple(each for each in every if arch in (None, each.cell.arch))
        names = {topic.subject for states in different(kept) for topic in states}
        if subject is not None and subject not in names:
            if not kept:
                have = ", ".join(sorted({each.cell.arch for each in every}))
                hint = f"stored matrix runs are of: {have}" if have else "`runner matrix run` makes one"
                raise UserError(f"no matrix run is stored{f' of {arch}' if arch else ''}", hint=hint)
            hint = nearest(subject, sorted(names), "`runner report show --all` lists names")
            raise UserError(f"no kernel was asked about {subject}", hint=hint)
        return kept

    def asked(self, run_id: str) -> Asked | None:
        """What a run asked; None when that was not recorded."""
        with self.store() as store:
            return store.asked(run_id)
