"""A bisection over commits: `git bisect` itself, driven step by step. Each commit is built, booted and asked once.

What came of a commit is in the stored bisection before git is told. A bisection that is resumed begins git's anew and
tells it what is known, which takes no time: so a clone that is moved or removed costs nothing but builds.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass, field

from runner.bisect.boots import BisectSetup
from runner.bisect.conclude import BisectEvidence
from runner.bisect.journal import Journal, begun, digest
from runner.bisect.search import Gap, Votes, votes
from runner.caches import cache_root
from runner.engine.fleet import this_machine_alone
from runner.errors import BuildError, InfraError, UserError
from runner.guest.accel import host_cpus
from runner.kernels import Means, lock_kernels
from runner.kernels.build import build_kernel
from runner.kernels.checkout import Checkout, Commit
from runner.model import CellResult, Pin, Wanted
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.results.bisections import Bisection, Candidate, KernelTitle, Reply, Why, load_bisections

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
    arch: str
    compiler: str = ""
    payload: dict[str, dict[str, bytes]] = field(init=False)
    known: dict[str, Reply] = field(default_factory=dict)

    def run(self, good: str, bad: str) -> Bisection:
        """To its end. Raises UserError when the ends cannot be what they are said to be; InfraError."""
        first, last = (self.checkout.commit(ref, deadline=self._deadline) for ref in (good, bad))
        self._check_order(first, last)
        self.payload = self.setup.payload((self.arch,))
        journal = self._journal(first, last)
        ends = [
            self._tested(journal, end, Why.ENDS, f"the {word} end") for word, end in (("good", first), ("bad", last))
        ]
        for word, end, one in zip(("good", "bad"), (first, last), ends, strict=True):
            if not one.answer:
                raise UserError(f"the {word} end, {end.short}, has no answer: {one.cause}")
        found: list[str] = []
        doubt, log = "", ""
        if ends[0].answer != ends[1].answer:
            for flags in ((), ("--first-parent",)):  # of branches that began before the good end, only the merges
                found = self._bisect(journal, first, last, ends[0].answer, *flags)
                log = self._git("bisect", "log")[1]
                if not (doubt := self._doubt(journal, found, ends[0].answer)):
                    break
            doubt = doubt or self._confirm(journal, found)
        return self._finish(journal, first, last, found, doubt=doubt, log=log)

    @property
    def _deadline(self) -> Deadline:
        """Of one command of git. The bisection itself has none."""
        return self.setup.limits.deadline("prepare_s")

    def _check_order(self, good: Commit, bad: Commit) -> None:
        if good.id == bad.id:
            raise UserError(f"--good and --bad are one commit, {good.short}")
        if self._git("merge-base", "--is-ancestor", good.id, bad.id)[0]:
            hint = "exchange them?"
            if self.checkout.shallow:
                hint = f"the repository is shallow: git -C {self.checkout.repository} fetch --unshallow"
            elif self._git("merge-base", "--is-ancestor", bad.id, good.id)[0]:
                hint = (
                    f"they are on different branches: git -C {self.checkout.repository} merge-base {good.id} {bad.id}"
                )
            raise UserError(f"--good {good.short} does not come before --bad {bad.short}", hint=hint)

    # --- what is known of each commit

    def _journal(self, good: Commit, bad: Commit) -> Journal:
        """Of this question and these ends; what was asked to the letter, and the programs, are part of the question."""
        target, repository = self.setup.target, str(self.checkout.repository)
        way = self.checkout.folder.name  # of this repository, architecture, configuration and compiler
        asks = "".join(it.model_dump_json() for it in target.asks(KernelVersion.parse("6.0"), fully=False))
        contents = (content for files in self.payload.values() for content in files.values())
        programs = (hashlib.sha256(content).hexdigest() for content in contents)
        about = digest(target.question.target, way, asks, *programs)
        new = begun(f"{about}-{digest(good.id, bad.id)}", target.question)
        for other in load_bisections(self.setup.store):
            if other.key.startswith(f"{about}-"):
                self.known |= {it.candidate: it for it in other.replies if not it.machines_fault}
        new = new.model_copy(update={"repository": repository})
        return Journal.open(self.setup.store, new, self.setup.project.matrix.sha256)

    def _tested(self, journal: Journal, commit: Commit, why: Why, word: str = "") -> Reply:
        """What came of a commit, from now or before."""
        mine = {it.candidate: it for it in journal.replies}
        reply = mine.get(commit.id) or self.known.get(commit.id)
        if reply is None:
            reply = self._build_and_boot(journal, commit, why)
        if commit.id not in mine:
            journal.add(self._candidate(commit), reply)
        self.setup.say(f"{commit.short} {commit.subject[:60]}: {word}{word and ': '}{reply.answer or reply.cause}")
        return reply

    def _candidate(self, commit: Commit) -> Candidate:
        return Candidate(key=commit.id, commit=commit.id, summary=commit.subject, arch=self.arch)

    def _build_and_boot(self, journal: Journal, commit: Commit, why: Why) -> Reply:
        """Raises InfraError when the machine failed: that is no reason to skip a commit. To confirm, always boots."""
        limits, native = self.setup.limits, architecture(self.arch).uname == platform.machine()
        deadline = limits.deadline("build_s")
        self.checkout.check_out(commit.id, deadline=deadline)
        source, objects = self.checkout.source, self.checkout.objects
        try:
            build_kernel(
                source, objects, self.arch, native=native, jobs=host_cpus(), deadline=deadline, compiler=self.compiler
            )
        except BuildError as error:
            said = error.what.partition("\n")[2] or error.what  # without the folder, which is always the same
            return Reply(candidate=commit.id, why=why, cause=f"does not build: {said}"[:_CAUSE_CHARS])
        wanted = Wanted(name="commit", source=f"tree:{objects}", arch=self.arch)
        (kernel,) = lock_kernels(wanted, Means(self.setup.archive, cache_root(), deadline))
        same = kernel_digest(kernel)
        for reply in (*journal.replies, *self.known.values()):
            if reply.kernel == same and reply.answer and why is not Why.CONFIRM:
                return reply.model_copy(update={"candidate": commit.id, "why": Why.KNOWN})
        cell = self.setup.cell(f"{commit.short}-{self.arch}", "commit", kernel)
        told: list[Reply] = []
        journal.count_round()
        boots = self.setup.boots(journal.bisection, self.payload, this_machine_alone(1))
        boots.boot({commit.id: (cell, why)}, told.append)
        return told[-1].model_copy(update={"kernel": same, "cause": told[-1].cause[:_CAUSE_CHARS]})

    # --- git

    def _bisect(self, journal: Journal, good: Commit, bad: Commit, good_answer: str, *flags: str) -> list[str]:
        """The first bad commit; or each one that may be it."""
        self._git("bisect", "reset")
        self._git("update-ref", "--no-deref", "HEAD", bad.id)  # git bisect wants one
        status, said = self._git("bisect", "start", "--no-checkout", *flags, bad.id, good.id)
        if status:
            raise InfraError(f"`git bisect start` failed: {said.strip()[-500:]}")
        while not (found := _ended(self._git("bisect", "log")[1])):
            commit = self.checkout.described("BISECT_HEAD", deadline=self._deadline)
            reply = self._tested(journal, commit, Why.SEARCH)
            word = "skip" if not reply.answer else "good" if reply.answer == good_answer else "bad"
            status, said = self._git("bisect", word, commit.id)
            if status not in {0, _ONLY_SKIPPED}:
                raise InfraError(f"`git bisect {word}` failed: {said.strip()[-500:]}")
        return found

    def _parents(self, journal: Journal, commit: str) -> dict[str, Reply]:
        """What came of the commits before one."""
        ids = self._git("rev-parse", f"{commit}^@")[1].split()
        named = (self.checkout.described(it, deadline=self._deadline) for it in ids)
        return {it.id: self._tested(journal, it, Why.SEARCH, "a parent") for it in named}

    def _doubt(self, journal: Journal, found: list[str], good_answer: str) -> str:
        """Why the answer did not change at the commit that was found: all that came before it answer as it does."""
        if len(found) != 1:
            return ""
        parents = self._parents(journal, found[0])
        answers = {commit: it.answer for commit, it in parents.items() if it.answer}
        if good_answer in answers.values():
            return ""
        if not parents:
            return f"the parents of {found[0][:12]} are not in this shallow repository: git fetch --unshallow"
        if not answers:
            return f"no parent of {found[0][:12]} has an answer"
        return (
            f"{found[0][:12]} is on a branch that began before the good end: {next(iter(answers))[:12]} answers so too"
        )

    def _confirm(self, journal: Journal, found: list[str]) -> str:
        """Build and boot the commit that was found and its good parent again. Returns why they are in doubt."""
        if len(found) != 1:
            return ""
        before = {commit: it.answer for commit, it in self._parents(journal, found[0]).items() if it.answer}
        before[found[0]] = next(it.answer for it in journal.replies if it.candidate == found[0])
        good = next(commit for commit, answer in before.items() if answer != before[found[0]])
        for commit in (found[0], good):
            named = self.checkout.described(commit, deadline=self._deadline)
            while (now := self._votes(journal, commit)).open or not (now.confirmed or now.wavers):
                if now.failed >= _FAILURES:
                    return f"{named.short} did not answer again"
                reply = self._build_and_boot(journal, named, Why.CONFIRM)
                journal.add(self._candidate(named), reply)
                self.setup.say(f"{named.short} {named.subject[:60]}: again: {reply.answer or reply.cause}")
            if now.answer != before[commit]:
                return f"{named.short} answers in several ways"
        return ""

    @staticmethod
    def _votes(journal: Journal, commit: str) -> Votes:
        return votes([it for it in journal.replies if it.candidate == commit])

    def _git(self, *words: str) -> tuple[int, str]:
        done = self.checkout.git(*words, deadline=self._deadline, check=False)
        return done.returncode, done.stdout + done.stderr

    # --- the end

    def _finish(
        self, journal: Journal, good: Commit, bad: Commit, found: list[str], *, doubt: str, log: str
    ) -> Bisection:
        order = [*reversed(self._git("rev-list", "--topo-order", f"{good.id}..{bad.id}")[1].split())]
        places = {commit: at for at, commit in enumerate([good.id, *order])}
        it = journal.bisection
        candidates = tuple(sorted(it.candidates, key=lambda candidate: places.get(candidate.key, -1)))
        mine = {candidate.key for candidate in candidates}
        it = it.model_copy(
            update={"candidates": candidates, "replies": tuple(r for r in journal.replies if r.candidate in mine)}
        )
        evidence = BisectEvidence.of(it, self.setup.target, self._results(it))
        at = {candidate.key: number for number, candidate in enumerate(candidates)}
        answers = {key: self._votes(journal, key).answer for key in at}
        changes = []
        if len(found) == 1 and answers[found[0]]:
            parents = [key for key in self._parents(journal, found[0]) if answers[key] not in {"", answers[found[0]]}]
            changes = [evidence.change(Gap(at[key], at[found[0]], (), ())) for key in parents[:1]]
        named = [self.checkout.described(commit, deadline=self._deadline) for commit in found]
        possible = [KernelTitle(commit=one.id, summary=one.subject, arch=self.arch) for one in named]
        end = evidence.conclusion().model_copy(
            update={
                "changes": tuple(changes),
                "monotonic": True,
                "doubt": doubt,
                "possible": tuple(possible[bool(changes) :]),
            }
        )
        return journal.finish(found=end, candidates=candidates, git_log=log)

    def _results(self, it: Bisection) -> dict[str, list[CellResult]]:
        """What the store has of each commit; what another bisection booted is in that one's run."""
        runs = {reply.run for reply in it.replies if reply.run}
        stored = {(run, result.cell.id): result for run in runs for result in self.setup.store.load(run).results}
        found = {reply.candidate: stored.get((reply.run, reply.cell)) for reply in it.replies}
        return {key: [result] for key, result in found.items() if result}


def _ended(log: str) -> list[str]:
    """What a `git bisect log` says was found; empty before its end."""
    return _FIRST_BAD.findall(log)[-1:] or _MAY_BE.findall(log)


def kernel_digest(kernel: Pin) -> str:
    """Over image, configuration and modules."""
    parts = sorted(f"{file.name} {file.sha256}" for file in kernel.files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
