# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is said about kfuncs, held against what kernels answered: where it is true, false, or not decided.

That is another question than a verdict: a page that is wrong since v6.11 has a false statement there, and a probe whose
verdict holds, because the kernel does what is expected of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runner import userfile
from runner.model import Plain, Row, Verdict
from runner.model.version import KernelVersion
from runner.probes import Said
from runner.results.model import JudgedCell, JudgedRun

PAGES = "ebpf-docs"  # its references are `<page>: <sentence>`; what is said about one sentence belongs together
_KINDS = (PAGES, "commit", "source")
_OPEN = (Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE)

_ERROR = re.compile(r"-E[A-Z][A-Z0-9]+\b")
_CODE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)
_NOT_RUN = ("load refused", "run failed")  # then it is another error than the kfunc's


class Standing(StrEnum):
    """Of a statement, by the kernels that decide it."""

    TRUE = "true"
    FALSE = "false"
    OUT_OF_DATE = "out of date"  # true up to some version, false from a later one on
    SINCE = "true since"  # the other way about
    DEPENDS = "depends"  # true on some kernels and false on others, in no order of versions
    OPEN = "not decided"


_Asked = tuple[Said, bool]  # and whether it says the same as the sentence, or the opposite


class Decided(Plain):
    """Kernels on which a statement is true, or false, for the same reason."""

    true: bool
    cells: tuple[str, ...]
    why: str = ""  # when false: the probe and what it observed
    known_issue: str = ""


class Open(Plain):
    """Kernels that do not decide a statement, and why."""

    cells: tuple[str, ...]
    cause: str


class Statement(Plain):
    """A sentence of a page, or what one probe states.

    `turn` is, where versions decide, the last of the one and the first of the other side: what is between them was not
    asked.
    """

    source: str
    ref: str
    says: tuple[str, ...]
    probes: tuple[str, ...]
    standing: Standing
    turn: tuple[str, str] | None
    decided: tuple[Decided, ...]
    open: tuple[Open, ...]


def statements(judged: JudgedRun, said: Sequence[Said], source: str = "") -> tuple[Statement, ...]:
    """Every statement, or those of one kind of source: pages first, else in the order of the files."""
    subjects = {(it.file, it.subject) for it in said}
    groups: dict[tuple[str, str, str], list[_Asked]] = defaultdict(list)
    for it in said:
        told = [(it.source, ref, True) for ref in it.refs]
        told += [(PAGES, sentence.ref, sentence.alike) for sentence in it.sentences]
        for kind, ref, alike in (each for each in told if source in ("", each[0])):
            # a subject's page speaks of that subject alone; a commit says many things, a sentence one
            page = ref.partition(":")[0] if kind == PAGES else ""
            if (it.file, page) not in subjects or page == it.subject:
                groups[kind, ref, "" if kind == PAGES else it.id].append((it, alike))
    rows = [(cell, {row.probe: row for row in cell.rows if row.verdict}) for cell in judged.cells]
    found = [_statement(rows, kind, ref, asked) for (kind, ref, _), asked in groups.items()]
    return tuple(sorted(found, key=lambda statement: _KINDS.index(statement.source)))


def by_probe(judged: JudgedRun, said: Iterable[Said]) -> Iterator[tuple[Said, Statement]]:
    """What each probe states, by itself."""
    rows = [(cell, {row.probe: row for row in cell.rows if row.verdict}) for cell in judged.cells]
    return ((it, _statement(rows, it.source, "", [(it, True)])) for it in said)


def _statement(
    cells: Iterable[tuple[JudgedCell, Mapping[str, Row]]], kind: str, ref: str, asked: Sequence[_Asked]
) -> Statement:
    decided: dict[tuple[bool, str, str], list[JudgedCell]] = defaultdict(list)
    left: dict[str, list[str]] = defaultdict(list)
    for cell, rows in cells:
        truth, why, issue = _truth(rows, asked)
        if truth is None:
            left[why].append(cell.id)
        else:
            decided[truth, why, issue].append(cell)
    standing, turn = _standing(decided)
    return Statement(
        source=kind,
        ref=ref,
        says=tuple(dict.fromkeys(it.says for it, _ in asked)),
        probes=tuple(it.probe for it, _ in asked),
        standing=standing,
        turn=turn,
        decided=tuple(
            Decided(true=true, cells=tuple(cell.id for cell in cells), why=why, known_issue=issue)
            for (true, why, issue), cells in sorted(decided.items(), key=lambda item: not item[0][0])
        ),
        open=tuple(Open(cells=tuple(cells), cause=cause) for cause, cells in left.items()),
    )


def _truth(rows: Mapping[str, Row], asked: Sequence[_Asked]) -> tuple[bool | None, str, str]:
    """Is it true on this kernel, why not, and the known issue that is the reason.

    False when any of its probes says so; true when each that applies was answered and is true. Where a probe says the
    opposite and that is not so, nothing follows: its program may have been refused for another reason.
    """
    true, unanswered = False, ""
    for row, alike in ((rows.get(it.probe), alike) for it, alike in asked):
        if row is None:
            unanswered = unanswered or "not asked"
        elif row.crashed:
            return False, f"{row.probe}: {row.observed}", ""
        elif row.verdict in _OPEN or row.cause or row.true is None:
            if row.verdict is not Verdict.NOT_APPLICABLE:
                unanswered = unanswered or row.cause or "not asked"
        elif row.true != alike:
            return False, f"{row.probe}: {row.observed}", row.known_issue
        elif alike:
            true = True
    if unanswered:
        return None, unanswered, ""
    return (True, "", "") if true else (None, "it says nothing about this version", "")


def _standing(decided: dict[tuple[bool, str, str], list[JudgedCell]]) -> tuple[Standing, tuple[str, str] | None]:
    """By the kernels that no known issue excuses, as long as there are any."""
    for with_issues in (False, True):
        versions: dict[bool, set[KernelVersion]] = {True: set(), False: set()}
        for (true, _, issue), cells in decided.items():
            if with_issues or not issue:
                versions[true] |= {cell.result.cell.kernel.upstream for cell in cells}
        good, bad = versions[True], versions[False]
        if good and bad:
            if max(good) < min(bad):
                return Standing.OUT_OF_DATE, (str(max(good)), str(min(bad)))
            if max(bad) < min(good):
                return Standing.SINCE, (str(max(bad)), str(min(good)))
            return Standing.DEPENDS, None
        if good or bad:
            return (Standing.TRUE if good else Standing.FALSE), None
    return Standing.OPEN, None


# --- errors that pages list -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageErrors:
    """Of a kfunc whose page lists errors: `unlisted` ones that programs got, each with a cell and a probe; and those of
    the page that none got."""

    kfunc: str
    listed: tuple[str, ...]
    unlisted: Mapping[str, tuple[str, str]]
    unseen: tuple[str, ...]


def load_errors(folder: Path) -> dict[str, frozenset[str]]:
    """By kfunc, the errors that its page names outside of examples; pages without errors are left out."""
    pages = sorted((folder / "docs" / "linux" / "kfuncs").glob("*.md"))
    found = {page.stem: frozenset(_ERROR.findall(_CODE.sub("", userfile.read(page).decode()))) for page in pages}
    return {name: errors for name, errors in found.items() if errors}


def errors_check(
    pages: Mapping[str, frozenset[str]], judged: JudgedRun, said: Iterable[Said]
) -> tuple[PageErrors, ...]:
    """Held against the errors that claims say and programs got."""
    says = {it.probe: set(_ERROR.findall(it.says)) for it in said}
    got: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for cell in judged.cells:
        for row in (row for row in cell.rows if row.verdict and not row.observed.startswith(_NOT_RUN)):
            for error in says.get(row.probe, set()).intersection(_ERROR.findall(row.observed)):
                got[row.subject].setdefault(error, (cell.id, row.probe))
    asked = {row.subject for cell in judged.cells for row in cell.rows if row.verdict}
    return tuple(
        PageErrors(
            kfunc=name,
            listed=tuple(sorted(errors)),
            unlisted={error: at for error, at in sorted(got[name].items()) if error not in errors},
            unseen=tuple(sorted(errors - got[name].keys())),
        )
        for name, errors in sorted(pages.items())
        if name in asked
    )
