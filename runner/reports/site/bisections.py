"""The pages of the bisections that are kept: a list, and for each what it found with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinja2 import Environment

from runner.reports.bisection import (
    confidence,
    evidence_rows,
    how,
    issue_words,
    labels,
    reasons,
    remarks,
    summary,
    what_differs,
)
from runner.reports.layouts import layout_difference
from runner.results.bisections import Bisection


def bisection_pages(environment: Environment, bisections: Sequence[Bisection]) -> Iterator[tuple[str, str]]:
    """Nothing when there are none."""
    if not bisections:
        return
    listed = [(bisection, summary(bisection)) for bisection in bisections]
    yield "bisections.html", environment.get_template("bisections.html.j2").render(up="", listed=listed)
    template = environment.get_template("bisection.html.j2")
    for bisection in bisections:
        text = template.render(
            up="../",
            bisection=bisection,
            how=how(bisection),
            summary=summary(bisection),
            changes=bisection.found.changes if bisection.found else (),
            remarks=list(remarks(bisection)),
            confidence=confidence,
            evidence_rows=evidence_rows,
            issue_words=issue_words,
            labels=labels,
            reasons=reasons,
            layout_difference=layout_difference,
            what_differs=what_differs,
        )
        yield f"bisection/{bisection.id}.html", text
