"""The pages of the site: what the templates in runner/reports/templates are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from runner.model import KfuncState, ProgType, State, Verdict
from runner.reports.findings import findings
from runner.reports.marks import STATES
from runner.reports.site.changes import changes
from runner.reports.site.evidence import declaration
from runner.reports.site.gantt import chart
from runner.reports.site.names import OUTCOME_CSS, STATE_CSS, VERDICT_CSS, slug, state_sign, verdict_sign
from runner.reports.totals import sentences, totals
from runner.results.availability import Availability, Column, Row, availability, places
from runner.results.model import JudgedCell, JudgedRun
from runner.text import lines, plain

_WIDTHS = (8, 16, 24, 32, 40, 56)  # characters; what is longer is cut


@dataclass(frozen=True, slots=True)
class View:
    """One grid: an architecture and a program type."""

    arch: str
    prog_type: ProgType

    @property
    def file(self) -> str:
        return f"{self.arch}-{self.prog_type}.html"


@dataclass(frozen=True, slots=True)
class Square:
    css: str
    sign: str
    broken: int  # claims that do not hold here


@dataclass(frozen=True, slots=True)
class Line:
    """A row of squares."""

    kfunc: str
    slug: str
    objects: str  # whose BTF has it, for the search
    squares: tuple[Square, ...]

    @property
    def states(self) -> str:
        return "".join(dict.fromkeys(square.css for square in self.squares))


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring kernels with one answer."""

    state: State
    css: str
    sign: str
    kernels: str
    cause: str


class Pages:
    """`judged` is what the grids show; `grid` has every kfunc that was asked about."""

    def __init__(
        self, judged: JudgedRun, runs: tuple[JudgedRun, ...], grid: Availability, *, has_bisections: bool = False
    ) -> None:
        self._judged = judged
        self._runs = runs
        self._grid = grid
        self._broken = Counter(
            (cell.id, claim.kfunc, claim.prog_type)
            for cell in judged.cells
            for claim in cell.claims
            if claim.crashed or claim.verdict is Verdict.BROKEN
        )
        archs = dict.fromkeys(column.arch for column in grid.columns)
        types = [prog_type for prog_type in ProgType if any(row.prog_type is prog_type for row in grid.rows)]
        self._views = tuple(View(arch, prog_type) for arch in archs for prog_type in types)
        self.environment = Environment(
            loader=PackageLoader("runner.reports"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals.update(
            states=[(state, STATE_CSS[state], STATES[state].sign) for state in STATES],
            version=judged.run.runner_version,
            run=judged.run,
            has_bisections=has_bisections,
            views=[(arch, [view for view in self._views if view.arch == arch]) for arch in archs],
        )
        self.environment.filters.update(moment=_moment, plain=plain, shown=_shown, width=_width)

    def grids(self) -> Iterator[tuple[str, str]]:
        """The first view is index.html too."""
        template = self.environment.get_template("grid.html.j2")
        found = findings(self._grid, self._judged.known_issues, self._judged.run.id)
        for at, view in enumerate(self._views):
            columns = [column for column in self._grid.columns if column.arch == view.arch]
            lines = [self._line(row, columns) for row in self._grid.rows if row.prog_type is view.prog_type]
            text = template.render(
                up="",
                view=view,
                columns=columns,
                lines=lines,
                outcomes=[_outcome(column.cell) for column in columns],
                figures=sentences(totals(self._judged)),
                findings=len(found),
            )
            yield view.file, text
            if at == 0:
                yield "index.html", text
        if not self._views:
            yield "index.html", self.environment.get_template("empty.html.j2").render(up="")

    def kfuncs(self) -> Iterator[tuple[str, str]]:
        template = self.environment.get_template("kfunc.html.j2")
        for kfunc, rows in groupby(self._grid.rows, key=lambda row: row.kfunc):
            asked = list(rows)
            parts = [
                (arch, [self._part(arch, row) for row in asked])
                for arch in dict.fromkeys(it.arch for it in self._views)
            ]
            text = template.render(
                up="../",
                kfunc=plain(kfunc),
                slug=slug(kfunc),
                parts=parts,
                declared=self._declared(asked),
                claims=self._claims(kfunc),
            )
            yield f"kfunc/{slug(kfunc)}.html", text

    def _declared(self, rows: Sequence[Row]) -> list[tuple[str, str]]:
        """(kernels, what their BTF says) of one kfunc: what one program type's answer lacks, another's may have."""
        cells: dict[str, set[str]] = {}
        for column in self._grid.columns:
            said = max((declaration(self._grid.state(row, column)) for row in rows), key=len)
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
                figures=sentences(totals(judged)),
                changes=changed[of.id],
                findings=findings(availability(judged), judged.known_issues, of.id),
                cells=[(cell, *_outcome(cell)) for cell in judged.cells],
                chart=chart(of),
            )
            yield f"run/{of.id}.html", text
        listed = [(judged, len(changed[judged.run.id]), sentences(totals(judged))) for judged in last_first]
        yield "runs.html", self.environment.get_template("runs.html.j2").render(up="", listed=listed)

    def _line(self, row: Row, columns: Sequence[Column]) -> Line:
        states = [self._grid.state(row, column) for column in columns]
        return Line(
            kfunc=plain(row.kfunc),
            slug=slug(row.kfunc),
            objects=" ".join(sorted({plain(state.object) for state in states if state.object})),
            squares=tuple(
                Square(
                    STATE_CSS[state.state],
                    state_sign(state.state),
                    self._broken[column.cell.id, row.kfunc, row.prog_type],
                )
                for state, column in zip(states, columns, strict=True)
            ),
        )

    def _part(self, arch: str, row: Row) -> dict[str, object]:
        columns = [column for column in self._grid.columns if column.arch == arch]
        states = [self._grid.state(row, column) for column in columns]
        line = self._line(row, columns)
        return {
            "prog_type": row.prog_type,
            "squares": list(zip(columns, line.squares, strict=True)),
            "spans": list(_spans(columns, states)),
        }

    def _claims(self, kfunc: str) -> list[dict[str, object]]:
        """Each claim about a kfunc, with its verdict on every cell, what does not hold first."""
        table: dict[str, dict[str, tuple[str, str, str]]] = {}
        types: dict[str, ProgType] = {}
        for column in self._grid.columns:
            for claim in column.cell.claims:
                if claim.kfunc == kfunc:
                    css = "bad" if claim.crashed else VERDICT_CSS[claim.verdict]
                    word = "crashed the kernel" if claim.crashed else str(claim.verdict)
                    table.setdefault(claim.probe, {})[column.cell.id] = (css, verdict_sign(claim.verdict), word)
                    types[claim.probe] = claim.prog_type
        nothing = ("a", " ", "not asked")
        rank = {"bad": 0, "q": 1}
        worst = {probe: min(rank.get(css, 2) for css, _, _ in verdicts.values()) for probe, verdicts in table.items()}
        return [
            {
                "probe": plain(probe),
                "prog_type": types[probe],
                "verdicts": [(column, *table[probe].get(column.cell.id, nothing)) for column in self._grid.columns],
            }
            for probe in sorted(table, key=lambda probe: worst[probe])
        ]


def _spans(columns: Sequence[Column], states: Sequence[KfuncState]) -> Iterator[Span]:
    both = list(zip(columns, states, strict=True))
    for (state, cause), group in groupby(both, key=lambda it: (it[1].state, plain(it[1].cause))):
        kernels = [column.kernel for column, _ in group]
        span = kernels[0] if len(kernels) == 1 else f"{kernels[0]} to {kernels[-1]}"
        yield Span(state, STATE_CSS[state], state_sign(state), span, cause)


def _outcome(cell: JudgedCell) -> tuple[str, str]:
    """Class and words."""
    result = cell.result
    words = f"{result.outcome}{result.cause and f': {plain(result.cause, 160)}'}"
    return OUTCOME_CSS.get(result.outcome, "q"), words


def _width(names: Iterable[str]) -> str:
    """The class of style.css that has room for the names in a grid's first column."""
    longest = max(map(len, names), default=0)
    return f"w{next((width for width in _WIDTHS if longest <= width), _WIDTHS[-1])}"


def _shown(text: str) -> str:
    """Several lines, as they may be shown."""
    return "\n".join(lines(text.rstrip()))


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
