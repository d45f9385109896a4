# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The grid, its causes and what is open as Markdown: reports/availability.md, and for GitHub Actions.

Equal answers give equal text below the heading: nothing there tells a time, an attempt or a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner.model import Outcome, ProgType
from runner.reports.drawing import state_mark, state_words
from runner.reports.findings import WRONG, About, Finding, findings
from runner.reports.grid import Notes, head, notes, question, types_of
from runner.reports.summary import covers, sentences
from runner.results.availability import Availability, availability
from runner.results.model import JudgedRun
from runner.text import markdown, plain

Places = Mapping[str, tuple[str, int]]  # what is expected -> file and line where it is written

_SHOWN = 10  # GitHub shows no more annotations of one kind and step
SUMMARY_BYTES = 1_000_000  # GitHub refuses more than 1 MiB
_TYPES: dict[str, str] = {
    ProgType.TC: "TC programs (`BPF_PROG_TYPE_SCHED_CLS`)",
    ProgType.XDP: "XDP programs (`BPF_PROG_TYPE_XDP`)",
}


def availability_markdown(judged: JudgedRun, *, every: bool = False) -> str:
    """The document, with a newline at its end."""
    grid = availability(judged, every=every)
    why = notes(grid)
    parts = [
        _heading(judged, question(grid)),
        _kernels(grid),
        *(_states(grid, why, each) for each in types_of(grid)),
        _legend(grid),
        _why(why),
        _findings(findings(grid, judged.known_issues)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(judged: JudgedRun, asked: str) -> str:
    return (
        f"# {asked}\n\n"
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
    top = [head(grid.topics), *(f"{kernel}<br>{column.arch}" for kernel, columns in grid.kernels for column in columns)]
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
    nothing = f"Nothing: everything{' else' if known else ''} has an answer, and it is as expected."
    text = "## Broken or unanswered\n\n" + ("\n".join(lines) or nothing)
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


# --- GitHub Actions: a job summary, and annotations beside what is expected -----------------------


def job_summary(judged: JudgedRun, limit_bytes: int = SUMMARY_BYTES) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY: the figures, then the availability tables where they fit GitHub's limit."""
    figures = "\n".join(f"- {markdown(sentence)}" for sentence in sentences(judged))
    text = availability_markdown(judged)
    head, _, rest = text.partition("\n\n")
    whole = f"{head}\n\n{figures}\n\n{rest}"
    if len(whole.encode()) <= limit_bytes:
        return whole
    return f"{head}\n\n{figures}\n\nTables too large for this page: `runner report export --format markdown`.\n"


def workflow_commands(judged: JudgedRun, places: Places) -> str:
    """Workflow commands, a line per finding, what is wrong before what is unknown; empty when all is well.

    `places` says where an expectation is written, as a path in the repository and a line.
    """
    found = findings(availability(judged), judged.known_issues, "" if judged.sources else judged.run.id)
    wrong = [_command("error", finding, places) for finding in found if finding.about in WRONG]
    unknown = [_command("warning", finding, places) for finding in found if finding.about not in WRONG]
    return "".join(f"{line}\n" for line in (*_cut("error", wrong), *_cut("warning", unknown)))


def _cut(level: str, commands: list[str]) -> list[str]:
    """As many as are shown; the last one counts the others."""
    if len(commands) <= _SHOWN:
        return commands
    more = len(commands) - _SHOWN + 1
    return [*commands[: _SHOWN - 1], f"::{level} title={more} more::{_data('`runner report show` lists them all')}"]


def _command(level: str, finding: Finding, places: Places) -> str:
    said = [f"{finding.what}, on {finding.where}"]
    said += [f"{word}: {plain(text, 300) or 'nothing'}" for word, text in finding.details]
    said.append(finding.command)
    properties = {"title": f"{finding.about}: {plain(finding.what, 100)}"}
    place = places.get(finding.what.partition(":")[0])
    if place:
        properties = {"file": place[0], "line": str(place[1]), **properties}
    # the : and , of a value would end it
    written = (f"{key}={_data(value).replace(':', '%3A').replace(',', '%2C')}" for key, value in properties.items())
    return f"::{level} {','.join(written)}::{_data(chr(10).join(said))}"


def _data(text: str) -> str:
    """As the runner's own toolkit escapes a message: nothing in it can end the line and begin a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
