# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner kernels build` and `runner bisect --git` as they are typed; nothing is built and nothing is booted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner import cli
from runner.kernels.build import Recipe
from tests.integration.test_bisect_commits import history, unsupervised
from tests.samples import ROOT

__all__ = ["unsupervised"]


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
    assert "--git tests the commits of a repository" in capsys.readouterr().err


def test_a_commit_is_built_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(source: Path, objects: Path, recipe: Recipe, **_: object) -> None:
        compilers.append(recipe.compiler)
        release = objects / "include/config/kernel.release"
        release.parent.mkdir(parents=True)
        release.write_text((source / "kernel").read_text() + "\n")

    compilers: list[str] = []
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("runner.kernels.build.build_kernel", build)
    ids = history(tmp_path / "repo", "6.12.1", "6.12.2")
    words = ["kernels", "build", "--git", str(tmp_path / "repo"), "--arch", "x86_64", "main~1", "--format", "json"]
    assert cli.run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["what"], told["release"]) == (f"{ids[0][:12]} commit 0: 6.12.1", "6.12.1")
    assert told["tree"].startswith(str(tmp_path / "cache" / "builds"))
    assert (tmp_path / "repo" / "kernel").read_text() == "6.12.2"
    assert cli.run([*words, "--cc", "gcc-14"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["tree"] != told["tree"], "objects of another compiler would be built again"
    assert compilers == ["", "gcc-14"]
