# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a user is told who left something out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from runner import cli
from runner.project import Project
from tests.samples import ROOT


def matrix(folder: Path) -> None:
    """A matrix of one kernel."""
    (folder / "matrix.yaml").write_text(
        'kernels: [{debian: trixie, series: "6.12"}]\narchitectures: [x86_64]\nprobes: [conntrack]\n'
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["matrix", "list", "--matrix", "mine.yaml"], "run it in the project's folder, or say --matrix FILE"),
        (["host", "prepare"], "docs/hosts.md shows one"),
    ],
)
def test_where_there_is_no_file_it_says_what_to_do(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 64
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kfunc", "--history"], "the history of which kfunc?"),
        (["kfunc", "bpf_x", "--history", "--kernel", "6.12"], "one question at a time"),
        (["kfunc", "bpf_x", "--history", "--data", "mine.json"], "--history shows the runs of the project's store"),
        (["kfunc", "bpf_x", "--arch", "arm64"], "--arch needs --history"),
        (["kfunc", "--kernel", "6.12", "--type", "lsm"], "--kernel with --type lsm: it was not measured\n  tc or xdp"),
        (["doctor", "--hosts", "hosts.yaml", "--fix"], "`runner host prepare` installs what hosts lack"),
        (["doctor", "big"], "unexpected argument big: only valid with --hosts"),
        (["doctor", "--hosts", "hosts.yaml", "bigg"], "no host is called 'bigg'\n  known: big"),
        (["report", "docs-check", "--type", "tc"], "--type needs --ebpf-docs"),
        (["report", "docs-check", "load-20260101-000000-abcd"], "is a run of load"),
        (["kfunc", "bpf_skb_ct_alloc", "--type", "xdp"], "--type needs --history or --kernel"),
        (["report", "docs-check", "--ebpf-docs", ".", "monday"], "leave RUN and --source out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix(tmp_path)
    (tmp_path / "hosts.yaml").write_text("hosts: [{name: big, ssh: ci@big.example.org}]\n")
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


@pytest.mark.parametrize(
    "words",
    [
        ["cell", "repro", "6.12.117-x86_64", "--from", "pipe"],
        ["cell", "repro", "6.12.117-x86_64", "--from", "/dev/zero"],
        ["doctor", "--hosts", "pipe"],
        ["matrix", "list", "--matrix", "pipe"],
        ["matrix", "list", "--matrix", "piped.yaml"],  # its lock is one
        ["kernels", "build", "--tree", ".", "--config", "pipe"],
        ["report", "docs-check", "--ebpf-docs", "docs"],
    ],
)
def test_what_is_no_file_is_not_waited_for(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    matrix(tmp_path)
    shutil.copy("matrix.yaml", "piped.yaml")
    Path("docs/data").mkdir(parents=True)
    for pipe in ("pipe", "piped.lock", "docs/data/kfuncs.yaml", "docs/data/feature-versions.yaml"):
        os.mkfifo(pipe)
    assert cli.run(words) == 64
    assert "is no regular file\n  copy it into one" in capsys.readouterr().err


def test_the_file_of_another_checkout_is_its_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in matrix, named by its path: where the program runs from its checkout, that is a project."""
    monkeypatch.chdir(tmp_path)
    named, found = Project.at(ROOT / "matrix.yaml"), Project.at(Path("matrix.yaml"))
    assert named.database == ROOT / "reports" / "results.db"
    assert not named.is_builtin
    assert found.matrix.path == named.matrix.path
    assert found.is_builtin


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "echo", "\udcff"], r"COMMAND \udcff: Input should be a valid string"),
        ([], "which command?\n  runner exec --kernel 6.12 -- ./prog.test -v"),
        (["--", "./gone"], "./gone: no such file\n  name a program of the guest without ./, or by its whole path"),
        (["--copy", "gone", "--", "true"], "gone: cannot be read"),
        (["--env", "NOT_SET", "--", "true"], "this shell has no such variable\n  --env NOT_SET=VALUE"),
        (["--env", "1=2", "--", "true"], "--env 1: "),
        (["--timeout", "1e9", "--", "true"], "--timeout 1000000000.0: "),
        (["--memory", "3", "--", "true"], "--memory 3: Input should be greater than or equal to 256"),
        (["--cpus", "0", "--", "true"], "--cpus 0: "),
        (["--image", "busybox", "--", "true"], "--image busybox: which image?\n  oci:HOST/NAME:TAG, or oci:PATH[:TAG]"),
        (["--image", "oci:busybox", "--", "true"], "--image: 'busybox' is not an image: with its registry"),
        (["--image", "oci:./gone:v1", "--", "true"], "gone is no OCI layout: there is no such file or folder"),
        (["--package", "Make", "--", "true"], "--package: 'Make' is not a Debian package: like python3-pytest"),
    ],
)
def test_a_command_that_cannot_run_is_told_before_anything_boots(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOT_SET", raising=False)
    assert cli.run(["exec", "--kernel", "6.12", "--offline", *words]) == 64
    assert said in capsys.readouterr().err
