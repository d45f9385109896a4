# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is documented about kfuncs, held against kernels: each statement, and a checkout of ebpf-docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from runner.model import Mark, Verdict
from runner.reports.drawing import KNOWN_ISSUE, VERDICTS, Trimmed, entry
from runner.reports.findings import alike, by_arch, listed, merged, show_command
from runner.reports.summary import covers
from runner.results.availability import Availability, availability, is_beside, places
from runner.results.docscheck import ATTACHED_TYPES, Disagreement, Dispute, DocsCheck, flags_of
from runner.results.model import JudgedRun
from runner.results.statements import PAGES, PageErrors, Standing, Statement
from runner.text import counted, plain

_NAMED = 8
_WIDTH = 140

_MARKS = {
    Standing.TRUE: VERDICTS[Verdict.HOLDS],
    Standing.FALSE: VERDICTS[Verdict.BROKEN],
    Standing.OUT_OF_DATE: Mark("!", "!", "yellow"),
    Standing.SINCE: Mark("!", "!", "yellow"),
    Standing.DEPENDS: Mark("~", "~", "yellow"),
    Standing.OPEN: VERDICTS[Verdict.NO_ANSWER],
}


def statements_report(judged: JudgedRun, found: Sequence[Statement]) -> RenderableType:
    """By page or source, in their order; then how many are true, false, and so on."""
    grid = availability(judged)
    parts: list[RenderableType] = []
    for title, group in groupby(found, key=_title):
        parts.append(Text(plain(title), "bold"))
        parts += [_shown(grid, statement) for statement in group]
        parts.append(Text())
    return Trimmed(Group(*parts, Text(tally(found)), Text(covers(judged))))


def tally(found: Iterable[Statement]) -> str:
    """`23 statements: 19 true, 2 false, 2 out of date`"""
    counts = Counter(statement.standing for statement in found)
    named = [f"{counts[standing]} {_PLURAL.get(standing, standing)}" for standing in Standing if counts[standing]]
    return f"{counted(sum(counts.values()), 'statement')}: {', '.join(named) or 'none'}"


_PLURAL = {Standing.SINCE: "true since some version", Standing.DEPENDS: "true on some kernels only"}


def standing_words(statement: Statement) -> str:
    """`out of date: true up to 6.1.192, false from 6.12.117 on`"""
    match statement.standing, statement.turn:
        case Standing.OUT_OF_DATE, (last, first):
            return f"out of date: true up to {last}, false from {first} on"
        case Standing.SINCE, (last, first):
            return f"false up to {last}, true from {first} on"
        case Standing.DEPENDS, _:
            return "true on some kernels only"
        case Standing.OPEN, _:
            return "not decided by these kernels"
    return str(statement.standing)


def _title(statement: Statement) -> str:
    page = statement.ref.partition(":")[0]
    return f"{statement.source}: {page}" if statement.source == PAGES else f"{statement.source}"


def _shown(grid: Availability, statement: Statement) -> RenderableType:
    """With what its probes say, unless that is the sentence itself."""
    if statement.source == PAGES:
        sentence, more = statement.ref.partition(":")[2].strip() or statement.ref, statement.says
    else:
        sentence, more = f"{statement.says[0]} ({statement.ref})", ()
    words = (standing_words(statement), _MARKS[statement.standing].style)
    below = [Text(plain(says), "italic") for says in more]
    below += [Text(line, style) for style, line in _details(grid, statement)]
    head = Text.assemble(words, "  ", (plain(sentence), "bold"))
    return Trimmed(Group(head, Trimmed(Group(*below), indent=4)), indent=2)


def _details(grid: Availability, statement: Statement) -> Iterator[tuple[str, str]]:
    """(style, line) for every group of kernels."""
    for decided in statement.decided:
        where = places(grid, set(decided.cells))
        if decided.true:
            yield "", f"true on {where}"
        elif decided.known_issue:
            yield KNOWN_ISSUE.style, f"false on {where}, known issue {decided.known_issue}: {plain(decided.why, 200)}"
        else:
            yield "", f"false on {where}: {plain(decided.why, 200)}"
    for left in statement.open:
        yield "dim", f"not decided on {places(grid, set(left.cells))}: {plain(left.cause, 200)}"


# --- a checkout of ebpf-docs -----------------------------------------------------------------------------------------


def docs_check_report(check: DocsCheck, features: DocsCheck, errors: Sequence[PageErrors]) -> RenderableType:
    """For the terminal."""
    builds = by_arch(it.build for it in check.builds)
    every = (*check.disagreements, *features.disagreements)
    wrong = sum(len(it.builds) for it in every if it.kind is not Dispute.FLAGS)
    types = [str(prog_type) for prog_type in check.types]
    parts: list[RenderableType] = [
        Text(f"{check.agreements + features.agreements} answers agree, {wrong} do not", "bold"),
        Text(f"kernels: {builds}; program types: {listed(types, _NAMED)}"),
        Text(
            f"since-versions with a kernel on both sides, which agree: {check.points} of {check.all_points}; "
            f"of helpers and types {features.points} of {features.all_points}"
        ),
        *([Text(f"pages with errors, of kfuncs that are called: {len(errors)}")] if errors else []),
    ]
    for kind in Dispute:
        if groups := _alike([it for it in every if it.kind is kind]):
            parts += [Text(), Text(kind.capitalize(), "bold red"), *map(_disagreement, groups)]
    if unlisted := [it for it in errors if it.unlisted]:
        parts += [
            Text(),
            Text("Programs got errors that the page does not list", "bold red"),
            *map(_unlisted, unlisted),
        ]
    if attached := [str(prog_type) for prog_type in check.types if prog_type in ATTACHED_TYPES]:
        why = "the kernel may answer otherwise where such a program is attached to something else"
        parts += [Text(), Text(f"{', '.join(attached)}: {why}", "yellow")]
    left = [(why, [topic.subject for topic in topics]) for why, topics in check.undecided.items()]
    left += [("documented, and no kernel was asked", list(check.unasked))]
    left += [("kernels have it, and the documentation does not", [*check.unknown, *features.unknown])]
    left += [
        ("documented errors that no claim got", [f"{it.kfunc} {', '.join(it.unseen)}" for it in errors if it.unseen])
    ]
    lines = (Text(f"{why}: {listed(names, _NAMED)}") for why, names in left if names)
    parts += [Text(), Text("What these kernels cannot decide", "bold"), Trimmed(Group(*lines), indent=2)]
    return Trimmed(Group(*parts))


def _unlisted(it: PageErrors) -> RenderableType:
    cell, probe = next(iter(it.unlisted.values()))
    facts = [("documented", ", ".join(it.listed)), ("observed", ", ".join(it.unlisted))]
    return entry(it.kfunc, facts, show_command(cell, probe))


def docs_check_document(check: DocsCheck, features: DocsCheck, errors: Sequence[PageErrors]) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed."""
    return {
        "schema": 1,
        "agreements": check.agreements + features.agreements,
        "since_confirmed": check.points,
        "since_documented": check.all_points,
        "disagreements": [
            {"kind": it.kind, "kfunc": it.topic.subject, "prog_type": it.topic.type, "documented": it.documented,
             "kernels": [{"version": str(build), "arch": build.arch} for build in it.builds],
             "state": it.row.state, "cause": plain(it.row.cause), "errno": it.row.errno,
             "flags": list(flags_of(it.row)), "run": it.seen.run, "cell": it.seen.cell.id, "command": _command(it)}
            for it in (*check.disagreements, *features.disagreements)
        ],
        "errors": [
            {"kfunc": it.kfunc, "documented": list(it.listed), "unseen": list(it.unseen),
             "unlisted": {error: {"cell": cell, "probe": probe} for error, (cell, probe) in it.unlisted.items()}}
            for it in errors
        ],
        "undecided": [
            {"why": why, "kfuncs": [{"kfunc": topic.subject, "prog_type": topic.type} for topic in topics]}
            for why, topics in check.undecided.items()
        ],
        "unasked": list(check.unasked),
        "undocumented": [*check.unknown, *features.unknown],
    }  # fmt: skip


def _alike(found: Sequence[Disagreement]) -> list[list[Disagreement]]:
    """Disagreements that differ in the program type only, then those that differ in the kfunc only."""
    types = alike(found, lambda it: (it.topic.subject, _answer(it)))
    return merged(types, lambda group: (tuple(it.topic.type for it in group), _answer(group[0])))


def _answer(it: Disagreement) -> Hashable:
    flags = flags_of(it.row) if it.kind is Dispute.FLAGS else ()
    return flags, it.documented, it.builds, it.row.state, plain(it.row.cause)


def _disagreement(group: Sequence[Disagreement]) -> RenderableType:
    it = group[0]
    what = listed((plain(each.topic.subject) for each in group), _NAMED)
    if it.kind is Dispute.FLAGS:
        observed = ", ".join(flags_of(it.row))
    else:
        types = ", ".join(dict.fromkeys(each.topic.type for each in group if not is_beside(each.topic.kind)))
        what += f" ({types})" if types else ""
        observed = ": ".join(filter(None, (str(it.row.state), plain(it.row.cause, _WIDTH))))
    facts = [("documented", it.documented), ("observed", observed)]
    return entry(f"{what}  on {by_arch(it.builds)}", facts, _command(it))


def _command(it: Disagreement) -> str:
    return show_command(it.seen.cell.id, run_id=it.seen.run, every=True)
