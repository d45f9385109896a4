"""The pages of the site: what the templates in runner/reports/templates are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from runner.model import Row, Verdict
from runner.reports.drawing import state_mark, state_words
from runner.reports.findings import WRONG, About, Finding, findings
from runner.reports.grid import head, types_of
from runner.reports.site.evidence import OUTCOME_CSS, css, declaration, readable, slug, verdict_rows, word_of
from runner.reports.site.runs import changes, chart
from runner.reports.summary import covers, moment, sentences
from runner.results.availability import Availability, Column, Topic, availability, places
from runner.results.model import JudgedCell, JudgedRun
from runner.text import plain

_WIDTHS = (8, 16, 24, 32, 40, 56)  # characters; what is longer is cut


@dataclass(frozen=True, slots=True)
class View:
    """One grid: an architecture and a type; there may be things without one."""

    arch: str
    type: str

    @property
    def file(self) -> str:
        return f"{self.arch}-{slug(self.type) if self.type else 'all'}.html"


@dataclass(frozen=True, slots=True)
class Square:
    css: str
    sign: str
    broken: int  # verdicts that do not hold here


@dataclass(frozen=True, slots=True)
class Line:
    """A row of squares."""

    subject: str
    slug: str
    objects: str  # what has it, for the search: vmlinux, a module
    squares: tuple[Square, ...]

    @property
    def states(self) -> str:
        return "".join(dict.fromkeys(square.css[0] for square in self.squares))


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring kernels with one answer."""

    state: str
    css: str
    sign: str
    kernels: str
    cause: str


class Pages:
    """`judged` is what the grids show; `grid` has all that was asked about."""

    def __init__(
        self, judged: JudgedRun, runs: tuple[JudgedRun, ...], grid: Availability, *, has_bisections: bool = False
    ) -> None:
        self._judged = judged
        self._runs = runs
        self._grid = grid
        self._verdicts = verdict_rows(grid)
        self._broken = Counter(
            (cell_id, row.subject, row.type)
            for (cell_id, _), rows in self._verdicts.items()
            for row in rows
            if row.crashed or row.verdict is Verdict.BROKEN
        )
        archs = dict.fromkeys(column.arch for column in grid.columns)
        self._views = tuple(View(arch, of_type) for arch in archs for of_type in types_of(grid))
        self.environment = Environment(
            loader=PackageLoader("runner.reports"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals.update(
            states=[(it.word, css(it.mark), it.mark.sign) for it in state_words(it.kind for it in grid.topics)],
            noun=head(grid) if grid.topics else "subject",
            version=judged.run.runner_version,
            run=judged.run,
            covers=covers(judged),
            finding_css=_finding_css,
            has_bisections=has_bisections,
            views=[(arch, [view for view in self._views if view.arch == arch]) for arch in archs],
        )
        self.environment.filters.update(moment=moment, plain=plain, shown=readable, width=_width)

    def grids(self) -> Iterator[tuple[str, str]]:
        """The first view is index.html too."""
        template = self.environment.get_template("grid.html.j2")
        found = findings(self._grid, self._judged.known_issues)
        for at, view in enumerate(self._views):
            columns = [column for column in self._grid.columns if column.arch == view.arch]
            lines = [self._line(topic, columns) for topic in self._grid.topics if topic.type == view.type]
            text = template.render(
                up="",
                view=view,
                columns=columns,
                lines=lines,
                outcomes=[_outcome(column.cell) for column in columns],
                figures=sentences(self._judged),
                findings=len(found),
            )
            yield view.file, text
            if at == 0:
                yield "index.html", text
        listed = self.environment.get_template("findings.html.j2")
        yield "findings.html", listed.render(up="", findings=found, figures=sentences(self._judged))
        if not self._views:
            yield "index.html", self.environment.get_template("empty.html.j2").render(up="")

    def subjects(self) -> Iterator[tuple[str, str]]:
        template = self.environment.get_template("kfunc.html.j2")
        for subject, topics in groupby(self._grid.topics, key=lambda topic: topic.subject):
            asked = list(topics)
            parts = [
                (arch, [self._part(arch, topic) for topic in asked])
                for arch in dict.fromkeys(it.arch for it in self._views)
            ]
            text = template.render(
                up="../",
                subject=plain(subject),
                slug=slug(subject),
                parts=parts,
                declared=self._declared(asked),
                verdicts=self._table(subject),
            )
            yield f"kfunc/{slug(subject)}.html", text

    def _declared(self, topics: Sequence[Topic]) -> list[tuple[str, str]]:
        """(kernels, what they declare) of one subject: what one type's answer lacks, another's may have."""
        cells: dict[str, set[str]] = {}
        for column in self._grid.columns:
            said = max((declaration(self._grid.state(topic, column)) for topic in topics), key=len)
            if said:
                cells.setdefault(said, set()).add(column.cell.id)
        return [(places(self._grid, ids), said) for said, ids in cells.items()]

    def runs(self) -> Iterator[tuple[str, str]]:
        """The page of each run, and their list, the last run first."""
        changed = changes(self._runs)
        template = self.environment.get_template("run.html.j2")
        last_first = sorted(self._runs, key=lambda judged: judged.run.started, reverse=True)
        for judged in last_first:
            of = judged.run
            text = template.render(
                up="../",
                of=of,
                figures=sentences(judged),
                changes=changed[of.id],
                findings=findings(availability(judged), judged.known_issues, of.id),
                cells=[(cell, *_outcome(cell)) for cell in judged.cells],
                chart=chart(of),
            )
            yield f"run/{of.id}.html", text
        listed = [(judged, len(changed[judged.run.id]), sentences(judged)) for judged in last_first]
        yield "runs.html", self.environment.get_template("runs.html.j2").render(up="", listed=listed)

    def _line(self, topic: Topic, columns: Sequence[Column]) -> Line:
        rows = [self._grid.state(topic, column) for column in columns]
        marks = [state_mark(row) for row in rows]
        broken = [self._broken[column.cell.id, topic.subject, topic.type] for column in columns]
        return Line(
            subject=plain(topic.subject),
            slug=slug(topic.subject),
            objects=" ".join(sorted({plain(str(row.details.get("object", ""))) for row in rows} - {""})),
            squares=tuple(Square(css(mark), mark.sign, count) for mark, count in zip(marks, broken, strict=True)),
        )

    def _part(self, arch: str, topic: Topic) -> dict[str, object]:
        columns = [column for column in self._grid.columns if column.arch == arch]
        line = self._line(topic, columns)
        return {
            "type": topic.type,
            "squares": list(zip(columns, line.squares, strict=True)),
            "spans": list(_spans([(column.kernel, self._grid.state(topic, column)) for column in columns])),
        }

    def _table(self, subject: str) -> list[dict[str, object]]:
        """Each probe with a verdict about a subject, on every cell, what does not hold first."""
        table: dict[str, dict[str, tuple[str, str, str]]] = {}
        types: dict[str, str] = {}
        for column in self._grid.columns:
            for row in self._verdicts.get((column.cell.id, subject), ()):
                word, mark = word_of(row)
                table.setdefault(row.probe, {})[column.cell.id] = (css(mark), mark.sign, word)
                types[row.probe] = row.type
        nothing = ("a", " ", "not asked")
        rank = {"bad": 0, "q": 1, "x": 1}
        worst = {probe: min(rank.get(it, 2) for it, _, _ in verdicts.values()) for probe, verdicts in table.items()}
        return [
            {
                "probe": plain(probe),
                "type": types[probe],
                "cells": [(column, *table[probe].get(column.cell.id, nothing)) for column in self._grid.columns],
            }
            for probe in sorted(table, key=lambda probe: worst[probe])
        ]


def _spans(of: Sequence[tuple[str, Row]]) -> Iterator[Span]:
    for (state, cause), group in groupby(of, key=lambda it: (it[1].state, plain(it[1].cause))):
        same = list(group)
        first, last = same[0][0], same[-1][0]
        mark = state_mark(same[0][1])
        yield Span(state, css(mark), mark.sign, first if len(same) == 1 else f"{first} to {last}", cause)


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
