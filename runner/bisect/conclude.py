"""From the replies of a bisection and the results behind them to what was found. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from runner.bisect.questions import Asked
from runner.bisect.search import Board, Gap, groups
from runner.model import CellResult, Observation
from runner.model.version import KernelVersion
from runner.probes import Issue, known_issue
from runner.probes.claims.matching import value_words
from runner.probes.verifier import plain_words, verdict_line
from runner.results.answers import steady
from runner.results.bisections import (
    Answered,
    Bisection,
    Change,
    Explained,
    Found,
    LayoutDifference,
    LogDifference,
    Reply,
    Unanswered,
)

Results = Mapping[str, Sequence[CellResult]]  # by the candidate's key, the last one last


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What there is to conclude from. `shown` is the known issue of each candidate whose answer shows one."""

    bisection: Bisection
    board: Board
    asked: Asked
    results: Results
    shown: Mapping[str, Issue]


def conclude(bisection: Bisection, board: Board, asked: Asked, results: Results, issues: Sequence[Issue] = ()) -> Found:
    """Every change, its evidence but for the changelog, what was skipped, and what a known issue explains."""
    titles = {candidate.key: candidate.title for candidate in bisection.candidates}
    keys = [candidate.key for candidate in bisection.candidates]
    found = {keys[at]: _issue(board[at].answer, results.get(keys[at], ()), asked, issues) for at in board.answered}
    shown = {key: issue for key, issue in found.items() if issue}
    evidence = _Evidence(bisection, board, asked, results, shown)
    return Found(
        changes=tuple(_change(evidence, gap) for gap in board.edges),
        monotonic=board.monotonic,
        answers={answer: tuple(titles[key] for key in some) for answer, some in groups(keys, board).items()},
        unanswered=tuple(_unanswered(bisection, board, at) for at in board.dead),
        wavering=tuple(titles[keys[at]] for at in board.wavering),
        sampled=board.samples,
        known_issues=tuple(
            Explained(
                issue=known_issue(issue), kernels=tuple(titles[key] for key, mine in shown.items() if mine == issue)
            )
            for issue in issues
            if issue in shown.values()
        ),
    )


def finished(bisection: Bisection, found: Found) -> Bisection:
    """The document with what was found."""
    main = found.main
    return bisection.model_copy(
        update={
            "found": found,
            "last_good": main.last_good if main else None,
            "first_bad": main.first_bad if main else None,
        }
    )


def _issue(answer: str, results: Sequence[CellResult], asked: Asked, issues: Sequence[Issue]) -> Issue | None:
    """The known issue that a kernel's answer shows."""
    telling = (result for result in results if asked.read(result).answer == answer)
    return next((issue for result in telling if (issue := asked.issue(result, issues))), None)


def _change(evidence: _Evidence, gap: Gap) -> Change:
    before, after = _answered(evidence, gap.low), _answered(evidence, gap.high)
    names = sorted(before.config.keys() & after.config.keys())
    versions = KernelVersion.parse(before.version), KernelVersion.parse(after.version)
    others = {
        "build": before.build != after.build,
        "architecture": before.arch != after.arch,
        "configuration": before.variant != after.variant,
    }
    same = " and ".join(name for name, differs in others.items() if differs) or "build"
    differs = same if versions[0] == versions[1] else "version"
    return Change.model_validate(
        {
            "last_good": before,
            "first_bad": after,
            "between": tuple(_unanswered(evidence.bisection, evidence.board, at) for at in gap.dead),
            "differs": differs,
            "log_difference": first_difference(before.log, after.log),
            "layout_differences": layout_differences(before, after),
            "config_differences": {
                name: (before.config[name], after.config[name])
                for name in names
                if before.config[name] != after.config[name]
            },
            "stable_range": f"v{versions[0]}..v{versions[1]}" if differs == "version" else "",
        }
    )


def _answered(evidence: _Evidence, at: int) -> Answered:
    bisection, asked = evidence.bisection, evidence.asked
    candidate, standing = bisection.candidates[at], evidence.board[at]
    issue = evidence.shown.get(candidate.key)
    mine = [
        reply for reply in bisection.replies if reply.candidate == candidate.key and reply.answer == standing.answer
    ]
    reply = max(mine, key=lambda reply: reply.fresh)  # a boot of this bisection, where there is one
    some = evidence.results.get(candidate.key, ())
    telling = [result for result in some if asked.read(result).answer == standing.answer]
    seen = asked.observation(telling[-1]) if telling else None
    rows = [row for result in some if (row := asked.census(result))]
    observed = seen if isinstance(seen, Observation) else None
    fields = observed.fields if observed else {}
    return Answered(
        version=candidate.version,
        release=candidate.release,
        source=candidate.source,
        arch=candidate.arch,
        build=candidate.build,
        variant=candidate.variant,
        suite=candidate.suite,
        answer=standing.answer,
        boots=standing.boots,
        agree=standing.agree,
        confirmed=standing.confirmed,
        run=reply.run,
        cell=reply.cell,
        probe=observed.probe if observed else "",
        errno=seen.load_errno if seen else None,
        run_errno=observed.run_errno if observed else None,
        fields=fields,
        words={name: value_words(name, value) for name, value in fields.items()},
        log=plain_words(seen.log) if seen else "",
        reason=verdict_line(seen.log) if seen and seen.load_errno else "",
        prototype=rows[-1].prototype if rows else "",
        layouts=rows[-1].layouts if rows else (),
        config=telling[-1].config if telling else {},
        known_issue=issue.id if issue else "",
        show=_command(reply, "show", observed, everything=("--all",)),
        again=_command(reply, "repro", observed),
    )


def _command(reply: Reply, word: str, seen: Observation | None, *, everything: Sequence[str] = ()) -> str:
    """`runner cell show` or `repro`, with the probe that was answered; a census has many, and so has all of it."""
    words = ["runner", "cell", word, reply.cell, "--run", reply.run]
    return shlex.join([*words, *(("--probe", seen.probe) if seen else everything)])


def _unanswered(bisection: Bisection, board: Board, at: int) -> Unanswered:
    candidate, standing = bisection.candidates[at], board[at]
    causes = [reply.cause for reply in bisection.replies if reply.candidate == candidate.key and reply.cause]
    cause = f"it answers in several ways, in {standing.boots} boots" if standing.wavers else "".join(causes[-1:])
    return Unanswered(
        version=candidate.version,
        release=candidate.release,
        build=candidate.build,
        arch=candidate.arch,
        variant=candidate.variant,
        cause=cause,
    )


def layout_differences(before: Answered, after: Answered) -> tuple[LayoutDifference, ...]:
    """The structures that differ; none where one of the two did not tell any."""
    if not before.prototype or not after.prototype:
        return ()
    old, new = ({layout.name: layout for layout in side.layouts} for side in (before, after))
    return tuple(
        LayoutDifference(name=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    )


def first_difference(before: str, after: str) -> LogDifference | None:
    """The first line that differs, addresses and BTF ids apart; None when none does, or where one has no log."""
    if not before.strip() or not after.strip():
        return None
    pairs = zip_longest(before.rstrip().splitlines(), after.rstrip().splitlines(), fillvalue="")
    for number, (old, new) in enumerate(pairs, 1):
        if steady(old)[0] != steady(new)[0]:
            return LogDifference(line=number, before=old, after=new)
    return None


def source_words(asked: Asked) -> tuple[str, ...]:
    """What the file of the kfunc is called, without `.c`, as far as the claims about it name it."""
    refs = [
        ref
        for file in asked.files
        for claim in file.claims
        if asked.question.kfunc in file.kfuncs[claim.kfunc].values()
        for ref in claim.source.refs
        if asked.question.kfunc in ref
    ]
    return tuple(dict.fromkeys(stem for ref in refs for stem in re.findall(r"([\w-]+)\.c\b", ref)))


def likeness(text: str, question_words: Sequence[str]) -> int:
    """How many of the words are in a line, or begin one of its words."""
    there = re.findall(r"[a-z0-9]+", text.lower())
    return sum(any(word.startswith(wanted) for word in there) for wanted in question_words)


_PLAIN = frozenset(("bpf", "get", "set", "the", "and", "not", "nor", "for", "its", "does", "here", "with", "that"))


def question_words(bisection: Bisection) -> tuple[str, ...]:
    """What a commit that changed the answer may speak of: words of the kfunc's name and of the claim's."""
    text = f"{bisection.question.kfunc} {bisection.question.target.partition(':')[0]} {bisection.question.says}"
    words = [word for word in re.findall(r"[a-z]+", text.lower().replace("_", " ")) if len(word) > 2]
    return tuple(dict.fromkeys(word for word in words if word not in _PLAIN))
