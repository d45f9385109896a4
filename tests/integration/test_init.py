# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""`runner init`, and the schemas of CI systems."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner import cli
from runner.project import Project
from tests.samples import ROOT

TOOLS = Path(sys.executable).parent
OBJECTS = "build/*.bpf.o"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> int:
    return cli.run(["init", *words, "--offline"])  # the pins of the built-in lock stay as they are


def check(schema: str, *files: Path) -> None:
    argv: list[str | Path] = [TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def harmless(*files: Path) -> None:
    argv: list[str | Path] = [TOOLS / "zizmor", "--offline", "--quiet", "--no-config", *files]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_writes_is_a_project_of_exactly_these_kernels(here: Path) -> None:
    words = ("--run", "./my.test -v", "--probe", "conntrack", "--kernel", "6.1", "--kernel", ">=6.18")
    assert init(OBJECTS, *words, "--arch", "x86_64") == 0
    project = Project.at(Path("matrix.yaml"))
    assert not project.is_builtin
    series = [cell.kernel.upstream.series for cell in project.matrix.cells(project.lock())]
    assert series == [(6, 1), (6, 18), (7, 3)]
    assert "  - {debian: bookworm, series: '6.1'}\n" in (here / "matrix.yaml").read_text()
    objects, command, claims = project.matrix.file.probes
    assert f"object='{OBJECTS}'" in str(objects)
    assert "command=('./my.test', '-v')" in str(command)
    assert claims == "conntrack"


def test_by_default_it_has_the_kernels_of_the_built_in_matrix(here: Path) -> None:
    assert init(OBJECTS) == 0
    own, builtin = (Project.at(path) for path in (here / "matrix.yaml", ROOT / "matrix.yaml"))
    assert [cell.id for cell in own.matrix.cells(own.lock())] == [
        cell.id for cell in builtin.matrix.cells(builtin.lock())
    ]


def test_nothing_is_replaced_without_force(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "matrix.lock").write_text("mine")
    assert init(OBJECTS) == 64
    assert "there already: matrix.lock\n  --force replaces them" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["matrix.lock"]
    assert init(OBJECTS, "--force", "--ci", "none") == 0
    assert sorted(path.name for path in here.iterdir()) == ["matrix.lock", "matrix.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "runner init 'build/*.bpf.o'"),
        ((OBJECTS, "--package", "a'b"), "quote"),
        (("--probe", "no"), "called 'no'"),
        (("--run", "./t '"), "quotation"),
    ],
)
def test_bad_usage_is_named(here: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(*words) == 64
    assert said in capsys.readouterr().err
    assert not [*here.iterdir()]


def test_its_workflows_are_valid_and_harmless(here: Path) -> None:
    assert init(OBJECTS, "--package", "git+https://example.org/runner") == 0
    github = here / ".github/workflows/kernels.yml"
    assert "pipx install 'git+https://example.org/runner'" in github.read_text()
    check("github-workflows", github)
    harmless(github)
    assert init(OBJECTS, "--ci", "gitlab", "--force") == 0
    check("gitlab-ci", here / ".gitlab-ci.yml")


def test_the_action_is_valid_and_harmless() -> None:
    check("github-actions", ROOT / "action.yml")
    harmless(ROOT / "action.yml")
