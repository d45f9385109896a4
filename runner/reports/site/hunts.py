"""The pages of the hunts that are kept: a list, and for each what it found with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinja2 import Environment

from runner.reports.hunt import (
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
from runner.results.hunts import Hunt


def hunt_pages(environment: Environment, hunts: Sequence[Hunt]) -> Iterator[tuple[str, str]]:
    """Nothing when there are none."""
    if not hunts:
        return
    listed = [(hunt, summary(hunt)) for hunt in hunts]
    yield "hunts.html", environment.get_template("hunts.html.j2").render(up="", listed=listed)
    template = environment.get_template("hunt.html.j2")
    for hunt in hunts:
        text = template.render(
            up="../",
            hunt=hunt,
            how=how(hunt),
            summary=summary(hunt),
            changes=hunt.found.changes if hunt.found else (),
            remarks=list(remarks(hunt)),
            confidence=confidence,
            evidence_rows=evidence_rows,
            issue_words=issue_words,
            labels=labels,
            reasons=reasons,
            layout_difference=layout_difference,
            what_differs=what_differs,
        )
        yield f"hunt/{hunt.id}.html", text
