"""From the replies of a hunt and the results behind them to what was found. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from runner.hunt.questions import Asked
from runner.hunt.search import Board, Gap, groups
from runner.model import CellResult, Observation
from runner.probes.verifier import plain_words
from runner.results.answers import steady
from runner.results.hunts import (
    Answered,
    Candidate,
    Change,
    Found,
    Hunt,
    LogDifference,
    Reply,
    Unanswered,
)
from runner.version import KernelVersion

Results = Mapping[str, Sequence[CellResult]]  # by the candidate's key, the last one last


def conclude(hunt: Hunt, board: Board, asked: Asked, results: Results) -> Found:
    """Every change, its evidence but for the changelog, and what was skipped."""
    titles = {candidate.key: candidate.title for candidate in hunt.candidates}
    keys = [candidate.key for candidate in hunt.candidates]
    return Found(
        changes=tuple(_change(hunt, gap, board, asked, results) for gap in board.edges),
        monotonic=board.monotonic,
        answers={answer: tuple(titles[key] for key in some) for answer, some in groups(keys, board).items()},
        unanswered=tuple(_unanswered(hunt, board, at) for at in board.dead),
        wavering=tuple(titles[keys[at]] for at in board.wavering),
        sampled=board.samples,
    )


def finished(hunt: Hunt, found: Found) -> Hunt:
    """The document with what was found. Of several changes the last one leads to how the newest kernel answers."""
    last = found.changes[-1] if found.changes else None
    return hunt.model_copy(
        update={
            "found": found,
            "last_good": last.last_good if last else None,
            "first_bad": last.first_bad if last else None,
        }
    )


def _change(hunt: Hunt, gap: Gap, board: Board, asked: Asked, results: Results) -> Change:
    before = _answered(hunt, board, gap.low, asked, results)
    after = _answered(hunt, board, gap.high, asked, results)
    names = sorted(before.config.keys() & after.config.keys())
    versions = KernelVersion.parse(before.version), KernelVersion.parse(after.version)
    others = {"build": before.build != after.build, "architecture": before.arch != after.arch}
    same = " and ".join(name for name, differs in others.items() if differs) or "build"
    differs = same if versions[0] == versions[1] else "version"
    return Change.model_validate(
        {
            "last_good": before,
            "first_bad": after,
            "between": tuple(_unanswered(hunt, board, at) for at in gap.dead),
            "differs": differs,
            "log_difference": first_difference(before.log, after.log),
            "config_differences": {
                name: (before.config[name], after.config[name])
                for name in names
                if before.config[name] != after.config[name]
            },
            "stable_range": f"v{versions[0]}..v{versions[1]}" if differs == "version" else "",
        }
    )


def _answered(hunt: Hunt, board: Board, at: int, asked: Asked, results: Results) -> Answered:
    candidate, standing = hunt.candidates[at], board[at]
    mine = [reply for reply in hunt.replies if reply.candidate == candidate.key and reply.answer == standing.answer]
    reply = max(mine, key=lambda reply: reply.fresh)  # a boot of this hunt, where there is one
    some = results.get(candidate.key, ())
    telling = [result for result in some if asked.read(result).answer == standing.answer]
    seen = asked.observation(telling[-1]) if telling else None
    rows = [row for result in some if (row := asked.census(result))]
    observed = seen if isinstance(seen, Observation) else None
    return Answered(
        version=candidate.version,
        release=candidate.release,
        source=candidate.source,
        arch=candidate.arch,
        build=candidate.build,
        suite=candidate.suite,
        answer=standing.answer,
        boots=standing.boots,
        agree=standing.agree,
        confirmed=standing.confirmed,
        run=reply.run,
        cell=reply.cell,
        errno=seen.load_errno if seen else None,
        run_errno=observed.run_errno if observed else None,
        fields=observed.fields if observed else {},
        log=plain_words(seen.log) if seen else "",
        prototype=rows[-1].prototype if rows else "",
        config=telling[-1].config if telling else {},
        show=_show(hunt, reply),
        again=_again(hunt, candidate),
    )


def _show(hunt: Hunt, reply: Reply) -> str:
    words = ["runner", "cell", "show", reply.cell, "--run", reply.run]
    # a census has many rows; the whole cell shows them
    kfunc = hunt.question.target.startswith(hunt.question.kfunc)
    return shlex.join([*words, *(["--all"] if kfunc else ["--probe", hunt.question.target])])


def _again(hunt: Hunt, candidate: Candidate) -> str:
    only = candidate.build or candidate.release
    words = ["runner", "hunt", hunt.question.target, "--arch", candidate.arch, "--from", only, "--to", only, "--fresh"]
    return shlex.join(words)


def _unanswered(hunt: Hunt, board: Board, at: int) -> Unanswered:
    candidate, standing = hunt.candidates[at], board[at]
    causes = [reply.cause for reply in hunt.replies if reply.candidate == candidate.key and reply.cause]
    cause = f"it answers in several ways, in {standing.boots} boots" if standing.wavers else "".join(causes[-1:])
    return Unanswered(version=candidate.version, build=candidate.build, arch=candidate.arch, cause=cause)


def first_difference(before: str, after: str) -> LogDifference | None:
    """The first line that differs, addresses and BTF ids apart; None when there is none."""
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


def question_words(hunt: Hunt) -> tuple[str, ...]:
    """What a commit that changed the answer may speak of: words of the kfunc's name and of the claim's."""
    text = f"{hunt.question.kfunc} {hunt.question.target.partition(':')[0]} {hunt.question.says}"
    words = [word for word in re.findall(r"[a-z]+", text.lower().replace("_", " ")) if len(word) > 2]
    return tuple(dict.fromkeys(word for word in words if word not in _PLAIN))
