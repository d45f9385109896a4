# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run has to tell: what is broken and what has no answer, grouped so that one cause is one finding."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, cached_property, lru_cache, partial
from typing import TypeVar

from runner.model import NO_ANSWER, Build, KnownIssue, Outcome, Row, Verdict
from runner.probes.kinds import KINDS
from runner.results.availability import Availability, places
from runner.results.model import JudgedCell, JudgedRun, of_rows
from runner.text import plain, some

_Item = TypeVar("_Item")
_PROBES = 4  # named in one finding
_KERNELS = 8
_LINES = 12  # of a splat


class About(StrEnum):
    """What a finding is about, in the order in which they matter."""

    CRASHED = "crashed the kernel"
    BOOT_FAILED = "did not boot"
    SPLAT = "reported by the kernel"
    BROKEN = "broken"
    KNOWN = "known issue"
    GONE = "known issue that is gone"
    CELL = "cell without an answer"
    STUCK = "stuck"
    NO_ANSWER = "no answer"


WRONG = frozenset({About.CRASHED, About.BOOT_FAILED, About.SPLAT, About.BROKEN})  # exit status 1


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` happened, `where`, the `details` (word, text), and the command that shows the evidence."""

    about: About
    what: str
    where: str
    details: tuple[tuple[str, str], ...]
    command: str
    kind: str = ""  # of the probe, where it is about one


def findings(grid: Availability, issues: Iterable[KnownIssue] = (), run_id: str = "") -> tuple[Finding, ...]:
    """Empty when everything was answered as expected. All texts are plain. `issues` are the run's.

    The commands look at the last run, or at `run_id`.
    """
    cells = [column.cell for column in grid.columns]
    found = [*_known(grid, cells, issues, run_id)]
    words = cache(partial(places, grid))  # many findings are about the same cells
    for group in alike(((cell, it) for cell in cells for it in _seen(cell)), lambda each: each[1].key):
        cell, first = group[0]
        command = show_command(cell.id, first.probe, run_id, every=first.about is About.NO_ANSWER)
        where = words(frozenset(cell.id for cell, _ in group))
        found.append(Finding(first.about, first.what, where, first.details, command, first.kind))
    together = (_of_types(group) for group in alike(found, lambda it: (it.about, _stem(it), it.where, it.details)))
    return tuple(sorted(together, key=lambda finding: list(About).index(finding.about)))


def _stem(it: Finding) -> str:
    """Without the type of a probe that is broken."""
    return it.what.partition(":")[0] if it.about is About.BROKEN else it.what


def _of_types(group: Sequence[Finding]) -> Finding:
    """One for probes that differ in the type alone: `alloc-tcp:tc, xdp`."""
    types = ", ".join(dict.fromkeys(it.what.partition(":")[2] for it in group))
    return replace(group[0], what=f"{_stem(group[0])}:{types}") if len(group) > 1 else group[0]


def show_command(cell_id: str, probe: str = "", run_id: str = "", *, every: bool = False) -> str:
    """The command that shows a cell, with `every` subject that it was asked about, or one probe's raw answer in it.

    Of the last run, when none is named.
    """
    command = ["runner", "cell", "show", cell_id]
    command += ["--probe", plain(probe)] if probe else []
    command += ["--run", run_id] if run_id else []
    command += ["--all"] if every and not probe else []
    return shlex.join(command)


def alike(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """The items with equal keys together, in the order of the first of each."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def merged(groups: Iterable[list[_Item]], key: Callable[[list[_Item]], Hashable]) -> list[list[_Item]]:
    """The groups with equal keys as one."""
    return [[item for group in same for item in group] for same in alike(groups, key)]


def listed(names: Iterable[str], most: int) -> str:
    """`7: a, b, c and 4 more`; the number only where names are left out."""
    every = list(dict.fromkeys(names))
    return (f"{len(every)}: " if len(every) > most else "") + some(every, most)


def by_arch(builds: Iterable[Build]) -> str:
    """`6.1.192, 6.12.117 (x86_64, arm64)`"""
    archs = ((group[0].arch, listed(map(str, group), _KERNELS)) for group in alike(builds, lambda it: it.arch))
    same = alike(archs, lambda it: it[1])
    return "; ".join(f"{group[0][1]} ({', '.join(arch for arch, _ in group)})" for group in same)


@dataclass(frozen=True)
class _Seen:
    """A finding in one cell; `probe` shows the evidence, without one the whole cell does."""

    about: About
    what: str
    details: tuple[tuple[str, str], ...] = ()
    probe: str = ""
    kind: str = ""

    @cached_property
    def key(self) -> Hashable:
        """Equal in cells that share the finding. The trace of a splat has addresses."""
        return self.about, self.what, tuple(each for each in self.details if each[0] != "trace")


def _seen(cell: JudgedCell) -> Iterator[_Seen]:
    """A cell that did not run is one, not one per probe."""
    result = cell.result
    if result.outcome is not Outcome.RAN:
        about = About.BOOT_FAILED if result.outcome is Outcome.BOOT_FAILED else About.CELL
        yield _Seen(about, str(result.outcome), (("cause", plain(result.cause) or "not recorded"),))
    told = _crashed(cell.rows)
    yield from (_Seen(About.CRASHED, plain(probe)) for probe in result.crashed if probe not in told)
    for splat in (splat for splat in cell.splats if not splat.known_issue):
        trace = [plain(line) for line in splat.lines if plain(line) != plain(splat.text)][:_LINES]
        details = (("while", plain(splat.probe) or "no probe was asked"), ("trace", " / ".join(trace)))
        yield _Seen(About.SPLAT if splat.blames_kernel else About.STUCK, plain(splat.title), details)
    yield from _wrong(cell.rows)
    if result.outcome is Outcome.RAN:
        yield from _unanswered(cell.rows)


@of_rows
def _crashed(rows: tuple[Row, ...]) -> frozenset[str]:
    return frozenset(row.probe for row in rows if row.crashed)


_shared = lru_cache(maxsize=1 << 14)(_Seen)  # many kernels do the same wrong


@of_rows
def _wrong(rows: tuple[Row, ...]) -> tuple[_Seen, ...]:
    return tuple(
        _shared(
            About.CRASHED if row.crashed else About.BROKEN,
            plain(row.probe),
            (("expected", plain(row.expected)), ("observed", plain(row.observed))),
            row.probe,
            row.kind,
        )
        for row in rows
        if row.crashed or _is_unexplained(row)
    )


@of_rows
def _unanswered(rows: tuple[Row, ...]) -> tuple[_Seen, ...]:
    """The probes, then the subjects, of one cause together."""
    found = []
    probes = (row for row in rows if row.verdict is Verdict.NO_ANSWER and not row.crashed)
    for same in alike(probes, lambda row: plain(row.cause)):
        what, cause = listed((plain(row.probe) for row in same), _PROBES), plain(same[0].cause) or "not recorded"
        found.append(_Seen(About.NO_ANSWER, what, (("cause", cause),), same[0].probe, same[0].kind))
    for same in alike(_open_subjects(rows), subject_cause):
        what, cause = listed(map(named, same), _PROBES), subject_cause(same[0]) or "not recorded"
        found.append(_Seen(About.NO_ANSWER, what, (("cause", cause),)))
    return tuple(found)


def _known(
    grid: Availability, cells: Sequence[JudgedCell], issues: Iterable[KnownIssue], run_id: str
) -> Iterator[Finding]:
    """One finding per issue: what it explains, or that it is gone."""
    for issue in issues:
        explains = [(cell, probe) for cell in cells for probe in _explained(cell.rows).get(issue.id, ())]
        allows = [(cell, it.probe) for cell in cells for it in cell.splats if it.known_issue == issue.id]
        details = [("reason", issue.reason), ("see", issue.link)]
        if issue.gone:
            todo = ("to do", "it did not happen on any kernel that was run: delete its entry in bpf/known-issues.yaml")
            yield Finding(About.GONE, issue.id, "no kernel", (todo, *details), "runner report show")
        elif found := explains + allows:
            probes = list(dict.fromkeys(plain(probe) for _, probe in found if probe))
            yield Finding(
                about=About.KNOWN,
                what=issue.id,
                where=places(grid, {cell.id for cell, _ in found}),
                details=(("what", issue.what), *details, ("explains", ", ".join(probes) or "what the kernel reported")),
                command=show_command(found[0][0].id, explains[0][1] if explains else "", run_id),
            )


@of_rows
def _explained(rows: tuple[Row, ...]) -> dict[str, list[str]]:
    """The probes of each known issue."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.known_issue:
            found.setdefault(row.known_issue, []).append(row.probe)
    return found


def _open_subjects(rows: Sequence[Row]) -> list[Row]:
    """Those whose state is open, where one is due, although no verdict about them is."""
    told = {(row.subject, row.type) for row in rows if row.verdict is Verdict.NO_ANSWER or row.crashed}
    return [row for row in rows if row.state and is_open(row) and (row.subject, row.type) not in told]


def subject_cause(row: Row) -> str:
    """Without the subject's own name, so that one cause of many subjects stays one. A part of a word is no name."""
    return _name(row.subject).sub(f"<{KINDS[row.kind].subject}>", plain(row.cause))


@cache
def _name(subject: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(subject)}(?![A-Za-z0-9])")


def named(row: Row) -> str:
    """`bpf_ct_release (tc)`"""
    return plain(f"{row.subject} ({row.type})" if row.type else row.subject)


def _is_unexplained(row: Row) -> bool:
    return row.verdict is Verdict.BROKEN and not row.known_issue


# --- what a run means to a script; runner/cli has the exit status of each --------------------------------------------


def broken(judged: JudgedRun) -> bool:
    """Is an expectation broken that no known issue explains, did a probe crash a kernel, did a kernel not boot or
    report a splat that no known issue allows? It is wrong, whatever else is not known: this wins over `incomplete`."""
    return any(_is_broken(cell) for cell in judged.cells)


def incomplete(judged: JudgedRun) -> bool:
    """Has something no answer, whatever else is known to be broken: a cell that never finished or was lost, an
    expectation, a state of which an answer is due; a guest that was stuck; also a run or a cell in which nothing was
    asked.

    A state that is `hidden` does not make a run incomplete: the kernel did answer, the same words on every run, but
    with a refusal that comes before the one that was asked about. Nor does one that is not due, see Kind.due.
    """
    return not judged.cells or any(_is_open(cell) for cell in judged.cells)


def _is_broken(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is Outcome.BOOT_FAILED
        or bool(cell.result.crashed)
        or any(row.crashed or _is_unexplained(row) for row in cell.rows)
        or any(splat.blames_kernel and not splat.known_issue for splat in cell.splats)
    )


def _is_open(cell: JudgedCell) -> bool:
    return (
        cell.result.outcome is not Outcome.RAN
        or bool(cell.result.unasked)
        or not cell.rows
        or any(is_open(row) for row in cell.rows)
        or any(not splat.blames_kernel and not splat.known_issue for splat in cell.splats)
    )


def is_open(row: Row) -> bool:
    """Is there no answer where one is due?"""
    if row.verdict is Verdict.NO_ANSWER:
        return True
    return row.state == NO_ANSWER and KINDS[row.kind].is_due(row)
