# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The controller is stopped, killed, and goes on; guests are fakes, all else is as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner import cli
from runner.model import CellResult, Outcome
from runner.probes.census.answers import taken
from runner.results.model import Run
from runner.results.store import ResultStore
from tests.answers import seen_of
from tests.faults.leftovers import Place, nothing_left
from tests.faults.project import cells, write_project
from tests.samples import ROOT
from tests.unit import results_samples as samples

ENDS_WITHIN_S = 300  # on a busy machine; seconds on one that is not
COMMAND = (sys.executable, "-m", "tests.faults.driver", "matrix", "run", "--offline", "-n", "2")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, ["slow"] * 6)


def environment(project: Path) -> dict[str, str]:
    return {**os.environ, "PWD": str(project), "PYTHONPATH": str(ROOT)}


def go(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )


@contextmanager
def started(project: Path, *, finished: int) -> Iterator[subprocess.Popen[str]]:
    """A run, at the moment when so many of its cells are finished."""
    with subprocess.Popen(
        COMMAND,
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C in a terminal reaches the whole group
    ) as process:
        assert process.stdout is not None
        while finished:
            line = process.stdout.readline()
            assert line, process.communicate()
            finished -= " done " in line
        yield process


def stored(project: Path) -> Run:
    with ResultStore(project / "reports" / "results.db", read_only=True) as store:
        return store.load()


def answers(run: Run) -> dict[str, tuple[object, ...]]:
    """What each cell answered, without what differs from run to run."""
    return {result.cell.id: answer(result) for result in map(run.final, run.cells)}


def answer(result: CellResult) -> tuple[object, ...]:
    return (result.outcome, seen_of(result), taken(result).answers, result.unasked, result.crashes, result.facts)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    project = write_project(tmp_path_factory.mktemp("undisturbed"), ["slow"] * 6)
    with nothing_left(Place(project, project / "scratch")):
        done = go(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return answers(stored(project))


def test_a_killed_run_goes_on_and_equals_an_undisturbed_one(
    project: Path, undisturbed: dict[str, tuple[object, ...]]
) -> None:
    with nothing_left(Place(project, project / "scratch")):
        with started(project, finished=2) as process:
            process.kill()
        before = stored(project)
        assert 2 <= len(before.results) < 6
        done = go(project, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"run {before.id} resumes: {len(before.results)} of 6 cells done" in done.stdout
    after = stored(project)
    assert (after.id, after.started) == (before.id, before.started)
    assert after.finished is not None
    assert len(after.results) == 6, "something was run twice"
    assert after.results[: len(before.results)] == before.results
    assert answers(after) == undisturbed
    again = go(project, "--resume", before.id)
    assert (again.returncode, len(stored(project).results)) == (0, 6)
    assert "has every result" in again.stdout


def test_what_was_stopped_is_resumed_though_another_run_came_after_it(project: Path) -> None:
    with started(project, finished=1) as process:
        process.kill()
    stopped = stored(project)
    assert go(project, "--only", f"id={stopped.cells[0].id}").returncode == 0
    assert stored(project).id != stopped.id
    (project / "matrix.lock").unlink()  # the run knows its kernels
    done = go(project, "--resume", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert f"run {stopped.id} resumes" in done.stderr
    finished = json.loads(done.stdout.splitlines()[-1])
    assert (finished["event"], finished["run"], finished["cells"]) == ("finished", stopped.id, {"ran": 6})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_says_what_is_missing(
    project: Path, number: signal.Signals, undisturbed: dict[str, tuple[object, ...]]
) -> None:
    with nothing_left(Place(project, project / "scratch")):
        with started(project, finished=1) as process:
            if number is signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            out, _ = process.communicate(timeout=ENDS_WITHIN_S)
        run = stored(project)
        missing = [cell.id for cell in run.cells if not run.attempts(cell.id)]
        assert process.returncode == 130
        assert missing
        assert f"{len(missing)} of 6 cells never finished, the run was interrupted: {', '.join(missing)}" in out
        assert f"`runner matrix run --resume {run.id}`" in out
    kept = {cell: it for cell, it in answers(run).items() if cell not in missing}
    assert kept == {cell: it for cell, it in undisturbed.items() if cell in kept}


def test_the_second_signal_ends_at_once(project: Path) -> None:
    with nothing_left(Place(project, project / "scratch")), started(project, finished=1) as process:
        for _ in range(40):  # the second one may come before the first one was looked at: they are one then
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
            if process.poll() is not None:
                break
        _, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 130
    assert "ended at once" in err
    run = stored(project)
    assert {result.outcome for result in run.results} == {Outcome.RAN}


def test_where_nothing_can_be_printed_a_run_ends_with_one_line(project: Path) -> None:
    with nothing_left(Place(project, project / "scratch")), Path("/dev/full").open("w") as full:
        done = subprocess.run(
            COMMAND, cwd=project, env=environment(project), stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=ENDS_WITHIN_S, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: cannot write to stdout: No space left on device\n")


def test_when_nobody_reads_it_any_more_a_run_ends_without_a_word(project: Path) -> None:
    with nothing_left(Place(project, project / "scratch")), started(project, finished=1) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == ""
        assert process.wait(ENDS_WITHIN_S) == 2


def test_what_cannot_be_resumed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = write_project(tmp_path, ["fine"])
    matrix = project / "matrix.yaml"

    def refused(*words: str) -> str:
        assert cli.run(["matrix", "run", "--matrix", str(matrix), "--offline", *words]) == 64
        return capsys.readouterr().err

    assert "no run to resume" in refused("--resume")
    assert "only valid with --resume" in refused("20261103-101501-3fa9")
    for words in (("--only", "arch=x86_64"), ("--shard", "1/2"), ("--locked",), ("--baseline", "last")):
        assert f"{words[0]} cannot change it" in refused("--resume", *words)
    run = samples.run(cells=cells(["fine"]), run_id="begun")
    with ResultStore(project / "reports" / "results.db") as store:
        store.begin(run)
    assert "begun with another" in refused("--resume")
    assert "no run 'never'" in refused("--resume", "never")
