"""Rows of many results: thousands of nights that answered nearly alike are judged about once.

A kind's judge is given the answers that it reads and nothing else; what it was given decides what was judged before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.model import Answer, CellResult, Row
from runner.probes.expectations import Expectations
from runner.probes.kind import Kind

_Ids = tuple[int, ...]


class Bulk:
    """Like `Expectations.rows`. Equal answers must be the same object, and live as long as this does."""

    def __init__(self, expectations: Expectations) -> None:
        self._expectations = expectations
        self._bases: dict[Hashable, int] = {}
        self._probes: dict[Hashable, tuple[Row, ...]] = {}  # rows of a probe, of a kind that has `about`
        self._orders: dict[Hashable, tuple[str, ...]] = {}  # of its probes
        self._wholes: dict[Hashable, tuple[Row, ...]] = {}
        self._seen: dict[int, Hashable] = {}  # of rows, by their id

    def rows(self, result: CellResult, context: Hashable) -> tuple[Row, ...]:
        """`context` is equal where all of `result` but its answers is. Equal rows are mostly the same object."""
        answers: dict[str, list[Answer]] = defaultdict(list)
        for answer in result.answers:
            answers[answer.kind].append(answer)
        rows: list[Row] = []
        for kind, known in self._expectations.kinds():
            others = [answer for name in kind.reads for answer in answers[name]]
            base = self._base((kind.name, context, tuple(map(id, others))))
            mine = answers[kind.name]
            if kind.about(known, ()) is not None:
                rows += self._of_probes(kind, result, base, others, mine)
            else:
                earlier = [row for row in rows if row.kind in kind.evidence]
                key = (base, tuple(map(id, mine)), tuple(map(self._evidence, earlier)))
                if key not in self._wholes:
                    given = result.model_copy(update={"answers": (*others, *mine)})
                    self._wholes[key] = tuple(self._expectations.rows_of(kind, given, earlier))
                rows += self._wholes[key]
        return tuple(rows)

    def _of_probes(
        self, kind: Kind[Any], result: CellResult, base: int, others: Sequence[Answer], answers: Iterable[Answer]
    ) -> Iterable[Row]:
        by_probe: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            by_probe[answer.probe].append(answer)
        ids: Mapping[str, _Ids] = {probe: tuple(map(id, some)) for probe, some in by_probe.items()}
        order = self._orders.get(base)
        new = list(ids) if order is None else [it for it in order if (base, it, ids.get(it, ())) not in self._probes]
        if new or order is None:
            asked = [answer for probe in new for answer in by_probe.get(probe, ())]
            given = result.model_copy(update={"answers": (*others, *asked)})
            rows: dict[str, list[Row]] = defaultdict(list)
            known = self._expectations.known[kind.name]
            mine = known if order is None else kind.about(known, new)
            expectations = replace(self._expectations, known={kind.name: mine})
            for row in expectations.rows_of(kind, given, ()):
                rows[row.probe].append(row)
            for probe in rows if order is None else new:
                self._probes[base, probe, ids.get(probe, ())] = tuple(rows[probe])
            order = self._orders.setdefault(base, tuple(rows))
        return [row for probe in order for row in self._probes[base, probe, ids.get(probe, ())]]

    def _base(self, key: Hashable) -> int:
        return self._bases.setdefault(key, len(self._bases))

    def _evidence(self, row: Row) -> Hashable:
        if id(row) not in self._seen:
            self._seen[id(row)] = (row.kind, row.probe, row.subject, row.type, row.errno, row.log, repr(row.details))
        return self._seen[id(row)]
