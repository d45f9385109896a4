# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection over commits: a real git, and kernels that are one line of text."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.bisect import boots, commits
from runner.bisect.boots import BisectSetup
from runner.bisect.commits import CommitBisection
from runner.bisect.target import find
from runner.engine.plan import CellOrder, Ended, Plan, RunEnd, Sink
from runner.errors import BuildError, InfraError, UserError
from runner.kernels import checkout
from runner.kernels.build import Recipe
from runner.kernels.checkout import Checkout
from runner.matrix import load_matrix
from runner.model import CellResult, Outcome, Pin, PinnedFile
from runner.model.deadline import Deadline
from runner.probes.claims.answers import Observation
from runner.process import Completed
from runner.project import Project
from runner.reports.bisection import bisection_report, summary
from runner.results.bisections import Bisection
from runner.results.store import ResultStore
from tests import fakes
from tests.answers import answers_of
from tests.samples import ROOT
from tests.unit import agent_samples
from tests.unit.rendering import render
from tests.unit.test_bisect_target import expectations


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
class Kernels:
    """In place of make and guests: a kernel is the first word of its source.

    `good` and `bad` answer in two ways, `broken` does not build, `panic` does not boot, `fault` is the machine's.
    `flaky` answers as `good` at first, as `bad` afterwards. `once` answers as `bad` at first, and panics afterwards.
    """

    built: list[str] = field(default_factory=list)
    booted: list[str] = field(default_factory=list)
    faulty: bool = False

    def build(self, source: Path, objects: Path, recipe: Recipe, **_: object) -> None:
        text = (source / "kernel").read_text()
        self.built.append(text)
        if text.startswith("broken"):
            raise BuildError("/source does not build:\nnet/x.c:1: error: expected ';'")
        objects.mkdir(exist_ok=True)
        (objects / "image").write_text(text.split()[0])

    def lock(self, wanted: object, means: object) -> tuple[Pin, ...]:
        folder = Path(wanted.source.removeprefix("tree:"))  # type: ignore[attr-defined]
        word = (folder / "image").read_text()
        file = PinnedFile(name="image", sha256=word.encode().hex().ljust(64, "0"), size_bytes=1)
        return (Pin(source="tree:/x", arch="x86_64", version="6.12.1", release=word, files=(file,)),)

    def execute(self, plan: Plan, sinks: Sequence[Sink]) -> RunEnd:
        return fakes.told(plan, sinks, map(self._result, plan.orders), Ended.COMPLETE)

    def _result(self, order: CellOrder) -> CellResult:
        word = order.cell.kernel.release
        self.booted.append(word)
        if word == "panic" or (word == "once" and self.booted.count(word) > 1):
            return CellResult(cell=order.cell, outcome=Outcome.BOOT_FAILED, cause="Kernel panic")
        if word == "fault" and self.faulty:
            return CellResult(cell=order.cell, outcome=Outcome.LOST, cause="no space left on device")
        first = self.booted.count(word) == 1
        fields = {"set_ret": 0 if word == "good" or (word == "flaky" and first) else -22}
        seen = Observation(probe="nat-manip-2:tc", load_errno=0, run_errno=0, log=f"said {word}", fields=fields)
        facts = agent_samples.GOOD_FACTS
        return CellResult(cell=order.cell, outcome=Outcome.RAN, facts=facts, answers=answers_of((seen,)))


@dataclass
class Bench:
    """A repository, a store, and what was built and booted."""

    setup: BisectSetup
    checkout: Checkout
    kernels: Kernels
    said: list[str]

    def bisect(self, good: str, bad: str) -> Bisection:
        self.kernels.built.clear()
        return CommitBisection(self.setup, self.checkout, Recipe("x86_64")).run(good, bad)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernels:
    made = Kernels()
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(commits, "build_kernel", made.build)
    monkeypatch.setattr(commits, "lock_kernels", made.lock)
    monkeypatch.setattr(boots, "execute", made.execute)
    monkeypatch.setattr(BisectSetup, "payload", lambda *_: {})
    return made


@contextmanager
def bench(tmp_path: Path, kernels: Kernels) -> Iterator[Bench]:
    matrix = load_matrix(ROOT / "matrix.yaml")
    with (
        Checkout.opened(tmp_path / "repo", "way", tmp_path, deadline=limit()) as made,
        ResultStore(tmp_path / "reports" / "results.db") as store,
    ):
        target = find("nat-manip-2", expectations())
        said: list[str] = []
        setup = BisectSetup(target, Project(matrix), store, False, said.append, fakes.Told())
        yield Bench(setup, made, kernels, said)


def first_bad(done: Bisection) -> str:
    assert done.found
    (change,) = done.found.changes
    return change.first_bad.commit


def test_the_first_bad_commit_is_found_and_what_does_not_build_is_skipped(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(
        tmp_path / "repo", "good", "good", "broken 1", "good", "good x", "bad", "bad", "broken", "bad x", "bad"
    )
    before = git(tmp_path / "repo", "status", "--porcelain=v2", "--branch")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], "main")
    assert first_bad(done) == ids[5]
    assert summary(done) == f"first bad commit: {ids[5][:12]} commit 5: bad"
    assert done.found
    (change,) = done.found.changes
    assert (change.last_good.commit, change.differs) == (ids[4], "commit")
    assert (change.last_good.answer, change.first_bad.answer) == ("set_ret 0", "set_ret -EINVAL")
    assert change.first_bad.evidence["set_ret"] == "-22 (-EINVAL)"
    assert [it.key for it in done.candidates] == sorted((it.key for it in done.candidates), key=ids.index)
    # the very same kernel is not booted twice, but for the two that are named
    assert kernels.booted == ["good", "bad", "bad", "good"]
    assert "first bad commit" in done.git_log
    text = render(bisection_report(done), 200)
    assert f"first bad  {ids[5][:12]} commit 5: bad" in text
    assert f"git log {ids[4][:12]}..{ids[5][:12]}" in text
    assert "the same kernel as another" in text
    assert git(tmp_path / "repo", "status", "--porcelain=v2", "--branch") == before
    assert not list((tmp_path / "repo" / ".git").glob("BISECT*"))


def test_commits_that_cannot_be_told_apart_are_all_named(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", "broken 1", "panic", "bad")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], ids[3])
    assert done.found
    assert not done.found.changes
    assert {it.commit for it in done.found.possible} == set(ids[1:])
    causes = {it.commit: it.cause for it in done.found.unanswered}
    assert causes == {ids[1]: "does not build: net/x.c:1: error: expected ';'", ids[2]: "boot failed: Kernel panic"}


def test_what_was_interrupted_is_resumed(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", *(f"good {n}" for n in range(4)), "fault", *(f"bad {n}" for n in range(4)))
    kernels.faulty = True
    with bench(tmp_path, kernels) as made, pytest.raises(InfraError, match="no space left"):
        made.bisect(ids[0], ids[-1])
    (tmp_path / "builds").glob("*/source/.git").__next__().joinpath("index.lock").touch()  # as a kill leaves it
    kernels.faulty = False
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], ids[-1])
        assert kernels.built == ["fault", "fault", "good 3"]  # one without an answer, then the two that are named
        assert made.said[0].endswith("nat-manip-2:tc, 10 commits; resumed after 2 boots")
        assert first_bad(done) == ids[5]
        # another bisection with the same question knows them all
        assert first_bad(made.bisect(ids[0], ids[-1])) == ids[5]
        assert first_bad(made.bisect(ids[4], ids[-1])) == ids[5]
        assert kernels.built == ["fault", "good 3"]


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
def test_ends_that_cannot_be_are_the_users_mistake(
    tmp_path: Path, kernels: Kernels, good: str, bad: str, words: str
) -> None:
    history(tmp_path / "repo", "good", "good 1", "broken", "bad")
    with bench(tmp_path, kernels) as made, pytest.raises(UserError, match=words):
        made.bisect(good, bad)


def test_ends_that_answer_alike_end_the_search(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", "bad", "good 1")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], ids[2])
    assert summary(done) == "no change seen: set_ret 0"
    assert len(done.candidates) == 2


def merged(folder: Path, *, root: str = "bad", topic: str = "bad", after: str = "good") -> dict[str, str]:
    """A branch from before the bug, merged after it; by default its commits answer as the fix does."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "config", "user.email", "a@b.example")
    git(folder, "config", "user.name", "a")
    ids = {}

    def commit(word: str, subject: str) -> None:
        (folder / "kernel").write_text(f"{word} {subject}")
        git(folder, "add", "kernel")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", subject)
        ids[subject] = git(folder, "rev-parse", "HEAD")

    commit(root, "root")
    commit("good", "bug")
    commit("good", "main 1")
    git(folder, "checkout", "--quiet", "-b", "topic", ids["root"])
    for number in range(6):
        commit(topic, f"topic {number}")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "merge", "--quiet", "--no-commit", "--strategy=ours", "topic")
    for subject in ("merge", "main 2", "main 3"):
        commit(after, subject)
    commit("bad", "THE FIX")
    commit("bad", "end")
    return ids


def test_a_branch_from_before_the_good_end_misleads_nobody(tmp_path: Path, kernels: Kernels) -> None:
    ids = merged(tmp_path / "repo")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids["bug"], ids["end"])
    assert first_bad(done) == ids["THE FIX"]
    assert done.found
    assert not done.found.doubt
    assert done.found.certain


def test_what_answers_otherwise_when_it_is_asked_again_is_in_doubt(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", "flaky", "bad", "bad 1")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], ids[3])
    assert done.found
    assert done.found.doubt == f"{ids[1][:12]} answers in several ways"
    assert not done.found.certain
    assert kernels.booted.count("flaky") > 2
    assert "in doubt" in summary(done) or ids[2][:12] in summary(done)


def test_what_does_not_answer_again_is_in_doubt_and_shows_what_it_answered(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", "once", "bad")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids[0], ids[2])
    assert first_bad(done) == ids[1]
    assert done.found
    assert done.found.doubt == f"{ids[1][:12]} did not answer again"
    (change,) = done.found.changes
    assert change.first_bad.evidence.keys() == change.last_good.evidence.keys() != set()


def test_a_shallow_repository_is_named_as_the_cause(tmp_path: Path, kernels: Kernels) -> None:
    history(tmp_path / "upstream", "good", "good 1", "bad", "bad 1")
    git(tmp_path / "upstream", "tag", "v1", "main~3")
    git(tmp_path / "upstream", "tag", "v2", "main")
    git(tmp_path, "init", "--quiet", "repo")
    for tag in ("v1", "v2"):
        git(
            tmp_path / "repo",
            "fetch",
            "--quiet",
            "--depth=1",
            f"file://{tmp_path}/upstream",
            f"refs/tags/{tag}:refs/tags/{tag}",
        )
    with bench(tmp_path, kernels) as made, pytest.raises(UserError, match="does not come before") as caught:
        made.bisect("v1", "v2")
    command = caught.value.hint.partition(": ")[2]
    assert caught.value.hint.startswith("the repository is shallow: ")
    assert command.endswith("fetch --unshallow")
    git(tmp_path / "repo", "fetch", "--quiet", "--unshallow", f"file://{tmp_path}/upstream", "main")
    with bench(tmp_path, kernels) as made:  # the same clone knows more now
        assert summary(made.bisect("v1", "v2")).endswith("commit 2: bad")


def test_commits_that_the_repository_no_longer_has_are_no_hindrance(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "repo", "good", "good 1", "fault", "bad", "bad 1")
    kernels.faulty = True
    with bench(tmp_path, kernels) as made, pytest.raises(InfraError, match="no space left"):
        made.bisect(ids[0], ids[4])
    repo = tmp_path / "repo"
    git(repo, "reset", "--quiet", "--hard", ids[1])
    (repo / "kernel").write_text("bad again")
    git(repo, "-c", "user.email=a@b.example", "-c", "user.name=a", "commit", "--quiet", "--all", "--message", "new")
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "--quiet", "--prune=now")
    with bench(tmp_path, kernels) as made:
        assert summary(made.bisect(ids[0], "main")).endswith(" new")


def test_a_branch_whose_beginning_is_cut_off_is_named_by_its_merge(tmp_path: Path, kernels: Kernels) -> None:
    ids = merged(tmp_path / "repo", root="good", after="bad")
    (tmp_path / "repo/.git/shallow").write_text(f"{ids['topic 0']}\n")
    with bench(tmp_path, kernels) as made:
        done = made.bisect(ids["bug"], ids["end"])
    assert first_bad(done) == ids["merge"]


def test_blobs_of_a_partial_clone_come_from_its_server(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "upstream", "good", "good 1", "bad", "bad 1")
    git(tmp_path / "upstream", "config", "uploadpack.allowFilter", "true")
    git(tmp_path / "upstream", "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{tmp_path}/upstream", "repo")
    with bench(tmp_path, kernels) as made:
        assert first_bad(made.bisect(ids[0], ids[3])) == ids[2]
    (tmp_path / "upstream").rename(tmp_path / "gone")
    (tmp_path / "builds").rename(tmp_path / "other")
    with bench(tmp_path, kernels) as made, pytest.raises(InfraError, match="cannot check out") as caught:
        made.checkout.check_out(ids[1], deadline=limit())
    assert caught.value.hint == f"a partial clone: git -C {tmp_path}/repo fetch --refetch --no-filter"


def test_a_linked_worktree_is_a_repository_like_any_other(tmp_path: Path, kernels: Kernels) -> None:
    ids = history(tmp_path / "own", "good", "good 1", "bad")
    git(tmp_path / "own", "worktree", "add", "--quiet", "--detach", str(tmp_path / "repo"))
    with bench(tmp_path, kernels) as made:
        assert first_bad(made.bisect(ids[0], "HEAD")) == ids[2]


def test_a_folder_that_is_no_repository_and_one_that_is_in_use(tmp_path: Path, kernels: Kernels) -> None:
    with pytest.raises(UserError, match="is not a folder"), bench(tmp_path, kernels):
        pass
    (tmp_path / "repo").mkdir()
    with pytest.raises(UserError, match="not a git repository"), bench(tmp_path, kernels):
        pass
    (tmp_path / "repo").rmdir()
    history(tmp_path / "repo", "good")
    with bench(tmp_path, kernels), pytest.raises(InfraError, match="another process"), bench(tmp_path, kernels):
        pass
