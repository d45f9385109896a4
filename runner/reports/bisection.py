# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection found, for a terminal. Its page in the site shows the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import ndiff

from rich.console import Group, RenderableType
from rich.text import Text

from runner.reports.drawing import Trimmed, columns, whole
from runner.results.bisections import AnswerChange, Bisection, ChangeEnd, Conclusion, KernelTitle, Unanswered
from runner.text import counted, plain, printable, some

_MENTIONS = 8
_NAMED = 6  # kernels of a list


def bisection_report(done: Bisection) -> RenderableType:
    """Each change with its evidence, and what else must be known to trust it."""
    says = f": {plain(done.question.says)}" if done.question.says else ""
    parts: list[RenderableType] = [Text(f"{plain(done.question.target)}{says}\n{how(done)}")]
    found = done.found
    if found is None:
        return Trimmed(Group(*parts, Text("not finished: the same command resumes it")))
    if len(found.changes) > 1:
        parts += [Text(), *_all_changes(done)]
    for change in found.changes:
        parts += [Text(), *_change(change)]
    if done.repository:
        parts += [Text(), Text("tested:", "bold"), _tested(done)]
    if lines := [Text(line) for line in remarks(done)]:
        parts += [Text(), *lines]
    return Trimmed(Group(*parts))


def how(done: Bisection) -> str:
    """What it took: candidates, rounds, boots."""
    if done.repository:
        took = f"{counted(len(done.candidates), 'commit')} of {plain(done.repository)} tested"
        return f"{took} on {done.candidates[0].arch}; {counted(done.boots, 'boot')}"
    first, last = done.candidates[0], done.candidates[-1]
    span = first.title if first == last else f"{first.title} to {last.title}"
    if done.every:
        span = f"every build of {first.version}"
    known = len({reply.candidate for reply in done.replies if not reply.fresh})
    boots = (
        f"{counted(done.boots, 'boot')} in {counted(done.rounds, 'round')}, {counted(done.slots, 'concurrent guest')}"
    )
    parts = [f"{counted(len(done.candidates), 'kernel')}: {span}", boots]
    return "; ".join([*parts, *([f"{known} known from the store"] if known else [])])


def summary(done: Bisection) -> str:
    """What was found, in a line."""
    found = done.found
    if found is None:
        return "not finished"
    if not found.answers:
        return "no kernel answered"
    main = found.main
    if main is None and found.possible:
        return f"one of {len(found.possible)} commits: {', '.join(it.title for it in found.possible)}"
    if main is None:
        issues = "".join(f"; known issue {it.issue.id}" for it in found.known_issues)
        return f"no change seen: {plain(next(iter(found.answers)))}{issues}"
    if main.differs == "commit":
        return f"first bad commit: {described(main.first_bad)}{found.doubt and f'; in doubt: {found.doubt}'}"
    word = "differs between" if main.same_version else "changed between"
    words = f"{word} {main.last_good.title} and {main.first_bad.title}"
    issue = main.first_bad.known_issue or main.last_good.known_issue
    known = f": known issue {issue}" if main.explained and issue else ""
    more = f"; {len(found.changes)} changes in all" if len(found.changes) > 1 else ""
    return f"{words}{known}{more}"


def described(it: KernelTitle) -> str:
    """A kernel's title; of a commit also its summary."""
    return f"{it.title} {plain(it.summary, 80)}".rstrip()


def _all_changes(done: Bisection) -> Iterator[RenderableType]:
    found = done.found
    changes = found.changes if found else ()
    back = "" if done.every or (found and found.monotonic) else ", and an answer came back that had gone"
    yield Text(f"{counted(len(changes), 'change')}{back}:", "bold")
    rows = []
    for change in changes:
        old, new = change.last_good, change.first_bad
        notes = [f"same version, another {change.differs}"] if change.same_version else []
        notes += [f"known issue {new.known_issue or old.known_issue}"] if change.explained else []
        rows.append((old.title, new.title, f"{old.answer} -> {new.answer}", "; ".join(notes)))
    yield Trimmed(columns(rows), indent=2)


def _change(change: AnswerChange) -> Iterator[RenderableType]:
    old, new = change.last_good, change.first_bad
    sides = zip(labels(change), (old, new), strict=True)
    yield columns((Text(name, "bold"), described(it), it.answer, Text(confidence(it), "dim")) for name, it in sides)
    yield Text(what_differs(change), "dim")
    if issue := issue_words(change):
        yield Text(issue, "yellow")
    if change.between:
        yield Text(f"between them, without an answer: {_unanswered(change.between)}")
    yield Text()
    yield columns(evidence_rows(change), "", *labels(change))
    yield from (Text(line) for line in reasons(change))
    if declared := declared_difference(change):
        yield Text("declared as:")
        yield from (Text(f"  {line}", {"-": "red", "+": "green"}.get(line[:1], "")) for line in declared)
    if at := change.log_difference:
        yield Text(f"verifier log, first difference in line {at.line}:")
        yield Text(f"  - {plain(at.before)}", "red")
        yield Text(f"  + {plain(at.after)}", "green")
    if sources := list(_sources(change)):
        yield Text()
        yield from sources
    yield Text()
    yield from (whole(f"$ {command}") for command in commands(change))


def confidence(side: ChangeEnd) -> str:
    """`2 of 2 boots agree`."""
    words = f"{side.agree} of {counted(side.boots, 'boot')} {'agrees' if side.agree == 1 else 'agree'}"
    return words if side.confirmed else f"{words}; not confirmed"


def labels(change: AnswerChange) -> tuple[str, str]:
    """Builds of one version have no order, so that none of them is the last or the first."""
    return ("one build", "another") if change.same_version else ("last good", "first bad")


def what_differs(change: AnswerChange) -> str:
    """Is it the version, or the build of one version?"""
    if change.same_version:
        return f"same version, different answers: a difference of builds (another {change.differs}), not of versions"
    return "good is how the older kernel answers, bad how the newer one does"


def reasons(change: AnswerChange) -> list[str]:
    """Why the verifier refuses, where not both have a log that can be compared with the other."""
    if change.log_difference:
        return []
    sides = (change.last_good, change.first_bad)
    return [f"the verifier on {side.title}: {plain(side.reason)}" for side in sides if side.reason]


def issue_words(change: AnswerChange) -> str:
    """Which known issue one of the two shows; empty when none does. The remarks describe it."""
    sides = (change.last_good, change.first_bad)
    return "; ".join(f"{side.title} shows the known issue {side.known_issue}" for side in sides if side.known_issue)


def declared_difference(change: AnswerChange) -> list[str]:
    """The lines of C of both kernels, `- ` before what only the first has, `+ ` before what only the second has."""
    old, new = (list(map(printable, side.declared)) for side in (change.last_good, change.first_bad))
    if not (old or new):
        return []
    if not (old and new):
        return [*(old or new), f"(on {change.last_good.title if old else change.first_bad.title}; the other told none)"]
    lines = [line.rstrip() for line in ndiff(old, new) if not line.startswith("?")]
    return lines if old != new else [old[0], "(the same on both)"]


def evidence_rows(change: AnswerChange) -> Iterator[tuple[str, str, str]]:
    """The two observations side by side: what is it, of the last good, of the first bad."""
    old, new = change.last_good, change.first_bad
    if old.release or new.release:  # of a commit there is none
        yield "release", old.release or "-", new.release or "-"
    yield "probe", plain(old.probe) or "-", plain(new.probe) or "-"
    named = f"{old.answer} {new.answer}".replace(",", " ").split()
    for name in dict.fromkeys((*old.evidence, *new.evidence)):
        pair = plain(old.evidence.get(name, "-")), plain(new.evidence.get(name, "-"))
        if name == "load" or name in named or pair[0] != pair[1]:
            yield plain(name), *pair
    for name, (before, after) in change.config_differences.items():
        yield f"CONFIG_{name}", before, after


def commands(change: AnswerChange) -> list[str]:
    """What shows it: the raw answers, then what boots both kernels once more."""
    old, new = change.last_good, change.first_bad
    return [command for command in (old.show, new.show, old.repeat, new.repeat) if command]


def _sources(change: AnswerChange) -> Iterator[Text]:
    if change.git_range:
        yield Text(f"{'' if change.differs == 'commit' else 'upstream: '}git log {change.git_range}")
    if change.changelog:
        yield Text("in the distribution's changelog between the two, about this, BPF or netfilter:")
        for mention in change.changelog[:_MENTIONS]:
            yield Text(f"  {mention.upstream or mention.build:<10} {plain(mention.text)}")
        if len(change.changelog) > _MENTIONS:
            yield Text(f"  and {len(change.changelog) - _MENTIONS} more, with --format json")
    if change.changelog_note:
        yield Text(f"the distribution's changelog: {plain(change.changelog_note)}")


def _tested(done: Bisection) -> RenderableType:
    """Every commit that was tested, the oldest first."""
    last = {reply.candidate: reply for reply in done.replies}
    rows = []
    for it in done.candidates:
        reply = last[it.key]
        took = "booted" if reply.fresh and reply.cell else "the same kernel as another" if reply.cell else "not booted"
        rows.append((described(it), Text(took, "dim"), plain(reply.answer or reply.cause, 100)))
    return Trimmed(columns(rows), indent=2)


def remarks(done: Bisection) -> Iterator[str]:
    """What else must be known to trust the result."""
    found = done.found
    if found is None:
        return
    yield from _what_it_came_to(done, found)
    if found.doubt:
        yield f"in doubt: {found.doubt}"
    for known in found.known_issues:
        issue, where = known.issue, some(known.kernels, _NAMED)
        yield f"known issue {issue.id}, on {where}: {plain(issue.what)} {plain(issue.reason)} See {plain(issue.link)}"
    if found.sampled:
        were = "was" if found.sampled == 1 else "were"
        yield f"outside of every change {counted(found.sampled, 'further kernel')} {were} sampled"
    if found.wavering:
        yield f"answered in more than one way: {some(found.wavering, _NAMED)}"
    if found.unanswered:
        yield f"without an answer: {_unanswered(found.unanswered)}"


def _what_it_came_to(done: Bisection, found: Conclusion) -> Iterator[str]:
    if not found.answers:
        yield "no kernel answered, so nothing is known"
    elif found.possible:
        yield "the commits between have no answer; each of these may be the first bad one:"
        yield from (f"  {described(it)}" for it in found.possible)
    elif not found.changes:
        answer, kernels = next(iter(found.answers.items()))
        yield f"no change seen: {plain(answer)} on {some(kernels, _NAMED)}"
    elif done.every:
        for answer, kernels in found.answers.items():
            yield f"{counted(len(kernels), 'kernel')}, {plain(answer)}: {some(kernels, _NAMED)}"


def _unanswered(kernels: Sequence[Unanswered]) -> str:
    return some([f"{it.title}: {plain(it.cause, 100)}" for it in kernels], _NAMED, "; ")
