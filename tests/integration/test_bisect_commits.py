"""The search over commits: a real git, and kernels that are one line of text."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.bisect import commitkernels
from runner.bisect.commitkernels import CommitKernels
from runner.bisect.commits import CommitJournal, Search, journal_path
from runner.bisect.questions import find
from runner.engine.orders import CellOrder
from runner.errors import BuildError, InfraError, UserError
from runner.kernels import checkout
from runner.kernels.checkout import Checkout
from runner.model import (
    CellResult,
    GuestSize,
    ImagePin,
    Limits,
    Observation,
    Outcome,
    Pin,
    PinnedFile,
    answers_of,
)
from runner.model.deadline import Deadline
from runner.probes import load_kfuncs
from runner.process import Completed
from runner.results.bisectcommits import CommitAnswer, CommitBisection, NamedCommit
from tests import fakes
from tests.unit import agent_samples

ROOT = Path(__file__).parents[2]


def limit() -> Deadline:
    return Deadline.after(60, "the test's limit")


@pytest.fixture(autouse=True)
def unsupervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """git without the process that watches it, which takes several times as long to start."""

    def run(argv: Sequence[object], *, env: dict[str, str], check: bool = True, **_: object) -> Completed:
        words = tuple(map(str, argv))
        done = subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, check=check)
        return Completed(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(checkout, "run", run)


def git(folder: Path, *words: str, stdin: str = "") -> str:
    argv = ["/usr/bin/env", "git", "-c", "init.defaultBranch=main", "-C", str(folder), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout.strip()


def history(folder: Path, *kernels: str) -> list[str]:
    """One commit for each kernel; its id. `kernels` are the content of the one file."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    commits = []
    for number, kernel in enumerate(kernels):
        subject = f"commit {number}: {kernel}"
        commits.append(
            f"commit refs/heads/main\nmark :{number + 1}\ncommitter a <a@b.example> {number} +0000\n"
            f"data {len(subject)}\n{subject}\nM 644 inline kernel\ndata {len(kernel)}\n{kernel}\n"
        )
    git(folder, "fast-import", "--quiet", "--export-marks=marks", stdin="".join(commits))
    git(folder, "reset", "--quiet", "--hard", "main")
    lines = (folder / "marks").read_text().split()
    (folder / "marks").unlink()
    return [lines[lines.index(f":{number}") + 1] for number in range(1, len(kernels) + 1)]


@dataclass
class Bench:
    """`good`, `bad`, anything else answers so; `broken` does not build, `fault` is the machine's."""

    checkout: Checkout
    tested: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    faulty: bool = False

    def test(self, commit: str) -> CommitAnswer:
        self.checkout.check_out(commit, deadline=limit())
        kernel = (self.checkout.source / "kernel").read_text()
        self.tested.append(commit)
        if self.faulty and kernel.startswith("fault"):
            raise InfraError("no space left on device")
        if kernel.startswith("broken"):
            return CommitAnswer(commit=commit, cause="does not build")
        return CommitAnswer(commit=commit, answer=kernel.split()[0], kernel="a" * 64, booted=True)

    def tell(self, one: CommitAnswer, commit: NamedCommit, word: str) -> None:
        self.words.append(word)

    def search(self, good: str, bad: str) -> CommitBisection:
        journal = CommitJournal(journal_path(self.checkout, "q:tc", "asks"))
        return Search(self.checkout, "q:tc", "x86_64", journal, self.test, self.tell, Limits()).run(good, bad)


@contextmanager
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Checkout.opened(tmp_path / "repo", "x86_64", "c", tmp_path, deadline=limit()) as made:
        yield Bench(made)


def test_the_first_bad_commit_is_found_and_what_does_not_build_is_skipped(tmp_path: Path) -> None:
    ids = history(
        tmp_path / "repo", "good", "good", "broken 1", "good", "good x", "bad", "bad", "broken", "bad x", "bad"
    )
    before = git(tmp_path / "repo", "status", "--porcelain=v2", "--branch")
    with bench(tmp_path) as made:
        done = made.search(ids[0], "main")
    assert done.first_bad == NamedCommit(id=ids[5], subject="commit 5: bad")
    assert (done.good_answer, done.bad_answer) == ("good", "bad")
    assert len(made.tested) < len(ids)
    assert len(set(made.tested)) == len(made.tested)
    assert [one.commit for one in done.tested] == sorted(made.tested, key=ids.index)
    assert "first bad commit" in done.log
    assert git(tmp_path / "repo", "status", "--porcelain=v2", "--branch") == before
    assert not list((tmp_path / "repo" / ".git").glob("BISECT*"))


def test_commits_that_cannot_be_told_apart_are_all_named(tmp_path: Path) -> None:
    ids = history(tmp_path / "repo", "good", "broken 1", "broken 2", "bad")
    with bench(tmp_path) as made:
        done = made.search(ids[0], ids[3])
        again = made.search(ids[0], ids[3])
    assert done.first_bad is None
    assert {commit.id for commit in done.candidates} == set(ids[1:])
    assert done == again
    assert len(made.tested) == 4


def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    kernels = ["good"] + [f"good {n}" for n in range(4)] + ["fault"] + [f"bad {n}" for n in range(4)]
    ids = history(tmp_path / "repo", *kernels)
    with bench(tmp_path) as made:
        made.faulty = True
        with pytest.raises(InfraError):
            made.search(ids[0], ids[-1])
    first = made.tested[:-1]
    path = next((tmp_path / "builds").glob("*/tested-*.jsonl"))
    with path.open("a") as file:
        file.write('{"commit": "cut sho')  # as a kill leaves it
    (path.parent / "source" / ".git" / "index.lock").touch()
    with bench(tmp_path) as made:
        done = made.search(ids[0], ids[-1])
    assert not set(first) & set(made.tested)
    assert done.first_bad is not None
    assert done.first_bad.id == ids[5]  # its answer, `fault`, is not the good one
    assert {one.commit for one in done.tested} >= {*first, *made.tested}
    with bench(tmp_path) as made:
        assert made.search(ids[0], ids[-1]) == done
    assert made.tested == []


def test_another_question_begins_anew(tmp_path: Path) -> None:
    ids = history(tmp_path / "repo", "good", "good 1", "bad", "bad 1")
    with bench(tmp_path) as made:
        made.search(ids[0], ids[3])
        found = made.search(ids[1], ids[2]).first_bad
    assert found is not None
    assert found.id == ids[2]


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("main", "main", "are one commit"),
        ("main", "main~3", "does not come before"),
        ("nothing", "main", "no commit 'nothing'"),
        ("--exec=id", "main", "no commit '--exec=id'"),
        ("main~3", "main~1", "the bad end, .* has no answer: does not build"),
    ],
)
def test_ends_that_cannot_be_are_the_users_mistake(tmp_path: Path, good: str, bad: str, words: str) -> None:
    history(tmp_path / "repo", "good", "good 1", "broken", "bad")
    with bench(tmp_path) as made, pytest.raises(UserError, match=words):
        made.search(good, bad)


def test_ends_that_answer_alike_end_the_search(tmp_path: Path) -> None:
    ids = history(tmp_path / "repo", "good", "bad", "good 1")
    with bench(tmp_path) as made:
        done = made.search(ids[0], ids[2])
    assert (done.first_bad, done.candidates, made.tested) == (None, (), [ids[0], ids[2]])


def test_a_folder_that_is_no_repository_and_one_that_is_in_use(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"), bench(tmp_path):
        pass
    (tmp_path / "repo").mkdir()
    with pytest.raises(UserError, match="not a git repository"), bench(tmp_path):
        pass
    (tmp_path / "repo").rmdir()
    history(tmp_path / "repo", "good")
    with bench(tmp_path), pytest.raises(InfraError, match="another process"), bench(tmp_path):
        pass


# --- one commit: build, boot, ask -------------------------------------------------------------------------------------


@dataclass
class Kernels:
    """In place of make and guests: a kernel's image is its source's first word."""

    outcomes: list[Outcome] = field(default_factory=list)
    boots: int = 0

    def build(self, source: Path, objects: Path, arch: str, **_: object) -> None:
        text = (source / "kernel").read_text()
        if text.startswith("broken"):
            raise BuildError("/source does not build:\nnet/x.c:1: error: expected ';'")
        objects.mkdir(exist_ok=True)
        (objects / "image").write_text(text.split()[0])

    def lock(self, wanted: object, means: object) -> tuple[Pin, ...]:
        folder = Path(wanted.source.removeprefix("tree:"))  # type: ignore[attr-defined]
        digest = (folder / "image").read_text().encode().hex().ljust(64, "0")
        files = (PinnedFile(name="image", sha256=digest, size_bytes=1),)
        return (Pin(source="tree:/x", arch="x86_64", version="6.12.1", release="6.12.1", files=files),)

    def run(self, order: CellOrder, *_: object) -> CellResult:
        self.boots += 1
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.RAN
        (ask,) = order.asks
        seen = Observation(
            probe=ask.probe, load_errno=0, run_errno=0, fields={"acquired": 1, "inserted": 1, "found": 1}
        )
        observations = (seen,) if outcome is Outcome.RAN else ()
        return CellResult(cell=order.cell, outcome=outcome, cause="why", answers=answers_of(observations))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    made = Kernels()
    monkeypatch.setattr(commitkernels, "build_kernel", made.build)
    monkeypatch.setattr(commitkernels, "lock_kernels", made.lock)
    monkeypatch.setattr(commitkernels, "run_cell", made.run)
    return made


def asker(clone: Checkout, cache: Path) -> CommitKernels:
    return CommitKernels(
        checkout=clone,
        arch="x86_64",
        asked=find("insert-then-found:tc", agent_samples.claims(), load_kfuncs(ROOT)),
        image=ImagePin(suite="trixie", arch="x86_64", packages=()),
        payload=b"",
        guest=GuestSize(),
        limits=Limits(),
        probes=("conntrack",),
        machine=fakes.FakeMachine(),
        journal=CommitJournal(cache / "journal"),
        cache=cache,
        native=True,
        jobs=1,
        tell=lambda phase, note: None,
    )


def test_the_very_same_kernel_is_not_booted_twice(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "one", "one with other words in its documentation", "two")
    with bench(tmp_path) as made:
        test = asker(made.checkout, tmp_path)
        for commit in ids:
            test.journal.add(test(commit))
    assert kernels.boots == 2
    first, second, third = (test.journal.tested[commit] for commit in ids)
    assert (first.booted, second.booted, third.booted) == (True, False, True)
    assert first.answer == second.answer == "acquired 1, inserted 1, found 1"
    assert first.observation is not None
    assert first.observation == second.observation


def test_a_commit_without_an_answer_says_why_and_a_fault_of_the_machine_is_none(
    tmp_path: Path, kernels: Kernels
) -> None:
    ids = history(tmp_path / "repo", "broken", "one")
    with bench(tmp_path) as made:
        test = asker(made.checkout, tmp_path)
        broken = test(ids[0])
        assert (broken.answer, broken.kernel, broken.cause) == (
            "",
            None,
            "does not build: net/x.c:1: error: expected ';'",
        )
        kernels.outcomes = [Outcome.BOOT_FAILED, Outcome.BOOT_FAILED]
        assert (test(ids[1]).answer, test(ids[1]).answer) == ("", "acquired 1, inserted 1, found 1")
        kernels.outcomes = [Outcome.BOOT_FAILED, Outcome.RAN]  # a busy machine
        assert test(ids[1]).answer
        kernels.outcomes = [Outcome.LOST, Outcome.INFRA_FAILED]
        with pytest.raises(InfraError, match="why"):
            test(ids[1])
