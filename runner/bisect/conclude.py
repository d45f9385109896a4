# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""From the replies of a bisection and the results behind them to where the answer changed. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from runner.bisect.search import Gap, Tally
from runner.bisect.target import Target
from runner.model import CellResult
from runner.model.version import KernelVersion
from runner.probes import known_issue
from runner.probes.verifier import plain_words, verdict_line
from runner.results.bisections import (
    AnswerChange,
    Bisection,
    Candidate,
    ChangeEnd,
    Conclusion,
    ExplainedKernels,
    KernelTitle,
    Unanswered,
)

CandidateResults = Mapping[str, Sequence[CellResult]]  # by the candidate's key, the last one last


class BisectEvidence:
    """What there is to conclude from. `shown`: the id of the known issue that each candidate's answer shows."""

    def __init__(self, bisection: Bisection, target: Target, results: CandidateResults) -> None:
        self.bisection, self.target, self.results = bisection, target, results
        keys = [candidate.key for candidate in bisection.candidates]
        self.tally = Tally(keys, bisection.replies)
        self.shown: dict[str, str] = {}
        for at in self.tally.answered:
            telling = _telling(results.get(keys[at], ()), target, self.tally[at].answer)
            if issue := next((it for result in telling if (it := target.known_issue(result))), ""):
                self.shown[keys[at]] = issue

    def conclusion(self) -> Conclusion:
        """Every change with its evidence but for the changelog, what was skipped, and what a known issue explains."""
        candidates, tally = self.bisection.candidates, self.tally
        return Conclusion(
            changes=tuple(self.change(gap) for gap in tally.edges),
            monotonic=tally.monotonic,
            answers={answer: tuple(candidates[at].title for at in some) for answer, some in tally.groups.items()},
            unanswered=tuple(self.unanswered(at) for at in tally.dead),
            wavering=tuple(candidates[at].title for at in tally.wavering),
            sampled=tally.samples,
            known_issues=tuple(self._explained()),
        )

    def _explained(self) -> Iterable[ExplainedKernels]:
        titles = {candidate.key: candidate.title for candidate in self.bisection.candidates}
        for issue in self.target.expectations.issues:
            if kernels := tuple(titles[key] for key, shown in self.shown.items() if shown == issue.id):
                yield ExplainedKernels(issue=known_issue(issue), kernels=kernels)

    def change(self, gap: Gap) -> AnswerChange:
        """The change between two neighbours."""
        before, after = self.bisection.candidates[gap.low], self.bisection.candidates[gap.high]
        differs = _differs(before, after)
        refs = {"version": (f"v{before.version}", f"v{after.version}"), "commit": (before.title, after.title)}
        return AnswerChange(
            last_good=self._end(gap.low),
            first_bad=self._end(gap.high),
            between=tuple(self.unanswered(at) for at in gap.dead),
            differs=differs,
            git_range="..".join(refs.get(differs, ())),
        )

    def _end(self, at: int) -> ChangeEnd:
        candidate, votes, target = self.bisection.candidates[at], self.tally[at], self.target
        mine = [it for it in self.bisection.replies if (it.candidate, it.answer) == (candidate.key, votes.answer)]
        reply = max(mine, key=lambda reply: (reply.fresh, bool(reply.cell)))  # a boot of this bisection, if any
        some = self.results.get(candidate.key, ())
        seen = next(reversed(_telling(some, target, votes.answer)), None)
        row = target.row(seen) if seen else None
        log = row.log if row else ""
        declared = [lines for result in some if (lines := target.declared(result))]
        return ChangeEnd(
            **_kernel(candidate),
            source=candidate.source,
            suite=candidate.suite,
            answer=votes.answer,
            boots=votes.boots,
            agree=votes.agree,
            confirmed=votes.confirmed,
            run=reply.run,
            cell=reply.cell,
            probe=row.probe if row else "",
            evidence=target.evidence(seen) if seen else {},
            declared=declared[-1] if declared else (),
            log=plain_words(log),
            reason=verdict_line(log) if row and row.errno else "",
            config=seen.config if seen else {},
            known_issue=self.shown.get(candidate.key, ""),
            show=self._command("show", reply.cell, reply.run, "--all"),
            repeat="" if candidate.commit else self._command("repro", reply.cell, reply.run),
        )

    def _command(self, word: str, cell: str, run: str, *everything: str) -> str:
        """`runner cell show` or `repro`; of a state all of the cell is shown."""
        only = ("--probe", self.target.probe) if self.target.probe else everything
        return shlex.join(["runner", "cell", word, cell, "--run", run, *only])

    def unanswered(self, at: int) -> Unanswered:
        """A kernel that has no answer, and why."""
        candidate, votes = self.bisection.candidates[at], self.tally[at]
        causes = [it.cause for it in self.bisection.replies if it.candidate == candidate.key and it.cause]
        cause = f"it answers in several ways, in {votes.boots} boots" if votes.wavers else "".join(causes[-1:])
        return Unanswered(**_kernel(candidate), cause=cause)


def _telling(results: Iterable[CellResult], target: Target, answer: str) -> list[CellResult]:
    """Those that gave this answer."""
    return [result for result in results if target.read(result).answer == answer]


def _kernel(candidate: Candidate) -> dict[str, str]:
    return candidate.model_dump(include=set(KernelTitle.model_fields))


def _differs(before: Candidate, after: Candidate) -> str:
    if after.commit:
        return "commit"
    if KernelVersion.parse(before.version) != KernelVersion.parse(after.version):
        return "version"
    others = {
        "build": before.build != after.build,
        "architecture": before.arch != after.arch,
        "configuration": before.variant != after.variant,
    }
    return " and ".join(name for name, differs in others.items() if differs) or "build"
