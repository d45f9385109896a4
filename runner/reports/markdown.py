# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The grid, its causes and what is open as Markdown: reports/availability.md, and for GitHub Actions.

Equal answers give equal text below the heading: nothing there tells a time, an attempt or a host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from runner.model import Outcome
from runner.probes.kinds import KINDS
from runner.reports.drawing import state_mark, state_words
from runner.reports.findings import WRONG, About, Finding, alike, findings
from runner.reports.summary import covers, sentences
from runner.reports.table import (
    Line,
    Note,
    Notes,
    archs_note,
    archs_of,
    differs,
    is_nowhere,
    lines,
    notes,
    question,
    shared,
)
from runner.results.availability import Availability, Column, Topic, availability
from runner.results.model import JudgedRun
from runner.text import markdown, plain, some

Places = Mapping[str, tuple[str, int]]  # what is expected -> file and line where it is written

_SHOWN = 10  # GitHub shows no more annotations of one kind and step
_WHERE = 6  # groups of subjects that one note names
SUMMARY_BYTES = 1_000_000  # GitHub refuses more than 1 MiB


def availability_markdown(judged: JudgedRun) -> str:
    """The document, with a newline at its end."""
    grid = availability(judged, whole=True)
    why = notes(grid)
    usual = _usual(why)
    parts = [
        _heading(judged, question(grid)),
        _kernels(grid),
        *(_states(grid, why, usual) if grid.topics else ["Nothing was asked."]),
        _why(why, usual),
        _findings(findings(grid, judged.known_issues)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _usual(why: Notes) -> dict[int, Note]:
    """By their numbers, notes that no field repeats: of a state that has one cause, and the one that most fields share
    of what is worst."""
    count, usual = Counter(why.numbers.values()), []
    for same in alike(why.notes, lambda note: (note.row.kind, note.row.state)):
        kind, state = KINDS[same[0].row.kind], same[0].row.state
        rank = kind.rank(state)
        if rank == 0 or (rank and len(same) == 1 and state != kind.best):
            usual.append(max(same, key=lambda note: count[note.number]))
    return {note.number: note for note in usual}


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


def _states(grid: Availability, why: Notes, usual: Mapping[int, Note]) -> Iterator[str]:
    """Of each kind, what differs between kernels or architectures, by family, and what is the same everywhere."""

    def field(topic: Topic, column: Column) -> str:
        number, sign = why.numbers.get((column.cell.id, topic)), state_mark(grid.state(topic, column)).sign
        return sign if number is None or number in usual else f"{sign} <sup>{number}</sup>"

    kernels = ["<br>".join(filter(None, (name, archs_of(on, grid)))) for name, on in grid.kernels]
    for kind, mine in groupby(lines(grid, field), key=lambda line: line.topic.kind):
        noun, every = KINDS[kind].subject, list(mine)
        changing = [line for line in every if any(differs(line.topic, grid))]
        yield f"## Where kernels or architectures differ: {noun}s\n\n{_legend(grid, kind, usual)}"
        if not changing:
            yield "Nowhere."
        for family, of in groupby(changing, key=lambda line: grid.family(line.topic)):
            shown = list(of)
            heads = [noun, *(["type"] if any(it.types for it in shown) else [])]
            rows = [([_code(it.topic.subject), it.types][: len(heads)], _fields(grid, it.topic, field)) for it in shown]
            table = _table((*heads, *kernels), ((*names, *fields) for names, fields in rows))
            yield (f"### {markdown(family)}\n\n" if family else "") + table
        if same := [line for line in every if line not in changing]:
            yield f"## Where they do not: {noun}s\n\n{_same(grid, same, field)}"


def _fields(grid: Availability, topic: Topic, field: Callable[[Topic, Column], str]) -> Iterator[str]:
    for _, on in grid.kernels:
        yield "/".join(shared([field(topic, column) for column in on]))


def _same(grid: Availability, every: Sequence[Line], field: Callable[[Topic, Column], str]) -> str:
    """An item for those with the same marks; what is nowhere comes last, in one."""

    def said(line: Line) -> tuple[bool, str, str]:
        if is_nowhere(line.topic, grid):
            return True, "on no kernel", line.types
        word = KINDS[line.topic.kind].shown_as(grid.state(line.topic, grid.columns[0])).word
        return False, f"{', '.join(dict.fromkeys(_fields(grid, line.topic, field)))} {word}", line.types

    found = []
    for of in sorted(alike(every, said), key=lambda of: said(of[0])[0]):
        _, words, types = said(of[0])
        names = ", ".join(_code(line.topic.subject) for line in of)
        found.append(f"- {words}{f' ({types})' if types else ''}: {names}")
    return "\n".join(found)


def _legend(grid: Availability, kind: str, usual: Mapping[int, Note]) -> str:
    causes = {note.row.state: note.cause for note in usual.values() if note.row.kind == kind}
    words = (
        f"{it.mark.sign} {it.word}" + (f" ({markdown(causes[it.word])})" if it.word in causes else "")
        for it in state_words([kind])
    )
    return ", ".join(filter(None, (*words, archs_note(grid))))


def _why(why: Notes, usual: Mapping[int, Note]) -> str:
    told = [note for note in why.notes if note.number not in usual]
    lines = [
        f"- <sup>{note.number}</sup> **{note.row.state}**: {markdown(note.cause)}. "
        f"Seen for: {markdown(some(note.where, _WHERE, '; '))}."
        for note in told
    ]
    return "## Why\n\n" + "\n".join(lines) if lines else ""


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
    found = [list(head), *(list(row) for row in rows)]
    found.insert(1, ["---"] * len(found[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in found)


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
