"""The search over commits: `git bisect` itself, driven step by step. Its state is git's, in the clone.

Each commit is looked at once: what came of it is in a journal beside the clone, which is written before git is told.
However this program ends, the same command goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runner.errors import InfraError, UserError
from runner.kernels.checkout import Checkout, Commit
from runner.model import Limits
from runner.model.deadline import Deadline
from runner.results.bisectcommits import CommitAnswer, CommitBisection, NamedCommit
from runner.store import write_atomically

Test = Callable[[str], CommitAnswer]  # a commit's id; raises InfraError when the machine failed, which is no answer
Tell = Callable[[CommitAnswer, NamedCommit, str], None]  # what was tested, and the word that git gets

# As `git bisect log` has them.
_FIRST_BAD = re.compile(r"^# first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
_MAY_BE = re.compile(r"^# possible first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
_ONLY_SKIPPED = 2  # what git bisect exits with then
_MARK = "runner-bisect"  # in the clone's .git: what git's state is about


class CommitJournal:
    """What was tested, one JSON object a line. A line that a kill cut short is as if it was not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tested: dict[str, CommitAnswer] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                one = CommitAnswer.model_validate_json(line)
            except ValidationError:
                continue
            self.tested[one.commit] = one

    def add(self, one: CommitAnswer) -> None:
        """When this returns, it is on the disk. InfraError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + one.model_dump_json().encode() + b"\n")  # ends a line that was cut
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InfraError(f"{self._path}: {error.strerror}") from error
        self.tested[one.commit] = one

    def of_kernel(self, digest: str) -> CommitAnswer | None:
        """What the very same kernel answered, built of another commit."""
        return next((one for one in self.tested.values() if one.kernel == digest and one.answer), None)


@dataclass(frozen=True, slots=True)
class Search:
    """One question about the commits between two."""

    checkout: Checkout
    question: str
    arch: str
    journal: CommitJournal
    test: Test
    tell: Tell
    limits: Limits

    @property
    def _deadline(self) -> Deadline:
        """Of one command of git. The search itself is as long as it is."""
        return self.limits.deadline("prepare_s")

    def run(self, good: str, bad: str) -> CommitBisection:
        """To its end. UserError when the ends cannot be what they are said to be; InfraError."""
        first, last = (self._named(self.checkout.commit(ref, deadline=self._deadline)) for ref in (good, bad))
        self._check_order(first, last)
        ends = [self._tested(end) for end in (first, last)]
        for end, one, word in zip((first, last), ends, ("good", "bad"), strict=True):
            self.tell(one, end, f"the {word} end")
            if not one.answer:
                raise UserError(f"the {word} end, {end.short}, has no answer: {one.cause}")
        if ends[0].answer == ends[1].answer:
            return self._result(first, last, ends, [], "")
        candidates = self._bisect(first, last, ends[0].answer)
        log = self._git("bisect", "log")[1]
        return self._result(first, last, ends, candidates, log)

    def _check_order(self, good: NamedCommit, bad: NamedCommit) -> None:
        if good.id == bad.id:
            raise UserError(f"--good and --bad are one commit, {good.short}")
        if self._git("merge-base", "--is-ancestor", good.id, bad.id)[0]:
            raise UserError(f"--good {good.short} does not come before --bad {bad.short}", hint="turn them round?")

    def _bisect(self, good: NamedCommit, bad: NamedCommit, good_answer: str) -> list[str]:
        """The first bad commit; or each one that may be it."""
        self._begin(good, bad)
        while not (found := _ended(self._git("bisect", "log")[1])):
            commit = self._named(self.checkout.described("BISECT_HEAD", deadline=self._deadline))
            one = self._tested(commit)
            word = "skip" if not one.answer else "good" if one.answer == good_answer else "bad"
            self.tell(one, commit, word)
            status, said = self._git("bisect", word, commit.id)
            if status not in {0, _ONLY_SKIPPED}:
                raise InfraError(f"`git bisect {word}` failed: {said.strip()[-500:]}")
        return found

    def _begin(self, good: NamedCommit, bad: NamedCommit) -> None:
        """Begin, or go on with what was begun about the same."""
        mark = self.checkout.source / ".git" / _MARK
        about = f"{self.question} {self.arch} {good.id} {bad.id}\n"
        if mark.exists() and mark.read_text() == about:
            return
        self._git("bisect", "reset")
        status, said = self._git("bisect", "start", "--no-checkout", bad.id, good.id)
        if status:
            raise InfraError(f"`git bisect start` failed: {said.strip()[-500:]}")
        write_atomically(mark, about.encode())

    def _tested(self, commit: NamedCommit) -> CommitAnswer:
        if known := self.journal.tested.get(commit.id):
            return known
        one = self.test(commit.id)
        self.journal.add(one)
        return one

    def _named(self, commit: Commit) -> NamedCommit:
        return NamedCommit(id=commit.id, subject=commit.subject)

    def _git(self, *words: str) -> tuple[int, str]:
        done = self.checkout.git(*words, deadline=self._deadline, check=False)
        return done.returncode, done.stdout + done.stderr

    def _result(
        self, good: NamedCommit, bad: NamedCommit, ends: list[CommitAnswer], candidates: list[str], log: str
    ) -> CommitBisection:
        named = tuple(self._named(self.checkout.described(commit, deadline=self._deadline)) for commit in candidates)
        order = {commit: at for at, commit in enumerate(self._between(good, bad))}
        tested = [one for one in self.journal.tested.values() if one.commit in order]
        return CommitBisection(
            question=self.question,
            repository=str(self.checkout.repository),
            arch=self.arch,
            good=good,
            bad=bad,
            good_answer=ends[0].answer,
            bad_answer=ends[1].answer,
            first_bad=named[0] if len(named) == 1 else None,
            candidates=named if len(named) > 1 else (),
            tested=tuple(sorted(tested, key=lambda one: order[one.commit])),
            log=log,
        )

    def _between(self, good: NamedCommit, bad: NamedCommit) -> list[str]:
        """The ends and what is between them, the oldest first."""
        return [good.id, *self._git("rev-list", "--reverse", "--topo-order", f"{good.id}..{bad.id}")[1].split()]


def _ended(log: str) -> list[str]:
    """What a `git bisect log` says was found; empty when the search goes on."""
    return _FIRST_BAD.findall(log)[-1:] or _MAY_BE.findall(log)


def journal_path(checkout: Checkout, question: str, asks: str) -> Path:
    """`asks` are the questions to the letter, and the programs: another one has another journal."""
    digest = hashlib.sha256(f"{question}\0{asks}".encode()).hexdigest()[:16]
    return checkout.folder / f"tested-{digest}.jsonl"
