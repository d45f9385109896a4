"""Why a kfunc is not usable: one numbered note per state and cause, however many fields of the grid share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from runner.model import KfuncState, ProgType, State
from runner.reports.marks import STATES
from runner.results.availability import Availability, Row, places
from runner.text import plain

_CAUSE_WIDTH = 160
_NAMES = 6  # kfuncs named in one note


@dataclass(frozen=True, slots=True)
class Note:
    """`where` says in words which fields of the grid it is about, a phrase per group of kfuncs."""

    number: int
    state: State
    cause: str
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes, and the number of the note of each field (cell id, row) that has one."""

    notes: tuple[Note, ...]
    numbers: Mapping[tuple[str, Row], int]


def notes(grid: Availability) -> Notes:
    """Numbered by state, then in the order in which one meets them when reading the grid."""
    fields: dict[tuple[State, str], dict[Row, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in grid.rows:
        for column in grid.columns:
            state = grid.state(row, column)
            if state.state is not State.USABLE:
                fields[state.state, _cause(state)][row].add(column.cell.id)
    by_state = sorted(fields.items(), key=lambda field: list(STATES).index(field[0][0]))
    numbered = list(enumerate(by_state, start=1))
    return Notes(
        notes=tuple(Note(number, state, cause, _where(grid, rows)) for number, ((state, cause), rows) in numbered),
        numbers={(cell, row): number for number, (_, rows) in numbered for row in rows for cell in rows[row]},
    )


def _cause(state: KfuncState) -> str:
    """Without the kfunc's own name, so that one cause of many kfuncs stays one."""
    cause = plain(state.cause).replace(state.kfunc, "<kfunc>")
    return plain(cause, _CAUSE_WIDTH) or "cause not recorded"


def _where(grid: Availability, rows: Mapping[Row, set[str]]) -> tuple[str, ...]:
    """Kfuncs with the same program types on the same kernels share a phrase."""
    types: dict[tuple[str, frozenset[str]], list[ProgType]] = defaultdict(list)
    for row, cells in rows.items():
        types[row.kfunc, frozenset(cells)].append(row.prog_type)
    kfuncs: dict[tuple[tuple[ProgType, ...], frozenset[str]], list[str]] = defaultdict(list)
    for (kfunc, on), prog_types in types.items():
        kfuncs[tuple(prog_types), on].append(kfunc)
    every = len({row.kfunc for row in grid.rows})
    phrases = []
    for (of, on), names in kfuncs.items():
        what = "every kfunc" if 1 < len(names) == every else _some(names)
        phrases.append(f"{what} ({', '.join(of)}) on {places(grid, on)}")
    return tuple(phrases)


def _some(names: list[str]) -> str:
    if len(names) <= _NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMES - 1])} and {len(names) - _NAMES + 1} more"
