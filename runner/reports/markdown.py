"""reports/availability.md: the grid, its causes and what is open, to be committed and read on a web page.

Equal answers give equal text below the heading: nothing there tells a time, an attempt or a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.model import Outcome, ProgType
from runner.reports.drawing import state_mark, state_words
from runner.reports.findings import About, Finding, findings
from runner.reports.grid import Notes, head, notes, types_of
from runner.reports.summary import covers
from runner.results.availability import Availability, availability
from runner.results.model import JudgedRun
from runner.text import markdown, plain

_TYPES: dict[str, str] = {
    ProgType.TC: "TC programs (`BPF_PROG_TYPE_SCHED_CLS`)",
    ProgType.XDP: "XDP programs (`BPF_PROG_TYPE_XDP`)",
}


def availability_markdown(judged: JudgedRun, *, every: bool = False) -> str:
    """The document, with a newline at its end."""
    grid = availability(judged, every=every)
    why = notes(grid)
    parts = [
        _heading(judged),
        _kernels(grid),
        *(_states(grid, why, each) for each in types_of(grid)),
        _legend(grid),
        _why(why),
        _findings(findings(grid, judged.known_issues)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(judged: JudgedRun) -> str:
    return (
        "# Which kernel lets programs call which kfunc\n\n"
        f"Measured by loading real programs: {markdown(covers(judged))}, "
        f"kfunc-runner {markdown(judged.run.runner_version)}."
    )


def _kernels(grid: Availability) -> str:
    rows = []
    for column in grid.columns:
        result = column.cell.result
        locked = result.cell.kernel
        ended = str(result.outcome)
        if result.outcome is not Outcome.RAN:
            ended = f"**{ended}**: {markdown(result.cause, 160)}"
        release = f"`{plain(locked.release)}`"
        rows.append((column.kernel, column.arch, release, markdown(locked.source), ended))
    return "## Kernels\n\n" + _table(("kernel", "architecture", "release", "source", "outcome"), rows)


def _states(grid: Availability, why: Notes, of_type: str) -> str:
    top = [head(grid), *(f"{kernel}<br>{column.arch}" for kernel, columns in grid.kernels for column in columns)]
    rows = []
    for topic in (topic for topic in grid.topics if topic.type == of_type):
        fields = []
        for column in grid.columns:
            number = why.numbers.get((column.cell.id, topic))
            sign = state_mark(grid.state(topic, column)).sign
            fields.append(sign if number is None else f"{sign} <sup>{number}</sup>")
        rows.append((_code(topic.subject), *fields))
    title = _TYPES.get(of_type) or (f"`BPF_PROG_TYPE_{of_type.upper()}` programs" if of_type else "Others")
    return f"## {title}\n\n{_table(top, rows)}"


def _legend(grid: Availability) -> str:
    if not grid.topics:
        return "Nothing was asked."
    return ", ".join(f"{it.mark.sign} {it.word}" for it in state_words(topic.kind for topic in grid.topics))


def _why(why: Notes) -> str:
    if not why.notes:
        return ""
    lines = [
        f"- <sup>{note.number}</sup> **{note.row.state}**: {markdown(note.cause)}. "
        f"Seen for: {markdown('; '.join(note.where))}."
        for note in why.notes
    ]
    return "## Why\n\n" + "\n".join(lines)


def _findings(found: Iterable[Finding]) -> str:
    found = tuple(found)
    known = [finding for finding in found if finding.about in (About.KNOWN, About.GONE)]
    lines = list(_finding_lines(finding for finding in found if finding not in known))
    holds = "Nothing: every other claim has" if known else "Nothing: every claim has"
    text = "## Broken or unanswered\n\n" + ("\n".join(lines) or f"{holds} an answer, and it holds.")
    return text + ("\n\n## Known issues\n\n" + "\n".join(_finding_lines(known)) if known else "")


def _finding_lines(found: Iterable[Finding]) -> Iterator[str]:
    for finding in found:
        yield f"- **{finding.about}**: {markdown(finding.what)}, on {markdown(finding.where)}"
        for word, text in finding.details:
            yield f"  - {word}: {markdown(text, 300) or 'nothing'}"
        yield f"  - `{finding.command}`"


def _code(name: str) -> str:
    """A name out of a guest's BTF is code only when it can be a name."""
    return f"`{name}`" if name.isidentifier() and name.isascii() else markdown(name)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
