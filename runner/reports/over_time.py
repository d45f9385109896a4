# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Answers over all stored runs: since when a subject is available and what is odd about it; and the history of one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from runner import __version__
from runner.model import StructLayout, layout_lines
from runner.probes.kinds import KINDS
from runner.reports.drawing import Trimmed, columns, entry, state_words
from runner.reports.findings import alike, by_arch, merged, show_command
from runner.reports.table import head
from runner.results.history import FeatureFacts, KfuncFacts, Signature, Turn
from runner.results.stories import Event, EventKind, Overview, Segment, Since, Story
from runner.text import counted, plain, printable, some

_WIDTH = 140
_NOT_RECORDED = "not recorded"
_NAMED = 12  # kernels
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def over_time_report(overview: Overview) -> RenderableType:
    """For the terminal."""
    if not overview.stories:
        return Text("Nothing is known of that: no kernel was asked.")
    rows = []
    styles = {each.word: each.mark.style for each in state_words(KINDS)}
    # architectures that tell the same story, by version, share a line
    for same in alike(overview.stories, lambda it: (it.topic, since_words(it), *map(segment_words, it.segments))):
        story, archs = same[0], ", ".join(it.arch for it in same)
        spans = Text(", ").join(Text(segment_words(it), styles[it.state]) for it in story.segments)
        rows.append((story.topic.subject, story.topic.type, archs, since_words(story), spans))
    subject = head(story.topic for story in overview.stories)
    table = columns(rows, subject, "type", "architecture", "available since", "every kernel measured")
    parts: list[RenderableType] = [*map(Text, measured_lines(overview)), Text(), table]
    if overview.vendors:
        releases = ", ".join(plain(build.release) for build in overview.vendors)
        parts += [Text(), Text(f"not counted, {overview.vendors[0].vendor.note}: {releases}", "dim")]
    if overview.other_types:
        parts += [Text(), Text(f"--type shows what else was asked: {', '.join(overview.other_types)}", "dim")]
    if overview.events:
        parts += [Text(), Text("Not as one would expect", "bold"), *map(_event, _same(overview.events))]
    return Trimmed(Group(*parts))


def over_time_document(
    overview: Overview,
    facts: Mapping[str, KfuncFacts],
    beside: Sequence[Story] = (),
    features: Mapping[str, FeatureFacts] | None = None,
) -> dict[str, object]:
    """The same for scripts, with what else is known of each kfunc, and what was asked `beside` them, with the facts
    about these. Fields are added, never renamed."""
    return {
        "schema": 1,
        "runner": __version__,
        "measured": f"{max((it.started for known in overview.builds for it in known.measured), default=_NEVER):%F}",
        "kernels": [
            {"version": str(it.build), "release": it.build.release, "arch": it.build.arch, "sha256": it.build.sha256,
             "runs": [each.run for each in it.measured]}
            for it in overview.builds
        ],
        "availability": [
            {"kfunc": it.topic.subject, "prog_type": it.topic.type, "arch": it.arch, **_told(it)}
            for it in overview.stories
        ],
        "events": [
            {"kind": event.kind, "kfunc": event.topic.subject, "prog_type": event.topic.type,
             "between": [str(build) for build in event.between],
             "answers": [
                 {"state": state.state, "cause": plain(state.cause), "kernel": str(seen.build),
                  "arch": seen.build.arch, "run": seen.run, "cell": seen.cell.id,
                  "command": show_command(seen.cell.id, run_id=seen.run, every=True)}
                 for state, seen in event.answers
             ]}
            for event in overview.events
        ],
        "kfuncs": {name: it.model_dump(mode="json") for name, it in facts.items()},
        "features": [
            {"feature": mine[0].topic.subject, **(features or {})[mine[0].topic.subject].model_dump(mode="json"),
             "stories": [
                 {"prog_type": same[0].topic.type, "archs": [it.arch for it in same], **_told(same[0])}
                 for same in alike(mine, lambda it: (it.topic, repr(_told(it))))
             ]}
            for mine in alike(beside, lambda it: it.topic.subject)
        ],
    }  # fmt: skip


def measured_lines(overview: Overview) -> Iterator[str]:
    """What all of this rests on."""
    for arch, group in groupby(overview.builds, key=lambda it: it.build.arch):
        known = list(group)
        names = [str(it.build) for it in known]
        boots = sum(len(it.measured) for it in known)
        yield f"{arch}: {counted(len(known), 'kernel')}, {counted(boots, 'boot')}: {some(names, _NAMED)}"


def since_words(story: Story) -> str:
    """Since when it is available: `6.1.192 or earlier`; `after 6.1.192, by 6.12.117`."""
    if not story.segments:
        return "no answer"
    if not story.since:
        return nowhere(bool(story.unanswered))
    return "; ".join(_point(point) for point in story.since)


def nowhere(unanswered: bool) -> str:
    return "on no kernel that answered" if unanswered else "on no kernel"


def segment_words(segment: Segment) -> str:
    """`usable in 6.1.192 to 6.12.117 (2 kernels)`"""
    if segment.kernels == 1:
        return f"{segment.state} in {segment.first}"
    return f"{segment.state} in {segment.first} to {segment.last} ({segment.kernels} kernels)"


def _event(group: Sequence[Event]) -> RenderableType:
    """What happened, for whichever program types and architectures, with the evidence."""
    event = group[0]
    what = f"{event.topic.subject} ({', '.join(dict.fromkeys(it.topic.type for it in group))})"
    archs = ", ".join(dict.fromkeys(it.answers[-1][1].build.arch for it in group))
    (first, old), (last, new) = event.answers[0], event.answers[-1]
    shown = event.answers
    if event.kind is EventKind.LESS:
        what += f" {archs}: {first.state} in {old.build}, {last.state} in {new.build}; {_between(event)}"
        shown = event.answers[1:]
    elif event.kind is EventKind.ARCHITECTURES:
        said = ", ".join(f"{state.state} on {seen.build.arch}" for state, seen in event.answers)
        what += f": {said}, with {new.build}"
    else:
        said = ", then ".join(f"{state.state} in run {seen.run}" for state, seen in event.answers)
        what += f" {new.build.arch}: the same build of {new.build} was {said}"
    causes = [
        (f"{seen.build} {seen.build.arch}", f"{state.state}: {plain(state.cause, _WIDTH)}")
        for state, seen in event.answers
        if state.cause
    ]
    return entry(what, causes, *(show_command(seen.cell.id, run_id=seen.run, every=True) for _, seen in shown))


def _same(events: Sequence[Event]) -> list[list[Event]]:
    """Events that differ in the program type only, or in the architecture."""
    topics = alike(
        events,
        lambda it: (
            *(it.kind, it.topic.subject, it.between),
            *((state.state, plain(state.cause), seen.build, seen.run) for state, seen in it.answers),
        ),
    )
    return merged(topics, _without_arch)


def _without_arch(group: list[Event]) -> Hashable:
    event = group[0]
    answers = tuple((state.state, plain(state.cause), str(seen.build)) for state, seen in event.answers)
    of = () if event.kind is EventKind.LESS else (*(it.build for _, it in event.answers), event.answers[0][1].run)
    return event.kind, tuple(it.topic for it in group), tuple(map(str, event.between)), answers, of


def _between(event: Event) -> str:
    (_, old), (_, new) = event.answers[0], event.answers[-1]
    if event.between:
        return f"no answer from {', '.join(map(str, event.between))} in between"
    if Since(old.build, new.build).exact:
        return "neighbours"
    return "nothing in between was measured"


def _point(point: Since) -> str:
    if point.after is None:
        return f"{point.by} or earlier"
    return str(point.by) if point.exact else f"after {point.after}, by {point.by}"


def _told(story: Story) -> dict[str, object]:
    return {
        "best": story.best,
        "since": [
            {"after": None if it.after is None else str(it.after), "by": str(it.by), "exact": it.exact}
            for it in story.since
        ],
        "segments": [
            {"state": it.state, "cause": plain(it.cause), "first": str(it.first), "last": str(it.last),
             "kernels": it.kernels}
            for it in story.segments
        ],
        "no_answer": [str(build) for build in story.unanswered],
    }  # fmt: skip


# --- one subject: every change of an answer, and how kernels declare it ----------------------------------------------


def history_report(kfunc: str, turns: Sequence[Turn], signatures: Sequence[Signature], runs: int) -> RenderableType:
    """For the terminal: first answers, each change with its evidence, and how the kernels declare it."""
    if not turns:
        return Text(f"No run has an answer about {kfunc}.")
    firsts = [turn for turn in turns if turn.before is None]
    changes = [turn for turn in turns if turn.before is not None]
    parts: list[RenderableType] = [
        Text(f"{kfunc}: {counted(len(changes), 'change')} in {counted(runs, 'run')}", "bold"),
        Text(),
    ]
    parts += [Text("First answers", "bold"), Trimmed(columns(_firsts(firsts), no_wrap=(0, 1)), indent=2)]
    if changes:
        parts += [Text(), Text("Changes", "bold")]  # of one cell in one run, those that say the same together
        together = alike(changes, lambda it: (it.new.run, it.new.cell.id, plain(it.before or ""), plain(it.after)))
        parts += map(_change, together)
    if signatures:
        parts += [Text(), Text("Declarations", "bold"), *_declarations(signatures)]
    return Trimmed(Group(*parts))


def history_document(
    kfunc: str, turns: Sequence[Turn], signatures: Sequence[Signature], runs: int
) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed. A prototype that is null was not recorded."""
    return {
        "schema": 1,
        "kfunc": kfunc,
        "runs": runs,
        "turns": [_turn_document(turn) for turn in turns],
        "signatures": [
            {"arch": it.arch, "kernels": [str(build) for build in it.builds], "object": it.owner,
             "prototype": it.prototype or None, "flags": list(it.flags),
             "layouts": [layout.model_dump() for layout in it.layouts]}
            for it in signatures
        ],
    }  # fmt: skip


def _firsts(turns: Sequence[Turn]) -> Iterator[tuple[str, str, Text]]:
    """A row for each answer and day, with the kernels that gave it."""
    for same in alike(turns, lambda it: (f"{it.when:%Y-%m-%d}", it.type, plain(it.after, _WIDTH))):
        words = Text(f"{plain(same[0].after, _WIDTH)}\n{by_arch(it.new.build for it in same)}")
        yield f"{same[0].when:%Y-%m-%d}", same[0].type, words


def _change(group: Sequence[Turn]) -> RenderableType:
    turn = group[0]
    assert turn.old is not None  # noqa: S101  a change has something before it
    what = ", ".join(each.probe or f"state ({each.type})" for each in group)
    other = turn.old.build != turn.new.build
    kernels = f"{turn.old.build} -> {turn.new.build}" if other else f"{turn.new.build} (the same build)"
    facts = [("before", plain(turn.before or "", _WIDTH)), ("after", plain(turn.after, _WIDTH))]
    if turn.unanswered:
        facts.append(("between", f"no answer in {counted(turn.unanswered, 'run')}"))
    commands = (show_command(seen.cell.id, turn.probe, seen.run, every=True) for seen in (turn.old, turn.new))
    return entry(f"{turn.when:%Y-%m-%d %H:%M}  {kernels} {turn.new.build.arch}  {plain(what)}", facts, *commands)


def _turn_document(turn: Turn) -> dict[str, object]:
    return {
        "when": turn.when.isoformat(),
        "prog_type": turn.type,
        "probe": turn.probe,
        "arch": turn.new.build.arch,
        "before": None if turn.before is None else plain(turn.before),
        "after": plain(turn.after),
        "kernel": {"before": None if turn.old is None else str(turn.old.build), "after": str(turn.new.build)},
        "run": {"before": None if turn.old is None else turn.old.run, "after": turn.new.run},
        "cell": {"before": None if turn.old is None else turn.old.cell.id, "after": turn.new.cell.id},
        "unanswered": turn.unanswered,
        "command": show_command(turn.new.cell.id, turn.probe, turn.new.run, every=True),
    }


def _declarations(found: Sequence[Signature]) -> Iterator[RenderableType]:
    """Each with the kernels that share it."""
    for same in alike(found, lambda it: (it.prototype, it.flags, it.layouts, it.owner)):
        kernels = spans((it.arch, str(it.builds[0]), str(it.builds[-1])) for it in same)
        yield declaration(kernels, same[0].owner, same[0].prototype, same[0].flags, same[0].layouts)


def declaration(
    kernels: str, owner: str, prototype: str, flags: Iterable[str], layouts: Iterable[StructLayout]
) -> RenderableType:
    """How `kernels` declare a kfunc, which is in `owner`. An empty prototype was not recorded."""
    words = ", ".join(map(plain, flags)) or ("none shown" if prototype else _NOT_RECORDED)
    facts = [("prototype", plain(prototype) or _NOT_RECORDED), ("flags", words)]
    lines = (printable(line) for layout in layouts for line in layout_lines(layout))
    return entry(f"{kernels}  in {plain(owner)}", facts, *lines)


def spans(kernels: Iterable[tuple[str, str, str]]) -> str:
    """`6.1.192 to 7.3.4 (x86_64, arm64)` of an architecture, its first and its last kernel."""
    same = alike(kernels, lambda it: it[1:])
    named = ((group[0][1], group[0][2], ", ".join(arch for arch, *_ in group)) for group in same)
    return "; ".join(f"{first if first == last else f'{first} to {last}'} ({archs})" for first, last, archs in named)
