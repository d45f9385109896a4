# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Known issues: deviations whose cause is understood, from bpf/known-issues.yaml; docs/claims.md explains it.

An entry explains a broken row only where all of it fits: the kernel, the probe, and what the kernel answered. It never
explains a crash. An entry with `splat` allows what its kernels report by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union

from pydantic import Discriminator, Field, StringConstraints, Tag, create_model, model_validator

from runner import yamlfile
from runner.model import CellResult, KnownIssue, Outcome, Plain, Row, Splat, SplatKind, Verdict
from runner.model.architecture import ARCHITECTURES, likely
from runner.probes.files import Span, folders
from runner.probes.kind import Kind
from runner.probes.kinds import KINDS
from runner.probes.lessons import Judged
from runner.yamlfile import Location

ISSUES = "known-issues"  # the one file in bpf/ that holds no probes, besides the list of kfuncs

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_IssueId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_ProbePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9@/._*?:-]+$")]


class ShownIssue(Plain):
    """What these probes answer where the issue is: the evidence. The name of their kind is their key."""

    kind: ClassVar[str]
    probes: tuple[str, ...]  # patterns of their names
    answer: Any

    def is_about(self, kind: str, probe: str) -> bool:
        return kind == self.kind and any(fnmatchcase(probe, pattern) for pattern in self.probes)


def _shown(kind: Kind[Any]) -> type[ShownIssue]:
    fields: dict[str, Any] = {
        "probes": (Annotated[tuple[_ProbePattern, ...], Field(min_length=1, alias=kind.name)], ...),
        "answer": (kind.pattern, ...),
    }
    made = create_model(f"ShownIssue_{kind.name}", __base__=ShownIssue, **fields)
    made.kind = kind.name
    return made


_SHOWN = {kind.name: _shown(kind) for kind in KINDS.values() if kind.pattern}


def _tag(entry: object) -> str | None:
    """By the key that names the kind."""
    keys = [key for key in entry if key in _SHOWN] if isinstance(entry, dict) else [getattr(entry, "kind", None)]
    return f"{keys[0]}:" if len(keys) == 1 else None


if TYPE_CHECKING:
    AnyShownIssue = ShownIssue
else:
    AnyShownIssue = Annotated[
        Union[tuple(Annotated[shown, Tag(f"{name}:")] for name, shown in _SHOWN.items())],  # noqa: UP007
        Discriminator(
            _tag,
            custom_error_type=yamlfile.IN_OUR_WORDS,
            custom_error_message=f"the probes that show it are of one kind: one of the keys {', '.join(_SHOWN)}",
        ),
    ]


class AllowedSplat(Plain):
    """What the kernel reports by itself where the issue is: of this kind, with this text in its first line."""

    kind: SplatKind
    text: _Text

    def allows(self, splat: Splat) -> bool:
        return splat.kind == self.kind and self.text in splat.text


class Issue(Span):
    """One entry. `since` and `until` are upstream versions, `releases` are patterns of `uname -r`."""

    id: _IssueId
    what: _Text
    reason: _Text
    link: _Text
    releases: tuple[_Text, ...] = ()  # none: all
    architectures: tuple[_Text, ...] = ()  # none: all
    shows: tuple[AnyShownIssue, ...] = ()
    splat: AllowedSplat | None = None

    @model_validator(mode="after")
    def _shows_something(self) -> Issue:
        if not (self.shows or self.splat):
            raise ValueError("it needs `shows`, the probes that show it, or `splat`, what the kernel reports")
        return self

    def is_of(self, result: CellResult) -> bool:
        """Is this one of the kernels that it names? One whose version tells nothing is named by release, if at all."""
        pin = result.cell.kernel
        release = result.facts.release or pin.release
        return (
            (self.covers(pin.judged_as) or (pin.judged_as is None and bool(self.releases)))
            and (not self.architectures or pin.arch in self.architectures)
            and (not self.releases or any(fnmatchcase(release, pattern) for pattern in self.releases))
        )

    def is_about(self, kind: str, probe: str) -> bool:
        return any(shown.is_about(kind, probe) for shown in self.shows)

    def is_shown_by(self, kind: Kind[Any], row: Row, result: CellResult) -> bool:
        """Did the probe answer what it answers where the issue is?"""
        return any(
            shown.is_about(kind.name, row.probe) and kind.shows(shown.answer, result, row) for shown in self.shows
        )

    def allows(self, splat: Splat) -> bool:
        return self.splat is not None and self.splat.allows(splat)


class _Written(Plain):
    """The file as it is written."""

    issues: tuple[Issue, ...] = ()


def load_issues(root: Path) -> tuple[Issue, ...]:
    """Those of bpf/known-issues.yaml below `root`, and the shipped ones; of one id that of the project.

    Raises UserError, FILE:LINE, when one is wrong.
    """
    found: dict[str, Issue] = {}
    for folder in folders(root):
        found = {issue.id: issue for issue in _read_issues(folder / f"{ISSUES}.yaml")} | found
    return tuple(found.values())


def _read_issues(path: Path) -> tuple[Issue, ...]:
    if not path.exists():
        return ()
    document = yamlfile.load(path)
    issues = yamlfile.validate(document, _Written).issues
    ids = Counter(issue.id for issue in issues)
    problems: list[tuple[Location, str]] = []
    for index, issue in enumerate(issues):
        place: Location = ("issues", index)
        if ids[issue.id] > 1:
            problems.append(((*place, "id"), f"there are {ids[issue.id]} issues called {issue.id!r}"))
        for at, arch in enumerate(issue.architectures):
            if arch not in ARCHITECTURES:
                hint = likely(arch)
                problems.append(((*place, "architectures", at), f"unknown architecture {arch!r}; {hint}"))
    if problems:
        raise document.error(problems)
    return issues


def issues_of(cells: Judged, issues: Iterable[Issue]) -> tuple[KnownIssue, ...]:
    """The issues that explain something in these cells, and those that are gone, in the order of the file.

    Gone: at least one of its kernels ran, each of its probes there was answered, and nothing shows the issue.
    """
    found = []
    for issue in issues:
        mine = [(result, rows) for result, rows in cells if issue.is_of(result)]
        shown = any(row.known_issue == issue.id for _, rows in mine for row in rows)
        shown = shown or any(issue.allows(splat) for result, _ in mine for splat in result.splats)
        gone = not shown and _is_gone([cell for cell in mine if cell[0].outcome is Outcome.RAN], issue)
        if shown or gone:
            found.append(known_issue(issue, gone=gone))
    return tuple(found)


def known_issue(issue: Issue, *, gone: bool = False) -> KnownIssue:
    """As reports have it."""
    return KnownIssue(id=issue.id, what=issue.what, reason=issue.reason, link=issue.link, gone=gone)


def _is_gone(cells: Judged, issue: Issue) -> bool:
    """`cells` are those of its kernels that ran."""
    asked = [
        row
        for _, rows in cells
        for row in rows
        if issue.is_about(row.kind, row.probe) and row.verdict is not Verdict.NOT_APPLICABLE
    ]
    answered = all(not row.crashed and row.verdict in (Verdict.HOLDS, Verdict.BROKEN) for row in asked)
    return bool(asked if issue.shows else cells) and answered
