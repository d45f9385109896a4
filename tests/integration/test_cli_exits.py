# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An exception that nobody expected is a fault of this program: exit 2 and one line, whatever it was and wherever."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner import cli
from runner.cli import app as cli_app
from runner.errors import BootError

RUN = [sys.executable, "-m", "runner"]
LINE = re.compile(r"error: a bug in runner, not in a kernel: (.*); traceback: (/\S+)\n")
MATRIX = str(Path(__file__).parents[2] / "matrix.yaml")
PRINTING = (
    ["--help"],
    ["matrix", "list", "--matrix", MATRIX],
    ["matrix", "list", "--matrix", MATRIX, "--format", "json"],
)
FAULTS = (AssertionError("no"), MemoryError(), RecursionError(), OSError(5, "x"), SystemExit(1), ValueError())


def traceback_of(err: str) -> str:
    """The traceback that the one line names; there is nothing besides."""
    found = LINE.fullmatch(err)
    assert found, err
    return Path(found[2]).read_text()


@pytest.fixture(autouse=True)
def _traces_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_an_unexpected_exception_of_a_command_is_2(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise fault

    monkeypatch.setattr(cli_app.app, "registered_commands", [*cli_app.app.registered_commands])
    cli_app.app.command("boom")(body)
    assert cli.run(["boom"]) == 2
    assert "in body" in traceback_of(capsys.readouterr().err)


def test_the_traceback_is_shown_with_v(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("platform.machine", lambda: 1 / 0)
    assert cli.run(["doctor", "-v"]) == 2
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert LINE.search(said)


def test_a_module_that_cannot_be_imported_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "runner.cli.doctor", None)
    assert cli.run(["doctor"]) == 2
    assert "ModuleNotFoundError" in traceback_of(capsys.readouterr().err)


def test_a_broken_pipe_of_our_own_is_2_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli_app.app, "registered_commands", [*cli_app.app.registered_commands])
    cli_app.app.command("boom")(body)
    assert cli.run(["boom"]) == 2
    assert "BrokenPipeError" in traceback_of(capfd.readouterr().err)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_stdout_is_2_with_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RUN, *words], check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == ["error: cannot write to stdout: No space left on device"]


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_reader_that_is_gone_is_no_news(words: list[str]) -> None:
    with subprocess.Popen([*RUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 2


def test_a_stderr_that_is_full_changes_no_status(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = ["matrix", "list", "--matrix", "none.yaml"]
        done = subprocess.run([*RUN, *words], check=False, cwd=tmp_path, stderr=full, stdout=subprocess.PIPE)
    assert done.returncode == 64


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_dev_null(closed: str) -> None:
    words = [*RUN, "matrix", "list"]
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *words], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_was_deleted_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.run(["matrix", "list"]) == 64
    assert capsys.readouterr().err == "error: the current folder was deleted\n  cd to another one\n"


def test_what_a_guest_says_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.explain(BootError("died: \x1b[31mx", console_tail="one\x1b]0;evil\x07\ntwo", hint="\x9bmfree")) == 1
    assert capsys.readouterr().err == "error: died: x\n  free\none\ntwo\n"
