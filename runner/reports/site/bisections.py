"""The pages of the stored bisections: a list, and for each what it found with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinja2 import Environment

from runner.reports import bisection as words
from runner.results.bisections import Bisection


def bisection_pages(environment: Environment, bisections: Sequence[Bisection]) -> Iterator[tuple[str, str]]:
    """Nothing when there are none."""
    if not bisections:
        return
    listed = [(bisection, words.summary(bisection)) for bisection in bisections]
    yield "bisections.html", environment.get_template("bisections.html.j2").render(up="", listed=listed)
    template = environment.get_template("bisection.html.j2")
    for it in bisections:
        changes = it.found.changes if it.found else ()
        text = template.render(up="../", bisection=it, words=words, changes=changes, remarks=list(words.remarks(it)))
        yield f"bisection/{it.id}.html", text
