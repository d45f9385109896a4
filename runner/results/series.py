"""Every answer that is kept, over all runs: which kernel build, when, and the state of each kfunc.

A year of nightly runs holds few different answers. Each is judged once, whatever number of nights gave it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from pydantic_core import from_json, to_json

from runner.model import Build, Cell, CellResult, KfuncState, Observation, Outcome, ProgType, State
from runner.results.store import Final, ResultStore


class Row(NamedTuple):  # a tuple is hashed and compared much faster than a dataclass
    kfunc: str
    prog_type: ProgType


class Judge(Protocol):
    """Who tells states from answers."""

    def states(self, result: CellResult) -> Sequence[KfuncState]: ...

    def essences(self) -> Callable[[Observation], Hashable]:
        """All that states can depend on: of two results whose observations have equal ones, the states are equal."""


# What a state can not depend on: when, where and how fast it was asked, and which build of a series answered.
_CIRCUMSTANCES = frozenset({"began", "timings", "host", "accel", "attempts", "build", "image_sha256"})
_CIRCUMSTANTIAL_FACTS = frozenset({"release", "build", "machine", "cmdline", "libbpf", "python"})


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell of a run. `states` is the same object wherever the answers were the same; empty when it did not run."""

    run: str
    started: datetime
    cell: Cell
    build: Build
    outcome: Outcome
    cause: str
    states: Mapping[Row, KfuncState]
    final: Final  # where the whole result is kept


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one build: the last answer to each question, and who gave it."""

    build: Build
    states: Mapping[Row, KfuncState]
    measured: tuple[Measured, ...]  # those that ran, the earliest first

    def evidence(self, row: Row) -> Measured:
        """The last one that answered."""
        return next((it for it in reversed(self.measured) if _answered(it, row)), self.measured[-1])


def measurements(store: ResultStore, judge: Judge) -> tuple[Measured, ...]:
    """All that is kept, the earliest run first."""
    judged: dict[tuple[object, ...], Mapping[Row, KfuncState]] = {}
    essences = _Essences(store, judge)
    found = []
    for final in store.finals():
        body = from_json(final.body)
        key = _key(final, body, essences.of(final))
        if final.outcome is not Outcome.RAN:
            judged[key] = {}
        elif key not in judged:
            judged[key] = {Row(each.kfunc, each.prog_type): each for each in judge.states(store.result(final))}
        locked = final.cell.kernel
        sha256 = body.get("build", {}).get("sha256", "")
        build = Build(version=locked.version, release=locked.release, sha256=sha256, arch=final.cell.arch)
        found.append(
            Measured(
                run=final.run,
                started=final.started,
                cell=final.cell,
                build=build,
                outcome=final.outcome,
                cause=body.get("cause", ""),
                states=judged[key],
                final=final,
            )
        )
    return tuple(found)


def builds(measured: Iterable[Measured]) -> tuple[Known, ...]:
    """What is known of every build that ran, by architecture, then version. The last answer wins."""
    groups: dict[Build, list[Measured]] = defaultdict(list)
    for each in measured:
        if each.outcome is Outcome.RAN:
            groups[each.build].append(each)
    known = [Known(build, _last_answers(group), tuple(group)) for build, group in groups.items()]
    return tuple(sorted(known, key=lambda it: (it.build.arch, it.build.order)))


def different(answers: Iterable[Measured | Known]) -> list[Mapping[Row, KfuncState]]:
    """Their states, each only once."""
    return list({id(it.states): it.states for it in answers}.values())


class _Essences:
    """Numbers for essences, which equal ones share. Each observation is looked at once, however many nights gave it."""

    def __init__(self, store: ResultStore, judge: Judge) -> None:
        self._store = store
        self._essence = judge.essences()
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, int] = {}  # the essence's number, by the observation's

    def of(self, final: Final) -> int:
        """The number of all that was observed."""
        observed = self._store.observed(final)
        try:
            essences = tuple(map(self._known.__getitem__, observed))
        except KeyError:
            self._learn(set(observed) - self._known.keys())
            essences = tuple(map(self._known.__getitem__, observed))
        return self._number(essences)

    def _learn(self, observed: Iterable[int]) -> None:
        for each, seen in self._store.observations(observed).items():
            self._known[each] = self._number(self._essence(seen))

    def _number(self, essence: Hashable) -> int:
        return self._numbers.setdefault(essence, len(self._numbers))


def _key(final: Final, body: dict[str, object], essences: int) -> tuple[object, ...]:
    """Equal keys, equal states."""
    rest = {name: value for name, value in body.items() if name not in _CIRCUMSTANCES}
    if isinstance(facts := body.get("facts"), dict):
        rest["facts"] = {name: value for name, value in facts.items() if name not in _CIRCUMSTANTIAL_FACTS}
    series = final.cell.kernel.upstream.series
    asked = (series, final.cell.arch, final.cell.probes)
    return (essences, final.census, final.missing, asked, to_json(rest))


def _last_answers(group: Sequence[Measured]) -> Mapping[Row, KfuncState]:
    last = group[-1].states
    if len(different(group)) == 1:
        return last
    merged: dict[Row, KfuncState] = {}
    for each in group:
        merged |= {row: state for row, state in each.states.items() if state.state is not State.NO_ANSWER}
    return {**{row: state for each in group for row, state in each.states.items()}, **merged}


def _answered(measured: Measured, row: Row) -> bool:
    state = measured.states.get(row)
    return state is not None and state.state is not State.NO_ANSWER
