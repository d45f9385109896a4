# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run and what it answered, as the store keeps it and as the reports read it. Frozen, no I/O."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps
from typing import Annotated, Protocol, Self, TypeVar

from pydantic import AwareDatetime, Field, SkipValidation, StringConstraints, model_validator

from runner.errors import UserError
from runner.model import Cell, CellId, CellResult, JudgedSplat, KnownIssue, Outcome, Plain, Row, Sha256
from runner.text import nearest

# becomes a folder's name below reports/runs
RunId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class RunKind(StrEnum):
    """What a run was begun for. Ids of runs of all kinds but `matrix` begin with the kind; none is "the last run"."""

    MATRIX = "matrix"
    LOAD = "load"
    EXEC = "exec"
    BISECT = "bisect"
    REPRO = "repro"

    @classmethod
    def of(cls, run_id: str) -> Self:
        """By the first word of the id."""
        word = run_id.partition("-")[0]
        return next((kind for kind in cls if kind == word), cls("matrix"))


NEVER_FINISHED = "never finished: the run was stopped, or is still running"


def new_run_id(started: datetime, kind: RunKind = RunKind.MATRIX) -> str:
    """`20261103-101501-3fa9`, `load-20261103-101501-3fa9`: sorts by time; two runs of one second differ."""
    word = "" if kind is RunKind.MATRIX else f"{kind}-"
    return f"{word}{started.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class RunHeader(Plain):
    """A run without its cells. `finished` is None while it runs, and for ever when it was killed."""

    id: RunId
    started: AwareDatetime
    finished: AwareDatetime | None = None
    matrix_sha256: Sha256
    runner_version: str
    slots: Annotated[int, Field(ge=1)] | None = None  # guests at once
    fresh: bool = False  # everything is asked, also what is answered in an earlier run
    sessions: tuple[tuple[AwareDatetime, AwareDatetime], ...] = ()  # when it ran; a resumed run has several

    @property
    def kind(self) -> RunKind:
        return RunKind.of(self.id)

    @property
    def wall_s(self) -> float | None:
        """How long it ran, without the pauses after which it was resumed. None: it did not come to its end."""
        if self.finished is None:
            return None
        sessions = self.sessions or ((self.started, self.finished),)
        return sum((ended - began).total_seconds() for began, ended in sessions)


class RunInfo(RunHeader):
    """A run in a list of runs: how many cells were to run, and how many have a result."""

    cells: int
    finished_cells: int


class CoveredRun(Plain):
    """A run that gave the newest answer of `cells`, their ids. `partial`: it has no result of others."""

    run: RunInfo
    cells: tuple[CellId, ...]
    partial: bool


# a busy host can make a boot fail: a kernel is blamed for the second one, so a first one alone is not yet an answer
_BOOTS_THAT_COUNT = 2


def _is_missing(attempts: Sequence[CellResult]) -> bool:
    if not attempts or attempts[-1].outcome in {Outcome.LOST, Outcome.INFRA_FAILED}:
        return True
    return attempts[-1].outcome is Outcome.BOOT_FAILED and len(attempts) < _BOOTS_THAT_COUNT


class Run(RunHeader):
    """A run: every cell that was to run, and every result that came, in the order in which they came.

    A cell that was repeated has several results; the last one counts.
    """

    cells: tuple[Cell, ...]
    results: tuple[CellResult, ...] = ()

    @model_validator(mode="after")
    def _results_are_of_the_cells(self) -> Self:
        ids = [cell.id for cell in self.cells]
        if len(set(ids)) != len(ids):
            raise ValueError("two cells with one id")
        if strangers := {result.cell.id for result in self.results} - set(ids):
            raise ValueError(f"results of cells that are not in the run: {', '.join(sorted(strangers))}")
        return self

    @property
    def header(self) -> RunHeader:
        return RunHeader(**{name: getattr(self, name) for name in RunHeader.model_fields})

    def missing_cells(self) -> tuple[Cell, ...]:
        """What a resumed run boots: the cells without a result, those that the machine failed, and those whose boot
        failed and was not repeated."""
        return tuple(cell for cell in self.cells if _is_missing(self.attempts(cell.id)))

    def attempts(self, cell_id: str) -> tuple[CellResult, ...]:
        """All results of one cell, the first one first."""
        return tuple(result for result in self.results if result.cell.id == cell_id)

    def final(self, cell: Cell) -> CellResult:
        """The result that counts. A cell without one never finished, which is no answer about its kernel."""
        attempts = self.attempts(cell.id)
        if not attempts:
            return CellResult(cell=cell, outcome=Outcome.INFRA_FAILED, cause=NEVER_FINISHED, attempts=0)
        last = attempts[-1]
        return last.model_copy(update={"attempts": max(last.attempts, len(attempts))})


class JudgedCell(Plain):
    """One cell's result that counts, judged. `earlier` are the results that were repeated."""

    result: CellResult
    rows: SkipValidation[tuple[Row, ...]]  # judged here; cells of one answer share one tuple, which a check would copy
    splats: tuple[JudgedSplat, ...] = ()  # what the kernel reported by itself, in the last attempt
    earlier: tuple[CellResult, ...] = ()

    @property
    def id(self) -> str:
        return self.result.cell.id


_Made = TypeVar("_Made")
_REMEMBERED = 512  # tuples of rows


def of_rows(make: Callable[[tuple[Row, ...]], _Made]) -> Callable[[tuple[Row, ...]], _Made]:
    """`make`, once for each tuple of rows: reports over many runs see the same one again for each repeated answer."""
    known: OrderedDict[int, tuple[tuple[Row, ...], _Made]] = (
        OrderedDict()
    )  # while rows are here, no others get their id

    @wraps(make)
    def made(rows: tuple[Row, ...]) -> _Made:
        if id(rows) not in known:
            known[id(rows)] = rows, make(rows)
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        return known[id(rows)][1]

    return made


class Judge(Protocol):
    """What tells rows from answers; see runner.probes.Expectations."""

    def grown(self, results: Iterable[CellResult]) -> Self:
        """With the names that these results teach."""

    def rows(self, result: CellResult) -> tuple[Row, ...]: ...

    def splats(self, result: CellResult) -> tuple[JudgedSplat, ...]: ...

    def known_issues(self, cells: Sequence[tuple[CellResult, Sequence[Row]]]) -> tuple[KnownIssue, ...]:
        """Those that explain something in these cells, and those that are gone."""


RowsOf = Callable[[CellResult], tuple[Row, ...]]


class JudgedRun(Plain):
    """A run with a verdict on each of its cells: no cell can be missing, that is checked here."""

    run: Run
    cells: tuple[JudgedCell, ...]
    known_issues: tuple[KnownIssue, ...] = ()  # those that explain something in this run, and those that are gone
    sources: tuple[CoveredRun, ...] = ()  # the newest first, where no run was named and cells may come of several

    def run_of(self, cell_id: str) -> str:
        """The id of the run that has a cell's result."""
        return self._header(cell_id).id

    def started_of(self, cell_id: str) -> datetime:
        """When that run was started."""
        return self._header(cell_id).started

    def _header(self, cell_id: str) -> RunHeader:
        return next((source.run for source in self.sources if cell_id in source.cells), self.run)

    @model_validator(mode="after")
    def _no_cell_is_missing(self) -> Self:
        wanted, judged = [cell.id for cell in self.run.cells], [cell.id for cell in self.cells]
        if wanted != judged:
            raise ValueError(f"the run has the cells {wanted}, judged are {judged}")
        return self

    def cell(self, cell_id: str) -> JudgedCell:
        """Raises UserError, naming the cells there are."""
        known = {cell.id: cell for cell in self.cells}
        if cell_id in known:
            return known[cell_id]
        hint = nearest(cell_id, known, f"its cells: {', '.join(known) or 'none'}")
        raise UserError(f"run {self.run.id} has no cell {cell_id!r}", hint=hint)


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared. `runs`: which run holds each cell's evidence, by the cell's id. `is_run`: a whole run."""

    name: str
    cells: tuple[JudgedCell, ...]
    runs: Mapping[str, str]
    is_run: bool = True


def of_run(run: JudgedRun) -> Side:
    return Side(f"run {run.run.id}", run.cells, dict.fromkeys((cell.id for cell in run.cells), run.run.id))


def judge_run(run: Run, judge: Judge, rows_of: RowsOf | None = None) -> JudgedRun:
    """Judge every cell of a run, also those that never finished. `rows_of` knows the rows of some."""
    judge = judge.grown(run.results)
    cells = tuple(judged_cell(run.final(cell), judge, run.attempts(cell.id)[:-1], rows_of) for cell in run.cells)
    return JudgedRun(
        run=run, cells=cells, known_issues=judge.known_issues([(each.result, each.rows) for each in cells])
    )


def judged_cell(
    result: CellResult, judge: Judge, earlier: tuple[CellResult, ...] = (), rows_of: RowsOf | None = None
) -> JudgedCell:
    rows = (rows_of or judge.rows)(result)
    return JudgedCell(result=result, rows=rows, splats=judge.splats(result), earlier=earlier)
