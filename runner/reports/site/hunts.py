"""The pages of the hunts that are kept: a list, and for each what it found with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinja2 import Environment

from runner.reports.hunt import confidence, evidence_rows, how, remarks, summary, what_differs
from runner.results.hunts import Hunt


def hunt_pages(environment: Environment, hunts: Sequence[Hunt]) -> Iterator[tuple[str, str]]:
    """Nothing when there are none."""
    if not hunts:
        return
    listed = [(hunt, summary(hunt)) for hunt in hunts]
    yield "hunts.html", environment.get_template("hunts.html.j2").render(up="", listed=listed)
    template = environment.get_template("hunt.html.j2")
    for hunt in hunts:
        changes = hunt.found.changes if hunt.found else ()
        text = template.render(
            up="../",
            hunt=hunt,
            how=how(hunt),
            summary=summary(hunt),
            changes=[(change, list(evidence_rows(change)), what_differs(change)) for change in changes],
            confidence=confidence,
            remarks=list(remarks(hunt)),
        )
        yield f"hunt/{hunt.id}.html", text
