"""What a bisection found, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.model.errnos import errno_words
from runner.reports.drawing import Trimmed, whole
from runner.reports.layouts import layout_difference
from runner.results.bisections import Answered, Bisection, Change, Unanswered
from runner.text import counted, plain

_MENTIONS = 8
_NAMED = 6  # kernels in a list, before it says how many more


def bisection_report(bisection: Bisection) -> RenderableType:
    """`bisection.found` is there."""
    parts: list[RenderableType] = [_head(bisection)]
    found = bisection.found
    if found is None:
        return Trimmed(Group(*parts, Text("not finished: the same command goes on")))
    if len(found.changes) > 1:
        parts += [Text(), *_all_changes(bisection)]
    for change in found.changes:
        parts += [Text(), *_change(change)]
    if lines := [Text(line) for line in remarks(bisection)]:
        parts += [Text(), *lines]
    return Trimmed(Group(*parts))


def _head(bisection: Bisection) -> Text:
    says = f": {plain(bisection.question.says)}" if bisection.question.says else ""
    return Text(f"{plain(bisection.question.target)}{says}\n{how(bisection)}")


def how(bisection: Bisection) -> str:
    """What it took: candidates, rounds, boots."""
    first, last = bisection.candidates[0], bisection.candidates[-1]
    span = first.title if first == last else f"{first.title} to {last.title}"
    if bisection.every:
        span = f"every build of {first.version}"
    known = len({reply.candidate for reply in bisection.replies if not reply.fresh})
    parts = [
        f"{_count(len(bisection.candidates), 'kernel')}: {span}",
        f"{_count(bisection.boots, 'boot')} in {_count(bisection.rounds, 'round')}, {bisection.slots} at once",
    ]
    parts += [f"{known} known from the store"] if known else []
    return "; ".join(parts)


def summary(bisection: Bisection) -> str:
    """What was found, in a line."""
    found = bisection.found
    if found is None:
        return "not finished"
    if not found.answers:
        return "no kernel answered"
    main = found.main
    if main is None:
        issues = "".join(f"; known issue {it.issue.id}" for it in found.known_issues)
        return f"no change seen: {plain(next(iter(found.answers)))}{issues}"
    how = "differs between" if main.same_version else "changed between"
    words = f"{how} {main.last_good.title} and {main.first_bad.title}"
    issue = main.first_bad.known_issue or main.last_good.known_issue
    known = f": known issue {issue}" if main.explained and issue else ""
    more = f"; {len(found.changes)} changes in all" if len(found.changes) > 1 else ""
    return f"{words}{known}{more}"


def _all_changes(bisection: Bisection) -> Iterator[RenderableType]:
    found = bisection.found
    changes = found.changes if found else ()
    back = "" if bisection.every or (found and found.monotonic) else ", and an answer came back that had gone"
    yield Text(f"{counted(len(changes), 'change')}{back}:", "bold")
    table = Table.grid(padding=(0, 2))
    for change in changes:
        old, new = change.last_good, change.first_bad
        notes = [f"same version, another {change.differs}"] if change.same_version else []
        notes += [f"known issue {new.known_issue or old.known_issue}"] if change.explained else []
        answers = Text(f"{plain(old.answer)} -> {plain(new.answer)}")
        table.add_row(f"  {old.title}", new.title, answers, "; ".join(notes))
    yield table


def _change(change: Change) -> Iterator[RenderableType]:
    old, new = change.last_good, change.first_bad
    table = Table.grid(padding=(0, 2))
    for name, side in zip(labels(change), (old, new), strict=True):
        table.add_row(Text(name, "bold"), side.title, Text(plain(side.answer)), Text(confidence(side), "dim"))
    yield table
    yield Text(what_differs(change), "dim")
    if issue := issue_words(change):
        yield Text(issue, "yellow")
    if change.between:
        yield Text(f"between them, without an answer: {_unanswered(change.between)}")
    yield Text()
    yield _side_by_side(change)
    yield from (Text(line) for line in reasons(change))
    if prototypes := [plain(side.prototype) or "unknown" for side in (old, new) if old.prototype or new.prototype]:
        if old.prototype == new.prototype:
            yield Text(f"prototype, the same on both: {prototypes[0]}")
        else:
            yield from _lines("prototype:", *prototypes)
    for it in change.layout_differences:
        yield Text(f"struct {plain(it.name)} is laid out differently (offset, bytes, member):")
        yield from (_coloured(line) for line in layout_difference(it))
    if at := change.log_difference:
        yield from _lines(f"verifier log, first difference in line {at.line}:", at.before, at.after)
    if sources := list(_sources(change)):
        yield Text()
        yield from sources
    yield Text()
    for command in (old.show, new.show, old.again, new.again):
        yield whole(f"$ {command}")


def _coloured(line: str) -> Text:
    return Text(f"  {line}", {"-": "red", "+": "green"}.get(line[:1], ""))


def _lines(title: str, before: str, after: str) -> Iterator[Text]:
    yield Text(title)
    yield Text(f"  - {plain(before)}", "red")
    yield Text(f"  + {plain(after)}", "green")


def confidence(side: Answered) -> str:
    """`2 of 2 boots agree`."""
    words = f"{side.agree} of {_count(side.boots, 'boot')} {'agrees' if side.agree == 1 else 'agree'}"
    return words if side.confirmed else f"{words}; not confirmed"


def labels(change: Change) -> tuple[str, str]:
    """Builds of one version have no order, so that none of them is the last or the first."""
    return ("one build", "another") if change.same_version else ("last good", "first bad")


def what_differs(change: Change) -> str:
    """Is it the version, or the build of one version?"""
    if not change.same_version:
        return "good is how the older kernel answers, bad how the newer one does"
    return f"same version, different answers: a difference of builds (another {change.differs}), not of versions"


def reasons(change: Change) -> list[str]:
    """Why the verifier refuses, where not both have a log that can be held against the other."""
    if change.log_difference:
        return []
    sides = (change.last_good, change.first_bad)
    return [f"the verifier on {side.title}: {plain(side.reason)}" for side in sides if side.reason]


def issue_words(change: Change) -> str:
    """Which known issue one of the two shows; empty when none does. What it is stands in the remarks."""
    sides = (change.last_good, change.first_bad)
    return "; ".join(f"{side.title} shows the known issue {side.known_issue}" for side in sides if side.known_issue)


def evidence_rows(change: Change) -> Iterator[tuple[str, str, str]]:
    """The two observations side by side: what is it, of the last good, of the first bad."""
    old, new = change.last_good, change.first_bad
    yield "release", old.release, new.release
    yield "asked with", plain(old.probe) or "the census", plain(new.probe) or "the census"
    yield "load", errno_words(old.errno, "accepted"), errno_words(new.errno, "accepted")
    if old.run_errno is not None or new.run_errno is not None:
        yield "run", errno_words(old.run_errno, "it ran"), errno_words(new.run_errno, "it ran")
    named = f"{old.answer} {new.answer}".replace(",", " ").split()
    for name in dict.fromkeys((*old.fields, *new.fields)):
        pair = _number(old, name), _number(new, name)
        both = name in old.fields and name in new.fields
        if (both and pair[0] != pair[1]) or name in named:
            yield plain(name), *pair
    for name, (before, after) in change.config_differences.items():
        yield f"CONFIG_{name}", before, after


def _side_by_side(change: Change) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    table.add_row("", *(Text(label, "bold") for label in labels(change)))
    for name, *cells in evidence_rows(change):
        table.add_row(Text(name), *(Text(cell) for cell in cells))
    return table


def _sources(change: Change) -> Iterator[Text]:
    if change.stable_range:
        yield Text(f"upstream: git log {change.stable_range}")
    if change.changelog:
        count = _count(len(change.changelog), "line")
        yield Text(f"the distribution's changelog between the two: {count} about BPF, netfilter or the kfunc's file,")
        yield Text("first those that are most like the question:")
        for mention in change.changelog[:_MENTIONS]:
            yield Text(f"  {mention.upstream or mention.build:<10} {plain(mention.text)}")
        if len(change.changelog) > _MENTIONS:
            yield Text(f"  and {len(change.changelog) - _MENTIONS} more, with --format json")
    elif change.changelog_note:
        yield Text(f"the distribution's changelog: {plain(change.changelog_note)}")


def remarks(bisection: Bisection) -> Iterator[str]:
    """What else must be known to trust the result."""
    found = bisection.found
    if found is None:
        return
    if not found.answers:
        yield "no kernel answered, so nothing is known"
    elif not found.changes:
        answer, some = next(iter(found.answers.items()))
        yield f"no change seen: {plain(answer)} on {_list(some)}"
    elif bisection.every:
        for answer, some in found.answers.items():
            yield f"{_count(len(some), 'kernel')}, {plain(answer)}: {_list(some)}"
    for known in found.known_issues:
        issue, where = known.issue, _list(known.kernels)
        yield f"known issue {issue.id}, on {where}: {plain(issue.what)} {plain(issue.reason)} See {plain(issue.link)}"
    if found.sampled:
        yield f"outside of every change {_count(found.sampled, 'further kernel')} {_were(found.sampled)} sampled"
    if found.wavering:
        yield f"answered in more than one way: {_list(found.wavering)}"
    if found.unanswered:
        yield f"without an answer: {_unanswered(found.unanswered)}"


def _unanswered(some: Sequence[Unanswered]) -> str:
    words = [f"{it.title}: {plain(it.cause, 100)}" for it in some[:_NAMED]]
    more = [f"{len(some) - _NAMED} more"] if len(some) > _NAMED else []
    return "; ".join([*words, *more])


def _list(names: Iterable[str]) -> str:
    some = list(names)
    more = [f"{len(some) - _NAMED} more"] if len(some) > _NAMED else []
    return ", ".join([*some[:_NAMED], *more])


def _number(side: Answered, name: str) -> str:
    if name not in side.fields:
        return "-"
    number = str(side.fields[name])
    words = side.words.get(name, number)
    return number if words == number else f"{number} ({plain(words)})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
