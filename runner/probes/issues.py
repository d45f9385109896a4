"""Known issues: deviations whose cause is understood, from bpf/known-issues.yaml; docs/claims.md explains it.

An entry explains a broken claim only where all of it fits: the kernel, the probe, and what the kernel answered. It
never explains a crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from runner import yamlfile
from runner.model import CellResult, ClaimVerdict, KnownIssue, Observation, Outcome, Plain, Verdict
from runner.model.architecture import ARCHITECTURES
from runner.probes.claims import ISSUES, Answer, Span, folder
from runner.probes.matching import matches
from runner.text import nearest
from runner.yamlfile import Document, Location

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_IssueId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_ProbePattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?-]+:(tc|xdp|\*)$|^[a-z0-9*?-]+\*$")]
_Some = Field(min_length=1)


class Shown(Plain):
    """What these probes answer where the issue is: the evidence. `probes` are patterns of `<claim>:<type>`."""

    probes: Annotated[tuple[_ProbePattern, ...], _Some]
    answer: Answer

    def is_about(self, probe: str) -> bool:
        return any(fnmatchcase(probe, pattern) for pattern in self.probes)


class Issue(Span):
    """One entry. `since` and `until` are upstream versions, `releases` are patterns of `uname -r`."""

    id: _IssueId
    what: _Text
    reason: _Text
    link: _Text
    releases: tuple[_Text, ...] = ()  # none: all
    architectures: tuple[_Text, ...] = ()  # none: all
    shows: Annotated[tuple[Shown, ...], _Some]

    def is_of(self, result: CellResult) -> bool:
        """Is this one of the kernels that it names?"""
        locked = result.cell.kernel
        release = result.facts.release or locked.release
        return (
            locked.upstream in self.interval
            and (not self.architectures or locked.arch in self.architectures)
            and (not self.releases or any(fnmatchcase(release, pattern) for pattern in self.releases))
        )

    def is_about(self, probe: str) -> bool:
        return any(shown.is_about(probe) for shown in self.shows)

    def is_shown_by(self, probe: str, seen: Observation) -> bool:
        """Did the probe answer what it answers where the issue is?"""
        return any(shown.is_about(probe) and matches(shown.answer, seen) for shown in self.shows)


class _Written(Plain):
    """The file as it is written."""

    issues: tuple[Issue, ...] = ()


def load_issues(root: Path) -> tuple[Issue, ...]:
    """Read bpf/known-issues.yaml below `root`; no file, no issues. UserError, FILE:LINE, when it is wrong."""
    path = folder(root) / f"{ISSUES}.yaml"
    if not path.exists():
        return ()
    document = yamlfile.load(path)
    issues = yamlfile.validate(document, _Written).issues
    _check(document, issues)
    return issues


def _check(document: Document, issues: tuple[Issue, ...]) -> None:
    ids = Counter(issue.id for issue in issues)
    problems: list[tuple[Location, str]] = []
    for index, issue in enumerate(issues):
        place: Location = ("issues", index)
        if ids[issue.id] > 1:
            problems.append(((*place, "id"), f"there are {ids[issue.id]} issues called {issue.id!r}"))
        for at, arch in enumerate(issue.architectures):
            if arch not in ARCHITECTURES:
                hint = nearest(arch, ARCHITECTURES)
                problems.append(((*place, "architectures", at), f"unknown architecture {arch!r}; {hint}"))
    if problems:
        raise document.error(problems)


def explained(
    result: CellResult, verdicts: Iterable[ClaimVerdict], issues: Sequence[Issue]
) -> tuple[ClaimVerdict, ...]:
    """`verdicts` of one cell; those broken ones that an issue explains say so."""
    mine = [issue for issue in issues if issue.is_of(result)]
    seen = {observation.probe: observation for observation in result.observations}
    return tuple(_explained(verdict, mine, seen) for verdict in verdicts)


def _explained(verdict: ClaimVerdict, issues: Sequence[Issue], seen: Mapping[str, Observation]) -> ClaimVerdict:
    observation = seen.get(verdict.probe)
    if verdict.verdict is not Verdict.BROKEN or verdict.crashed or observation is None:
        return verdict
    for issue in issues:
        if issue.is_shown_by(verdict.probe, observation):
            return verdict.model_copy(update={"known_issue": issue.id})
    return verdict


def issues_of(
    cells: Sequence[tuple[CellResult, Sequence[ClaimVerdict]]], issues: Iterable[Issue]
) -> tuple[KnownIssue, ...]:
    """The issues that explain something in these cells, and those that are gone, in the order of the file.

    Gone: at least one of its kernels was run, each of its probes there was answered, and no answer shows the issue.
    """
    found = []
    for issue in issues:
        shown = any(verdict.known_issue == issue.id for _, verdicts in cells for verdict in verdicts)
        gone = not shown and _is_gone(cells, issue)
        if shown or gone:
            found.append(known_issue(issue, gone=gone))
    return tuple(found)


def known_issue(issue: Issue, *, gone: bool = False) -> KnownIssue:
    """As reports have it."""
    return KnownIssue(id=issue.id, what=issue.what, reason=issue.reason, link=issue.link, gone=gone)


def _is_gone(cells: Sequence[tuple[CellResult, Sequence[ClaimVerdict]]], issue: Issue) -> bool:
    asked = [
        verdict
        for result, verdicts in cells
        if result.outcome is Outcome.RAN and issue.is_of(result)
        for verdict in verdicts
        if issue.is_about(verdict.probe) and verdict.verdict is not Verdict.NOT_APPLICABLE
    ]
    return bool(asked) and all(
        not verdict.crashed and verdict.verdict in (Verdict.HOLDS, Verdict.BROKEN) for verdict in asked
    )
