"""What a user is told who left something out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner import cli
from tests.samples import ROOT


def matrix(folder: Path) -> None:
    """A matrix of one kernel, and the claims that it names."""
    (folder / "bpf").mkdir()
    (folder / "bpf" / "conntrack.yaml").touch()
    (folder / "matrix.yaml").write_text(
        'kernels: [{debian: trixie, series: "6.12"}]\narchitectures: [x86_64]\nprobes: [conntrack]\n'
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["matrix", "list", "--matrix", "mine.yaml"], "run it in the project's folder, or say --matrix FILE"),
        (["host", "check"], "docs/hosts.md shows one"),
    ],
)
def test_where_there_is_no_file_it_says_what_to_do(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 64
    assert said in capsys.readouterr().err


def test_a_shell_of_a_kernel_that_is_not_there_names_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix(tmp_path)
    shutil.copy(ROOT / "matrix.lock", tmp_path)
    assert cli.run(["cell", "shell", "6.13", "arm64", "--offline"]) == 64
    assert "there is no kernel '6.13 arm64'\n  there are: 6.12 x86_64" in capsys.readouterr().err
