"""`runner kernels build` and `runner bisect --git` as they are typed; nothing is built and nothing is booted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from runner import cli
from runner.cli.bisect_git import bisect_status
from runner.model import Observation
from runner.reports.bisectcommits import commits_report
from runner.results.bisectcommits import CommitAnswer, CommitBisection, NamedCommit
from tests.integration.test_bisect_commits import history, unsupervised

__all__ = ["unsupervised"]

ROOT = Path(__file__).parents[2]
GOOD, BAD, BROKEN = (NamedCommit(id=letter * 40, subject=f"net: \x1b[31m{letter}") for letter in "abc")
FOUND = CommitBisection(
    question="set-timeout:tc",
    repository="/home/me/linux",
    arch="x86_64",
    good=GOOD,
    bad=BAD,
    good_answer="timeout_ms 59900..60000",
    bad_answer="load refused: -EINVAL",
    first_bad=BAD,
    tested=(
        CommitAnswer(commit=GOOD.id, answer="timeout_ms 59900..60000", kernel="1" * 64, booted=True),
        CommitAnswer(commit=BROKEN.id, cause="net/x.c:1: error: expected ';'"),
        CommitAnswer(
            commit=BAD.id,
            answer="load refused: -EINVAL",
            kernel="2" * 64,
            observation=Observation(probe="set-timeout:tc", load_errno=22),
        ),
    ),
)


def shown(done: CommitBisection) -> str:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(commits_report(done))
    return captured.get()


def test_the_commit_and_what_led_to_it_are_shown() -> None:
    text = shown(FOUND)
    assert "First bad commit: bbbbbbbbbbbb net: b" in text
    assert "Commits: 3 looked at, 1 booted, 1 skipped" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "cccccccccccc skipped did not build net/x.c:1: error: expected ';'" in lines
    assert "bbbbbbbbbbbb bad the same kernel as another load refused: -EINVAL (errno 22)" in lines
    assert "git -C /home/me/linux show bbbbbbbbbbbb" in text
    assert bisect_status(FOUND) == 0
    assert CommitBisection.model_validate_json(FOUND.model_dump_json()) == FOUND


def test_what_is_not_one_commit_is_not_called_one() -> None:
    several = FOUND.model_copy(update={"first_bad": None, "candidates": (BROKEN, BAD)})
    assert "each of these may be the first bad one:\n  cccccccccccc net: c\n  bbbbbbbbbbbb net: b" in shown(several)
    alike = FOUND.model_copy(update={"first_bad": None})
    assert "Both ends answer alike" in shown(alike)
    assert (bisect_status(several), bisect_status(alike)) == (2, 2)


@pytest.mark.parametrize(
    "words",
    [
        ["kernels", "build"],
        ["kernels", "build", "--git", "."],
        ["kernels", "build", "--tree", ".", "v6.12"],
        ["kernels", "build", "--tree", "/nowhere"],
        ["kernels", "build", "--tree", ".", "--arch", "vax"],
        ["kernels", "build", "--tree", ".", "--config", "/nowhere"],
        ["bisect", "set-timeout", "--git", ".", "--good", "main", "--matrix", str(ROOT / "matrix.yaml")],
    ],
)
def test_half_a_wish_is_a_mistake(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path))
    assert cli.run(words) == 64


@pytest.mark.parametrize("word", ["--all", "--fresh", "-n2"])
def test_what_is_about_an_archives_kernels_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bisect", "set-timeout", "--git", ".", "--good", "a", "--bad", "b", word]) == 64
    assert "leave out what is about an archive's kernels" in capsys.readouterr().err


def test_a_commit_is_built_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(source: Path, objects: Path, arch: str, **_: object) -> None:
        release = objects / "include/config/kernel.release"
        release.parent.mkdir(parents=True)
        release.write_text((source / "kernel").read_text() + "\n")

    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("runner.kernels.build.build_kernel", build)
    ids = history(tmp_path / "repo", "6.12.1", "6.12.2")
    words = ["kernels", "build", "--git", str(tmp_path / "repo"), "--arch", "x86_64", "main~1", "--format", "json"]
    assert cli.run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["what"], told["release"]) == (f"{ids[0][:12]} commit 0: 6.12.1", "6.12.1")
    assert told["tree"].startswith(str(tmp_path / "cache" / "builds"))
    assert (tmp_path / "repo" / "kernel").read_text() == "6.12.2"
