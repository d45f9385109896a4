"""What is said about kfuncs, held against what kernels answered: where it is true, false, or not decided.

That is another question than a verdict: a page that is wrong since v6.11 has a false statement there, and a claim whose
verdict holds, because the kernel does what is expected of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from runner.model import ClaimVerdict, Observation, Plain, ProgType, Verdict
from runner.model.version import KernelVersion
from runner.probes import Claim, ClaimFile, statement_true
from runner.probes.old import probe_id
from runner.results.model import JudgedCell, JudgedRun

PAGES = "ebpf-docs"  # its references are `<page>: <sentence>`; what is said about one sentence belongs together
_KINDS = (PAGES, "commit", "source")
_OPEN = (Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE)


class Standing(StrEnum):
    """Of a statement, by the kernels that decide it."""

    TRUE = "true"
    FALSE = "false"
    OUT_OF_DATE = "out of date"  # true up to some version, false from a later one on
    SINCE = "true since"  # the other way about
    DEPENDS = "depends"  # true on some kernels and false on others, in no order of versions
    OPEN = "not decided"


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
    """A sentence of a page, or what one claim says. `turn` is, where versions decide, the last of the one and the first
    of the other side: what is between them was not asked.
    """

    source: str
    ref: str
    says: tuple[str, ...]
    probes: tuple[str, ...]
    standing: Standing
    turn: tuple[str, str] | None
    decided: tuple[Decided, ...]
    open: tuple[Open, ...]


_Asked = tuple[ClaimFile, Claim, ProgType]


@dataclass(frozen=True, slots=True)
class _Answers:
    """A cell, its verdicts and observations by probe."""

    cell: JudgedCell
    verdicts: Mapping[str, ClaimVerdict]
    seen: Mapping[str, Observation]

    @classmethod
    def of(cls, cell: JudgedCell) -> Self:
        verdicts = {verdict.probe: verdict for verdict in cell.claims}
        return cls(cell, verdicts, {observation.probe: observation for observation in cell.result.observations})


def statements(judged: JudgedRun, files: Iterable[ClaimFile], source: str = "") -> tuple[Statement, ...]:
    """Every statement of `files`, or those of one kind of source: pages first, else in the order of the files."""
    groups: dict[tuple[str, str, str], list[_Asked]] = defaultdict(list)
    for file in files:
        for claim in file.claims:
            for ref in claim.source.refs if source in ("", claim.source.kind) else ():
                # a commit says many things, a sentence one
                one = "" if claim.source.kind == PAGES else claim.id
                groups[claim.source.kind, ref, one] += _about(file, claim, ref)
    cells = [_Answers.of(cell) for cell in judged.cells]
    found = [_statement(cells, kind, ref, asked) for (kind, ref, _), asked in groups.items() if asked]
    return tuple(sorted(found, key=lambda statement: _KINDS.index(statement.source)))


def _about(file: ClaimFile, claim: Claim, ref: str) -> Iterator[_Asked]:
    """The program types for which the claim is about what is referred to: a kfunc's page speaks of that kfunc alone."""
    page = ref.partition(":")[0]
    for prog_type in claim.types:
        if claim.source.kind != PAGES or page not in file.kfunc_names or file.kfunc(claim, prog_type) == page:
            yield file, claim, prog_type


def _statement(cells: Iterable[_Answers], kind: str, ref: str, asked: Sequence[_Asked]) -> Statement:
    decided: dict[tuple[bool, str, str], list[JudgedCell]] = defaultdict(list)
    left: dict[str, list[str]] = defaultdict(list)
    for answers in cells:
        truth, why, issue = _truth(answers, asked)
        if truth is None:
            left[why].append(answers.cell.id)
        else:
            decided[truth, why, issue].append(answers.cell)
    standing, turn = _standing(decided)
    return Statement(
        source=kind,
        ref=ref,
        says=tuple(dict.fromkeys(claim.says for _, claim, _ in asked)),
        probes=tuple(probe_id(claim, prog_type) for _, claim, prog_type in asked),
        standing=standing,
        turn=turn,
        decided=tuple(
            Decided(true=true, cells=tuple(cell.id for cell in cells), why=why, known_issue=issue)
            for (true, why, issue), cells in sorted(decided.items(), key=lambda item: not item[0][0])
        ),
        open=tuple(Open(cells=tuple(cells), cause=cause) for cause, cells in left.items()),
    )


def _truth(answers: _Answers, asked: Sequence[_Asked]) -> tuple[bool | None, str, str]:
    """Is it true on this kernel, why not, and the known issue that is the reason.

    False when any of its claims is; true when each that applies was answered and is true.
    """
    true, unanswered = False, ""
    for _, claim, prog_type in asked:
        probe = probe_id(claim, prog_type)
        verdict = answers.verdicts.get(probe)
        if verdict is None:
            unanswered = unanswered or "not asked"
        elif verdict.crashed:
            return False, _why(verdict), ""
        elif verdict.verdict in _OPEN or verdict.cause or probe not in answers.seen:
            if verdict.verdict is not Verdict.NOT_APPLICABLE:
                unanswered = unanswered or verdict.cause or "not asked"
        elif statement_true(claim, answers.seen[probe]) is False:
            return False, _why(verdict), verdict.known_issue
        else:
            true = True
    if unanswered:
        return None, unanswered, ""
    return (True, "", "") if true else (None, "it says nothing about this version", "")


def _why(verdict: ClaimVerdict) -> str:
    return f"{verdict.probe}: {verdict.observed}"


def _standing(
    decided: dict[tuple[bool, str, str], list[JudgedCell]],
) -> tuple[Standing, tuple[str, str] | None]:
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
