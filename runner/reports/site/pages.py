# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The pages of the site: what the templates in runner/reports/templates are given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from runner.model import ANSWERS, Row, Verdict
from runner.probes.kinds import KINDS, OTHERS
from runner.reports import bisection as words
from runner.reports.drawing import state_mark, state_words
from runner.reports.findings import WRONG, About, Finding, alike, findings
from runner.reports.site.evidence import OUTCOME_CSS, Declarations, css, readable, slug, verdict_rows, word_of
from runner.reports.summary import covers, moment, sentences
from runner.reports.table import archs_note, differs, head, question, shared, types_of
from runner.results.availability import Availability, Column, Topic, availability, places
from runner.results.bisections import Bisection
from runner.results.diff import Change, Trend, cell_changes, trend_order
from runner.results.model import JudgedCell, JudgedRun, RunHeader
from runner.text import plain

_SHOWN = (Trend.WORSE, Trend.OTHERWISE, Trend.BETTER)  # what has no answer, before or after, is no change
_WIDTHS = (8, 16, 24, 32, 40, 56)  # characters; what is longer is cut


@dataclass(frozen=True, slots=True)
class View:
    """One grid: an architecture, or all, and a type; there may be things without one."""

    arch: str  # empty: all
    type: str

    @property
    def file(self) -> str:
        return f"{self.arch or 'all'}-{slug(self.type) if self.type else 'all'}.html"


class Pages:
    """`judged` is what the grids show; `grid` has all that was asked about. Runs and bisections have a page each."""

    def __init__(
        self, judged: JudgedRun, runs: Iterable[JudgedRun], grid: Availability, bisections: Sequence[Bisection] = ()
    ) -> None:
        self._judged = judged
        self._runs = runs
        self._grid = grid
        self._bisections = bisections
        self._verdicts = verdict_rows(grid)
        self._declarations = Declarations()
        self._broken = Counter(
            (cell_id, subject, row.type)
            for (cell_id, subject), rows in self._verdicts.items()
            for row in rows
            if row.crashed or row.verdict is Verdict.BROKEN
        )
        archs = list(dict.fromkeys(column.arch for column in grid.columns))
        archs = ["", *archs] if len(archs) > 1 else archs
        self._views = tuple(View(arch, of_type) for arch in archs for of_type in types_of(grid))
        self._environment = Environment(
            loader=PackageLoader("runner.reports"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            states=[(it.word, css(it.mark), it.mark.sign) for it in state_words(it.kind for it in grid.topics)],
            noun=head(grid.topics),
            question=partial(question, grid),
            version=judged.run.runner_version,
            run=judged.run,
            covers=covers(judged),
            finding_css=_finding_css,
            spans=_spans,
            has_bisections=bool(bisections),
            views=[(arch, [view for view in self._views if view.arch == arch]) for arch in archs],
        )
        self._environment.filters.update(moment=moment, plain=plain, shown=readable, width=_width)

    def files(self) -> Iterator[tuple[str, str]]:
        """(path, content) of every page."""
        yield from self._grids()
        yield from self._subjects()
        yield from self._run_pages()
        yield from self._bisection_pages()

    def _page(self, path: str, template: str, **values: object) -> tuple[str, str]:
        made = self._environment.get_template(f"{template}.html.j2")
        return path, made.render(up="../" * path.count("/"), **values)

    def _grids(self) -> Iterator[tuple[str, str]]:
        """The first view is index.html too."""
        found, figures = findings(self._grid, self._judged.known_issues), sentences(self._judged)
        for at, view in enumerate(self._views):
            kernels = [[it for it in on if view.arch in ("", it.arch)] for _, on in self._grid.kernels]
            kernels = [on for on in kernels if on]
            columns = [on[0] for on in kernels]
            shown = [topic for topic in self._grid.topics if topic.type == view.type]
            path, text = self._page(
                view.file,
                "grid",
                view=view,
                columns=columns,
                count=len(shown),
                lines=self._families(shown, kernels),
                archs_note=archs_note(self._grid) if len(kernels) < len(self._grid.columns) and not view.arch else "",
                outcomes=[max((_outcome(column.cell) for column in on), key=lambda it: it[0] != "u") for on in kernels],
                figures=figures,
                findings=len(found),
            )
            yield path, text
            if at == 0:
                yield "index.html", text
        yield self._page("findings.html", "findings", findings=found, figures=figures)
        if not self._views:
            yield self._page("index.html", "empty")

    def _subjects(self) -> Iterator[tuple[str, str]]:
        columns = {of[0].arch: of for of in alike(self._grid.columns, lambda column: column.arch)}
        for subject, topics in groupby(self._grid.topics, key=lambda topic: topic.subject):
            asked = list(topics)
            yield self._page(
                f"kfunc/{slug(subject)}.html",
                "kfunc",
                subject=plain(subject),
                slug=slug(subject),
                parts=[
                    (arch, on, [self._line(topic, [[it] for it in on]) for topic in asked])
                    for arch, on in columns.items()
                ],
                declared=self._declared(asked),
                verdicts=self._table(subject),
            )

    def _run_pages(self) -> Iterator[tuple[str, str]]:
        """The page of each run, and their list, the last run first."""
        listed: list[tuple[RunHeader, int, tuple[str, ...]]] = []
        for judged, changed in changes(self._runs):
            figures = sentences(judged)
            listed.append((judged.run.header, len(changed), figures))
            yield self._page(
                f"run/{judged.run.id}.html",
                "run",
                of=judged.run,
                figures=figures,
                changes=changed,
                findings=findings(availability(judged), judged.known_issues, judged.run.id),
                cells=[(cell, *_outcome(cell)) for cell in judged.cells],
            )
        yield self._page("runs.html", "runs", listed=reversed(listed))

    def _bisection_pages(self) -> Iterator[tuple[str, str]]:
        """Nothing when there are none."""
        if not self._bisections:
            return
        yield self._page("bisections.html", "bisections", listed=[(it, words.summary(it)) for it in self._bisections])
        for it in self._bisections:
            changed, remarks = it.found.changes if it.found else (), list(words.remarks(it))
            path = f"bisection/{it.id}.html"
            yield self._page(path, "bisection", bisection=it, words=words, changes=changed, remarks=remarks)

    def _declared(self, topics: Sequence[Topic]) -> list[tuple[str, str]]:
        """(kernels, what they declare) of one subject: what one type's answer lacks, another's may have."""
        cells: dict[str, set[str]] = {}
        for column in self._grid.columns:
            said = max((self._declarations.of(self._grid.state(topic, column)) for topic in topics), key=len)
            if said:
                cells.setdefault(said, set()).add(column.cell.id)
        return [(places(self._grid, ids), said) for said, ids in cells.items()]

    def _families(
        self, topics: Sequence[Topic], kernels: Sequence[Sequence[Column]]
    ) -> list[tuple[str, list[dict[str, object]]]]:
        """(title, lines): by family what differs between kernels or architectures, then the rest; no titles for one."""
        several = len({self._grid.family(topic) for topic in topics}) > 1
        apart = [topic for topic in topics if several and any(differs(topic, self._grid))]
        groups = alike(apart, self._grid.family)
        rest = [topic for topic in topics if topic not in set(apart)]
        titled = [(self._grid.family(group[0]) or OTHERS, group) for group in groups]
        titled += [("no difference" if apart else "", rest)] if rest else []
        return [(title, [self._line(topic, kernels) for topic in group]) for title, group in titled]

    def _line(self, topic: Topic, kernels: Sequence[Sequence[Column]]) -> dict[str, object]:
        """A row of squares. `objects` have it: vmlinux, a module."""
        every = [[self._grid.state(topic, column) for column in on] for on in kernels]
        rows = [row for of in every for row in of]
        squares = [self._square(topic, on, of) for on, of in zip(kernels, every, strict=True)]
        return {
            "subject": plain(topic.subject),
            "type": topic.type,
            "slug": slug(topic.subject),
            "rows": rows,
            "objects": " ".join(sorted({plain(str(row.details.get("object", ""))) for row in rows} - {""})),
            "states": "".join(dict.fromkeys(css(state_mark(row))[0] for row in rows)),
            "squares": squares,
        }

    def _square(self, topic: Topic, on: Sequence[Column], rows: Sequence[Row]) -> tuple[str, str, int, str]:
        """Class, signs, how many verdicts do not hold there, the cell: of several, the one with the worst state."""
        broken = sum(self._broken[column.cell.id, topic.subject, topic.type] for column in on)
        marks = shared([state_mark(row) for row in rows])
        at = min(range(len(rows)), key=lambda at: KINDS[topic.kind].rank(rows[at].state) or 0) if marks[1:] else 0
        return css(state_mark(rows[at])), "/".join(mark.sign for mark in marks), broken, on[at].cell.id

    def _table(self, subject: str) -> list[dict[str, object]]:
        """Each probe with a verdict about a subject, on every cell, what does not hold first."""
        found: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
        for column in self._grid.columns:
            for row in self._verdicts.get((column.cell.id, subject), ()):
                found[row.probe, row.type][column.cell.id] = row
        rank = {"bad": 0, "q": 1, "x": 1}
        table: list[tuple[int, dict[str, object]]] = []
        for (probe, of_type), rows in found.items():
            cells = [(column, *_verdict(rows.get(column.cell.id))) for column in self._grid.columns]
            worst = min(rank.get(name, 2) for _, name, *_ in cells)
            table.append((worst, {"probe": plain(probe), "type": of_type, "cells": cells}))
        return [line for _, line in sorted(table, key=lambda it: it[0])]


def _verdict(row: Row | None) -> tuple[str, str, str]:
    """Class, sign, words."""
    if row is None:
        return "a", " ", "not asked"
    word, mark = word_of(row)
    return css(mark), mark.sign, word


def _spans(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Neighbouring kernels with one answer."""
    both = zip(columns, rows, strict=True)
    for (state, cause), group in groupby(both, key=lambda it: (it[1].state, plain(it[1].cause))):
        names, same = zip(*((column.kernel, row) for column, row in group), strict=True)
        mark = state_mark(same[0])
        kernels = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        yield {"state": state, "css": css(mark), "sign": mark.sign, "kernels": kernels, "cause": cause}


def _finding_css(finding: Finding) -> str:
    if finding.about in WRONG:
        return "bad"
    return "x" if finding.about in (About.KNOWN, About.GONE) else "q"


def _outcome(cell: JudgedCell) -> tuple[str, str]:
    """Class and words."""
    return OUTCOME_CSS.get(cell.result.outcome, "q"), plain(cell.result.ended, 180)


def _width(names: Iterable[str]) -> str:
    """The class of style.css that has room for the names in a grid's first column."""
    longest = max(map(len, names), default=0)
    return f"w{next((width for width in _WIDTHS if longest <= width), _WIDTHS[-1])}"


def changes(runs: Iterable[JudgedRun]) -> Iterator[tuple[JudgedRun, list[list[Change]]]]:
    """Each run, the earliest first, with its changes, those that differ in the cell alone together.

    A cell is compared with its last earlier answer: a run of a part of the matrix does not make the others look new.
    Kernels are known by their names in the matrix: their versions change from run to run.
    """
    last: dict[tuple[str, str], JudgedCell] = {}
    for judged in runs:
        answered = {
            (it.result.cell.name, it.result.cell.arch): it for it in judged.cells if it.result.outcome in ANSWERS
        }
        pairs = [(last[place], cell) for place, cell in answered.items() if place in last]
        every = sorted((change for pair in pairs for change in cell_changes(*pair)), key=trend_order)
        changed = [change for change in every if change.kind in _SHOWN]
        last |= answered
        yield judged, alike(changed, lambda it: (it.kind, it.key.name, plain(it.before), plain(it.after)))
