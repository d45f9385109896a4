# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The difference between two runs, kernels or cells: for the terminal, and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Mark, Verdict
from runner.reports.drawing import VERDICTS, Trimmed, columns, entry, section
from runner.reports.findings import alike, merged, show_command
from runner.results.availability import Availability, places
from runner.results.diff import Change, Compared, Difference, Subject, Trend
from runner.text import counted, plain, some

_STYLES = {  # of those that are listed
    Trend.WORSE: "bold red",
    Trend.UNANSWERED: "bold magenta",
    Trend.OTHERWISE: "yellow",
    Trend.BETTER: "green",
    Trend.ANSWERED: "cyan",
}
_WIDTH = 160
_NAMED = 6  # probes, cells


def changes_report(of: Difference) -> RenderableType:
    """For the terminal. Changes in words alone are counted."""
    sections = [
        (kind.capitalize(), style, [it for it in of.changes if it.kind is kind]) for kind, style in _STYLES.items()
    ]
    sections.append(("Seen in one boot, not in a fresh one", "yellow", list(of.once)))
    parts: list[RenderableType] = [Text(f"{of.before.name} -> {of.after.name}: {tally(of)}", "bold")]
    for title, style, changes in sections:
        if changes:
            parts += [Text(), Text(title, style), *(_entry(of, group) for group in _alike(changes))]
    parts += [Text()] if of.gone or of.new else []
    for words, cells in (("Not run any more", of.gone), ("New, with nothing to compare", of.new)):
        parts += [Text(f"{words}: {', '.join(cells)}")] if cells else []
    return Trimmed(Group(*parts))


def changes_document(of: Difference) -> dict[str, object]:
    """For scripts. Fields are added, never renamed."""
    return {
        "schema": 1,
        "before": of.before.name,
        "after": of.after.name,
        "compared": of.compared,
        "counts": _counts(of),
        "changes": [_document(of, change) for change in of.changes],
        "once": [_document(of, change) for change in of.once],
        "gone": list(of.gone),
        "new": list(of.new),
    }


_MARKS = {Trend.WORSE: VERDICTS[Verdict.BROKEN], Trend.BETTER: VERDICTS[Verdict.HOLDS]}


def builds_report(of: Compared, grid: Availability) -> RenderableType:
    """What two builds of an object answered otherwise, for the terminal; `grid` is of their run."""
    groups = alike(of.changes, lambda it: (it.trend, it.subject, it.before, it.after))
    rows = []
    for group in sorted(groups, key=lambda it: it[0].trend is not Trend.WORSE):
        first, mark = group[0], _MARKS.get(group[0].trend or Trend.TEXT, Mark(" ", " ", ""))
        what = Text.assemble((f"{mark.sign} ", mark.style), plain(first.subject))
        words = (plain(first.before, _WIDTH), plain(first.after, _WIDTH))
        rows.append((what, places(grid, {it.cell for it in group}), *words))
    counts = Counter(change.what for change in of.changes)
    told = ", ".join(f"{number} {what}" for what, number in counts.items()) or "nothing changed"
    heads = ("", "kernel", "before", "after") if rows else ()
    table = columns(rows, *heads, no_wrap=(0,))
    return section(f"Against the earlier build: {counted(of.subjects, 'answer')} compared; {told}", table)


def tally(of: Difference) -> str:
    """`8 cells compared; 2 worse (2 confirmed by a fresh boot), 1 better`, or `... nothing changed`"""
    counts = _counts(of)
    parts = [f"{number} {kind}" for kind, number in counts.items() if number]
    confirmed = sum(of.confirmed(change) for change in of.worse)
    if confirmed:
        parts[0] += f" ({confirmed} confirmed by a fresh boot)"
    return f"{counted(of.compared, 'cell')} compared; {', '.join(parts) or 'nothing changed'}"


def _counts(of: Difference) -> dict[Trend, int]:
    counts = Counter(change.kind for change in of.changes)
    return {kind: counts[kind] for kind in Trend}


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes that differ only in the cell, or only in the name: a probe for several program types, several probes."""
    named = alike(changes, lambda it: (it.key.subject, it.key.name, plain(it.before), plain(it.after)))
    return merged(
        named,
        lambda same: (
            same[0].key.subject,
            plain(same[0].before),
            plain(same[0].after),
            tuple((it.old_cell, it.key.cell) for it in same),
        ),
    )


def _entry(of: Difference, group: Sequence[Change]) -> RenderableType:
    first = group[0]
    what = some(list(dict.fromkeys(plain(change.key.name) or "the cell" for change in group)), _NAMED)
    where = some(list(dict.fromkeys(_place(change) for change in group)), _NAMED)
    facts = [("before", plain(first.before, _WIDTH)), ("after", plain(first.after, _WIDTH))]
    if first.kind is Trend.WORSE and first not in of.once and of.before.is_run and of.after.is_run:
        facts.append(("boots", _boots_words(of, group)))
    every = first.key.subject is Subject.STATE
    cells = ((first.old_cell, of.before.runs), (first.key.cell, of.after.runs))
    commands = (show_command(cell, first.probe, runs.get(cell, ""), every=every) for cell, runs in cells)
    return entry(f"{what}  on {where}", facts, *commands)


def _boots_words(of: Difference, group: Sequence[Change]) -> str:
    confirmed = sum(of.confirmed(change) for change in group)
    if confirmed == len(group):
        return "confirmed by a fresh boot"
    if confirmed:
        return f"confirmed by a fresh boot on {confirmed} of {len(group)}"
    return "seen in one boot"


def _place(change: Change) -> str:
    return change.key.cell if change.old_cell == change.key.cell else f"{change.old_cell} -> {change.key.cell}"


def _document(of: Difference, change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "subject": change.key.subject,
        "probe": change.probe,
        "kfunc": change.row.subject if change.row else "",
        "prog_type": change.row.type if change.row else "",
        "cell": {"before": change.old_cell, "after": change.key.cell},
        "run": {"before": of.before.runs.get(change.old_cell, ""), "after": of.after.runs.get(change.key.cell, "")},
        "before": plain(change.before),
        "after": plain(change.after),
        "confirmed": of.confirmed(change),
    }
