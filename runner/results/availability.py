"""Which kfunc a program of which type can call on which kernel: a judged run as a grid of states."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from runner.model import NETWORK_TYPES, KfuncState, Outcome, ProgType, State
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion
from runner.results.model import JudgedCell, JudgedRun


@dataclass(frozen=True, slots=True)
class Column:
    """One cell of the run. `kernel` is its id without the architecture: the columns of one kernel stand together."""

    cell: JudgedCell
    kernel: str
    arch: str


class Row(NamedTuple):  # a tuple is hashed and compared much faster than a dataclass
    kfunc: str
    prog_type: ProgType


@dataclass(frozen=True, slots=True)
class Availability:
    """Columns by kernel version, then architecture; rows by name, then program type. Every field has a state."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    hidden: int  # kfuncs that were asked and have no row here
    _states: Mapping[tuple[str, Row], KfuncState]

    def state(self, row: Row, column: Column) -> KfuncState:
        """What is known; where nothing was asked or answered, that is "no answer", with the cell's own cause."""
        known = self._states.get((column.cell.id, row))
        if known:
            return known
        result = column.cell.result
        cause = "not asked" if result.outcome is Outcome.RAN else f"{result.outcome}: {result.cause}"
        return KfuncState(kfunc=row.kfunc, object="", prog_type=row.prog_type, state=State.NO_ANSWER, cause=cause)

    @property
    def kernels(self) -> tuple[tuple[str, tuple[Column, ...]], ...]:
        """The columns, grouped by kernel."""
        return tuple((name, tuple(columns)) for name, columns in groupby(self.columns, key=lambda it: it.kernel))


def availability(judged: JudgedRun, *, every_kfunc: bool = False) -> Availability:
    """The grid of a run: the kfuncs that claims are about, for TC and XDP; or every one, for every type asked about."""
    claimed = {claim.kfunc for cell in judged.cells for claim in cell.claims}
    states = {(cell.id, Row(state.kfunc, state.prog_type)): state for cell in judged.cells for state in cell.states}
    asked = {row for _, row in states}
    asked |= {Row(claim.kfunc, claim.prog_type) for cell in judged.cells for claim in cell.claims}
    shown = {row for row in asked if every_kfunc or (row.kfunc in claimed and row.prog_type in NETWORK_TYPES)}
    return Availability(
        columns=tuple(sorted((_column(cell) for cell in judged.cells), key=_column_order)),
        rows=tuple(sorted(shown)),
        hidden=len({row.kfunc for row in asked} - {row.kfunc for row in shown}),
        _states=states,
    )


def places(grid: Availability, cell_ids: Set[str]) -> str:
    """Cells in words: `every kernel`, or `6.1.192, 6.12.117 (x86_64, arm64); 7.3.4 (arm64)`."""
    if len(grid.columns) > 1 and cell_ids >= {column.cell.id for column in grid.columns}:
        return "every kernel"
    chosen = [(name, [it.arch for it in columns if it.cell.id in cell_ids]) for name, columns in grid.kernels]
    kernels = [(name, ", ".join(archs)) for name, archs in chosen if archs]
    return "; ".join(
        f"{', '.join(name for name, _ in group)} ({archs})" for archs, group in groupby(kernels, key=lambda it: it[1])
    )


def _column(cell: JudgedCell) -> Column:
    arch = cell.result.cell.arch
    return Column(cell, cell.id.removesuffix(f"-{arch}"), arch)


def _column_order(column: Column) -> tuple[KernelVersion, str, int, str]:
    known = list(ARCHITECTURES)
    at = known.index(column.arch) if column.arch in known else len(known)
    return (column.cell.result.cell.kernel.upstream, column.kernel, at, column.arch)
