# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection over commits: `git bisect` itself, driven step by step. Each commit is built, booted and asked once.

What came of a commit is in the stored bisection before git is told. A bisection that is resumed begins git's anew and
tells it what is known, which takes no time: so a clone that is moved or removed costs nothing but builds.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, field

from runner.bisect.boots import BisectSetup, Journal, begun, digest
from runner.bisect.conclude import BisectEvidence
from runner.bisect.search import Gap, Votes, votes
from runner.caches import cache_root
from runner.engine.fleet import this_machine_alone
from runner.errors import BuildError, InfraError, UserError
from runner.guest.accel import host_cpus
from runner.kernels import Means, lock_kernels
from runner.kernels.build import Recipe, build_kernel
from runner.kernels.checkout import Checkout, Commit
from runner.model import CellResult, Pin, Wanted
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.results.bisections import Bisection, Candidate, KernelTitle, Reply, Why, load_bisections
from runner.text import counted

# As `git bisect log` has them.
_FIRST_BAD = re.compile(r"^# first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
_MAY_BE = re.compile(r"^# possible first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
_ONLY_SKIPPED = 2  # the status of git bisect then
_CAUSE_CHARS = 1000
_FAILURES = 2  # boots without an answer, after which a commit stays unconfirmed


@dataclass(slots=True)
class CommitBisection:
    """One question about the commits between two. `known`: the replies of other bisections with the same question."""

    setup: BisectSetup
    checkout: Checkout
    recipe: Recipe
    payload: dict[str, dict[str, bytes]] = field(init=False)
    journal: Journal = field(init=False)
    known: dict[str, Reply] = field(default_factory=dict)

    def run(self, good: str, bad: str) -> Bisection:
        """To its end. Raises UserError when the ends cannot be what they are said to be; InfraError."""
        first, last = (self.checkout.commit(ref, deadline=self._deadline) for ref in (good, bad))
        self._check_order(first, last)
        self.payload = self.setup.payload((self.recipe.arch,))
        self._open_journal(first, last)
        answers = []
        for word, end in (("good", first), ("bad", last)):
            reply = self._tested(end, Why.ENDS, f"the {word} end")
            if not reply.answer:
                raise UserError(
                    f"the {word} end, {end.short}, has no answer: {reply.cause}",
                    hint=f"name a neighbour of it that boots with --{word}",
                )
            answers.append(reply.answer)
        found: list[str] = []
        doubt, log = "", ""
        if answers[0] != answers[1]:
            for flags in ((), ("--first-parent",)):  # of branches that began before the good end, only the merges
                found = self._bisect(first, last, answers[0], *flags)
                log = self._git("bisect", "log")[1]
                if not (doubt := self._doubt(found, answers[0])):
                    break
            doubt = doubt or self._confirm(found)
        return self._finish(first, last, found, doubt=doubt, log=log)

    @property
    def _deadline(self) -> Deadline:
        """Of one command of git. The bisection itself has none."""
        return self.setup.limits.deadline("prepare_s")

    def _check_order(self, good: Commit, bad: Commit) -> None:
        if good.id == bad.id:
            raise UserError(
                f"--good and --bad are one commit, {good.short}",
                hint="--good is the last commit that answers as before, --bad the first that does not",
            )
        if self._git("merge-base", "--is-ancestor", good.id, bad.id)[0]:
            git = f"git -C {self.checkout.repository}"
            hint = "exchange them?"
            if self.checkout.shallow:
                hint = f"the repository is shallow: {git} fetch --unshallow"
            elif self._git("merge-base", "--is-ancestor", bad.id, good.id)[0]:
                hint = f"they are on different branches: {git} merge-base {good.short} {bad.short}"
            raise UserError(f"--good {good.short} does not come before --bad {bad.short}", hint=hint)

    # --- what is known of each commit

    def _open_journal(self, good: Commit, bad: Commit) -> None:
        """Of this question and these ends; what was asked to the letter, and the programs, are part of the question."""
        target = self.setup.target
        way = self.checkout.folder.name  # of this repository, architecture, configuration and compiler
        asks = "".join(it.model_dump_json() for it in target.asks(KernelVersion.parse("6.0"), fully=False))
        contents = (content for files in self.payload.values() for content in files.values())
        programs = (hashlib.sha256(content).hexdigest() for content in contents)
        about = digest(target.question.target, way, asks, *programs)
        for other in load_bisections(self.setup.store):
            if other.key.startswith(f"{about}-"):
                self.known |= {it.candidate: it for it in other.replies if not it.machines_fault}
        new = begun(f"{about}-{digest(good.id, bad.id)}", target.question)
        new = new.model_copy(update={"repository": str(self.checkout.repository)})
        self.journal = Journal(self.setup.store, new, self.setup.project.matrix.sha256)
        number = int(self._git("rev-list", "--count", f"{good.id}..{bad.id}")[1])
        it, resumed = self.journal.bisection, self.journal.resumed
        then = f"; resumed after {counted(it.boots, 'boot')}" if resumed else ""
        self.setup.say(f"bisection {it.id}: {it.question.target}, {counted(number + 1, 'commit')}{then}")

    def _tested(self, commit: Commit, why: Why, word: str = "") -> Reply:
        """What came of a commit, from now or before; to confirm, it is always booted."""
        mine = {it.candidate: it for it in self.journal.replies}
        known = None if why is Why.CONFIRM else mine.get(commit.id) or self.known.get(commit.id)
        if not known:
            self.setup.say(f"{commit.short} {commit.subject[:60]}: {word}{word and ', '}building")
        reply = known or self._build_and_boot(commit, why)
        if commit.id not in mine or not known:
            candidate = Candidate(key=commit.id, commit=commit.id, summary=commit.subject, arch=self.recipe.arch)
            self.journal.add(candidate, reply)
        self.setup.say(f"{commit.short} {commit.subject[:60]}: {word}{word and ': '}{reply.answer or reply.cause}")
        return reply

    def _votes(self, commit: str) -> Votes:
        return votes([it for it in self.journal.replies if it.candidate == commit])

    def _build_and_boot(self, commit: Commit, why: Why) -> Reply:
        """Raises InfraError when the machine failed: that is no reason to skip a commit."""
        deadline = self.setup.limits.deadline("build_s")
        self.checkout.check_out(commit.id, deadline=deadline)
        source, objects = self.checkout.source, self.checkout.objects
        try:
            build_kernel(source, objects, self.recipe, jobs=host_cpus(), deadline=deadline)
        except BuildError as error:
            said = error.what.partition("\n")[2] or error.what  # without the folder, which is always the same
            return Reply(candidate=commit.id, why=why, cause=f"does not build: {said}"[:_CAUSE_CHARS])
        wanted = Wanted(name="commit", source=f"tree:{objects}", arch=self.recipe.arch)
        (kernel,) = lock_kernels(wanted, Means(self.setup.archive, cache_root(), deadline))
        same = kernel_digest(kernel)
        for reply in (*self.journal.replies, *self.known.values()):
            if reply.kernel == same and reply.answer and why is not Why.CONFIRM:
                return reply.model_copy(update={"candidate": commit.id, "why": Why.KNOWN})
        cell = self.setup.cell(f"{commit.short}-{self.recipe.arch}", "commit", kernel)
        told: list[Reply] = []
        self.journal.count_round()
        boots = self.setup.boots(self.journal.bisection, self.payload, this_machine_alone(1))
        boots.boot({commit.id: (cell, why)}, told.append)
        return told[-1].model_copy(update={"kernel": same, "cause": told[-1].cause[:_CAUSE_CHARS]})

    # --- git

    def _git(self, *words: str) -> tuple[int, str]:
        done = self.checkout.git(*words, deadline=self._deadline, check=False)
        return done.returncode, done.stdout + done.stderr

    def _named(self, commit: str) -> Commit:
        return self.checkout.described(commit, deadline=self._deadline)

    def _parents(self, commit: str) -> list[str]:
        return self._git("rev-parse", f"{commit}^@")[1].split()

    def _bisect(self, good: Commit, bad: Commit, good_answer: str, *flags: str) -> list[str]:
        """The first bad commit; or each one that may be it."""
        self._git("bisect", "reset")
        self._git("update-ref", "--no-deref", "HEAD", bad.id)  # git bisect wants one
        status, said = self._git("bisect", "start", "--no-checkout", *flags, bad.id, good.id)
        if status:
            raise InfraError(f"`git bisect start` failed: {said.strip()[-500:]}")
        while not (found := _ended(self._git("bisect", "log")[1])):
            reply = self._tested(commit := self._named("BISECT_HEAD"), Why.SEARCH)
            word = "skip" if not reply.answer else "good" if reply.answer == good_answer else "bad"
            status, said = self._git("bisect", word, commit.id)
            if status not in {0, _ONLY_SKIPPED}:
                raise InfraError(f"`git bisect {word}` failed: {said.strip()[-500:]}")
        return found

    # --- is it the commit that was found?

    def _doubt(self, found: list[str], good_answer: str) -> str:
        """Why the answer did not change at the commit that was found: no commit before it has the good answer."""
        if len(found) != 1:
            return ""
        parents = self._parents(found[0])
        answers = {it: self._tested(self._named(it), Why.SEARCH, "a parent").answer for it in parents}
        if good_answer in answers.values():
            return ""
        title = found[0][:12]
        if not parents:
            return f"the parents of {title} are not in this shallow repository: git fetch --unshallow"
        if other := next((it for it, answer in answers.items() if answer), ""):
            return f"{title} is on a branch that began before the good end: {other[:12]} answers so too"
        return f"no parent of {title} has an answer"

    def _confirm(self, found: list[str]) -> str:
        """Build and boot the commit that was found and its good parent again. Returns why they are in doubt."""
        if len(found) != 1:
            return ""
        for key in (found[0], *self._good_parents(found[0])[:1]):
            commit, before = self._named(key), self._votes(key).answer
            while (now := self._votes(key)).open or not (now.confirmed or now.wavers):
                if now.failed >= _FAILURES:
                    return f"{commit.short} did not answer again"
                self._tested(commit, Why.CONFIRM, "again")
            if now.answer != before:
                return f"{commit.short} answers in several ways"
        return ""

    def _good_parents(self, commit: str) -> list[str]:
        """Those that answer otherwise than it."""
        answer = self._votes(commit).answer
        return [it for it in self._parents(commit) if answer and self._votes(it).answer not in {"", answer}]

    # --- the end

    def _finish(self, good: Commit, bad: Commit, found: list[str], *, doubt: str, log: str) -> Bisection:
        order = [*reversed(self._git("rev-list", "--topo-order", f"{good.id}..{bad.id}")[1].split())]
        places = {commit: at for at, commit in enumerate([good.id, *order])}
        candidates = sorted(self.journal.bisection.candidates, key=lambda candidate: places.get(candidate.key, -1))
        it = self.journal.bisection.model_copy(update={"candidates": tuple(candidates)})
        evidence = BisectEvidence(it, self.setup.target, self._results(it))
        at = {candidate.key: number for number, candidate in enumerate(candidates)}
        parents = self._good_parents(found[0])[:1] if len(found) == 1 else []
        changes = tuple(evidence.change(Gap(at[key], at[found[0]], (), ())) for key in parents)
        named = [] if changes else map(self._named, found)
        possible = tuple(KernelTitle(commit=one.id, summary=one.subject, arch=self.recipe.arch) for one in named)
        end = {"changes": changes, "monotonic": True, "doubt": doubt, "possible": possible}
        return self.journal.finish(
            found=evidence.conclusion().model_copy(update=end), candidates=it.candidates, git_log=log
        )

    def _results(self, it: Bisection) -> dict[str, list[CellResult]]:
        """What the store has of each commit, every boot; what another bisection booted is in that one's run."""
        stored: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
        for run in {reply.run for reply in it.replies if reply.run}:
            for result in self.setup.store.load(run).results:
                stored[run, result.cell.id].append(result)
        found: dict[str, list[CellResult]] = defaultdict(list)
        for key, run, cell in dict.fromkeys((reply.candidate, reply.run, reply.cell) for reply in it.replies):
            found[key] += stored[run, cell]
        return found


def _ended(log: str) -> list[str]:
    """What a `git bisect log` says was found; empty before its end."""
    return _FIRST_BAD.findall(log)[-1:] or _MAY_BE.findall(log)


def kernel_digest(kernel: Pin) -> str:
    """Over image, configuration and modules."""
    parts = sorted(f"{file.name} {file.sha256}" for file in kernel.files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
