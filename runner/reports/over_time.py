"""Availability over every kernel that was ever run: since when, where, and what is not as one would expect."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runner.probes.kinds import KINDS
from runner.reports.drawing import Hanging, Trimmed, state_words, whole
from runner.reports.findings import alike, merged, show_command
from runner.reports.grid import head
from runner.results.stories import Event, EventKind, Overview, Segment, Since, Story
from runner.text import counted, plain

_CAUSE_WIDTH = 140
_NAMED = 12  # kernels


def over_time_report(overview: Overview) -> RenderableType:
    """For the terminal."""
    if not overview.stories:
        return Text("Nothing is known of that: no kernel was asked.")
    subject = head(story.topic for story in overview.stories)
    heads = (subject, "type", "architecture", "available since", "every kernel measured")
    table = Table(*heads, box=None, pad_edge=False)
    styles = {each.word: each.mark.style for each in state_words(KINDS)}
    # architectures that tell the same story, by version, share a line
    for same in alike(overview.stories, lambda it: (it.topic, since_words(it), *map(segment_words, it.segments))):
        story, archs = same[0], ", ".join(it.arch for it in same)
        spans = Text(", ").join(Text(segment_words(it), styles[it.state]) for it in story.segments)
        table.add_row(story.topic.subject, story.topic.type, archs, since_words(story), spans)
    parts: list[RenderableType] = [*(Hanging("", line) for line in measured_lines(overview)), Text(), Trimmed(table)]
    if overview.other_types:
        parts += [Text(), Text(f"--type shows what else was asked: {', '.join(overview.other_types)}", "dim")]
    if overview.events:
        parts += [Text(), Text("Not as one would expect", "bold")]
        for events in _same(overview.events):
            parts += event_lines(*events)
    return Group(*parts)


def over_time_document(overview: Overview) -> dict[str, object]:
    """The same for scripts. Fields are added, never renamed."""
    return {
        "schema": 1,
        "kernels": [
            {"version": str(it.build), "release": it.build.release, "arch": it.build.arch, "sha256": it.build.sha256,
             "runs": [each.run for each in it.measured]}
            for it in overview.builds
        ],
        "availability": [_story_document(story) for story in overview.stories],
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
    }  # fmt: skip


def measured_lines(overview: Overview) -> Iterator[str]:
    """What all of this rests on."""
    for arch, group in groupby(overview.builds, key=lambda it: it.build.arch):
        known = list(group)
        names = (
            ", ".join(str(it.build) for it in known) if len(known) <= 12 else f"{known[0].build} … {known[-1].build}"
        )
        boots = sum(len(it.measured) for it in known)
        yield f"{arch}: {counted(len(known), 'kernel')}, {counted(boots, 'boot')}: {names}"


def since_words(story: Story) -> str:
    """Since when it is available: `6.1.192 or earlier`; `after 6.1.192, by 6.12.117`."""
    if not story.segments:
        return "no answer"
    if not story.since:
        return "on no kernel"
    return "; ".join(_point(point) for point in story.since)


def segment_words(segment: Segment) -> str:
    """`usable in 6.1.192 to 6.12.117 (2 kernels)`"""
    if segment.kernels == 1:
        return f"{segment.state} in {segment.first}"
    return f"{segment.state} in {segment.first} to {segment.last} ({segment.kernels} kernels)"


def event_lines(event: Event, *others: Event) -> Iterator[RenderableType]:
    """What happened, then the evidence, indented. `others` are the same for other program types or architectures."""
    every = (event, *others)
    what = f"{event.topic.subject} ({', '.join(dict.fromkeys(it.topic.type for it in every))})"
    archs = ", ".join(dict.fromkeys(it.answers[-1][1].build.arch for it in every))
    (first, old), (last, new) = event.answers[0], event.answers[-1]
    if event.kind is EventKind.LESS:
        less = f"{first.state} in {old.build}, {last.state} in {new.build}; {_between(event)}"
        yield Hanging("  ", f"{what} {archs}: {less}")
    elif event.kind is EventKind.ARCHITECTURES:
        said = ", ".join(f"{state.state} on {seen.build.arch}" for state, seen in event.answers)
        yield Hanging("  ", f"{what}: {said}, with {new.build}")
    else:
        said = ", then ".join(f"{state.state} in run {seen.run}" for state, seen in event.answers)
        yield Hanging("  ", f"{what} {new.build.arch}: the same build of {new.build} was {said}")
    for state, seen in event.answers:
        if state.cause:
            cause = f"{state.state}: {plain(state.cause, _CAUSE_WIDTH)}"
            yield Hanging(f"    {seen.build} {seen.build.arch} ", cause, "dim")
    for _, seen in event.answers if event.kind is not EventKind.LESS else event.answers[1:]:
        yield whole(f"    {show_command(seen.cell.id, run_id=seen.run, every=True)}", "dim")


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


def _story_document(story: Story) -> dict[str, object]:
    return {
        "kfunc": story.topic.subject,
        "prog_type": story.topic.type,
        "arch": story.arch,
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
