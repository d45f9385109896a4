# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs whose controller and workers are killed at random moments, whose guests fail at random, and that are resumed.

Processes, signals, store and command line are real; a guest replays what a real kernel answered. Every raw answer that
the store has in the end is compared with what that kernel answered.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.engine.plan import cell_orders
from runner.engine.transcript import Transcript
from runner.matrix import load_matrix
from runner.matrix.lock import read_lock
from runner.model import Ask, Cell, CellResult, Outcome
from runner.probes import Expectations
from runner.results.model import Run
from runner.results.store import ResultStore
from tests.faults import recorded
from tests.faults.leftovers import Place, nothing_left
from tests.faults.machine import AGENT, AT_BOOT, AT_PREPARE, IN_PROBE, ONCE
from tests.faults.project import write_project
from tests.faults.test_controller import COMMAND, ENDS_WITHIN_S, environment

CELLS, DISTURBED = 5, 3  # cells of each run, and how often it is disturbed before it may come to its end
FAULTS = sorted({*AT_PREPARE, *AT_BOOT, *IN_PROBE, *AGENT} - {"stops-worker", "slow"})
DIES, SILENT = {"panics"}, {"silent", "lockup", "qemu-stopped"}  # what these do is an answer: to one probe


def behaviours(dice: random.Random) -> list[str]:
    faults = [*FAULTS, *(f"{it}{ONCE}" for it in FAULTS if it not in AT_PREPARE)]
    return ["slow", "fine", *dice.choices(["fine", "slow", *faults], k=CELLS - 2)]


def disturb(process: subprocess.Popen[str], dice: random.Random) -> None:
    """At a random moment after the first cell began."""
    assert process.stdout is not None
    next((line for line in process.stdout if "preparing" in line), None)
    time.sleep(dice.uniform(0, 1.5))
    what = dice.choice(("kill controller", "kill worker", "kill worker", "interrupt"))
    if what == "kill worker":
        children = Path("/proc", str(process.pid), "task", str(process.pid), "children").read_text().split()
        if children:
            os.kill(int(dice.choice(children)), signal.SIGKILL)
    elif process.poll() is None:
        process.send_signal(signal.SIGKILL if what == "kill controller" else signal.SIGINT)


def run(project: Path, *words: str, dice: random.Random | None) -> int:
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=project,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        if dice:
            disturb(process, dice)
        process.communicate(timeout=ENDS_WITHIN_S)
        return process.returncode


def stored(project: Path) -> Run:
    with ResultStore(project / "reports" / "results.db", read_only=True) as store:
        return store.load()


def resumed(project: Path) -> tuple[str, ...]:
    """Killed before it was in the store, a run begins once more."""
    if not (project / "reports" / "results.db").exists():
        return ()
    with ResultStore(project / "reports" / "results.db", read_only=True) as store:
        return ("--resume",) if store.runs() else ()


def truth(cell: Cell, asks: tuple[Ask, ...]) -> CellResult:
    """What a real 6.12.117 answered to these."""
    said = Transcript(asks)
    for line in (recorded.hello(), *(line for ask in asks for line in recorded.answers(ask.probe))):
        said.feed(line)
    assert not said.noise
    return CellResult(cell=cell, outcome=Outcome.RAN, facts=said.facts, answers=tuple(said.answers.values()))


def check(result: CellResult, true: CellResult, behaviour: str) -> None:
    """Every answer is the true one, and what has none says so."""
    if result.outcome is not Outcome.RAN:
        assert result.cause, behaviour
    if result.answers:
        assert result.facts == true.facts
    answers, of_true = ({(it.probe, it.item): it for it in one.answers} for one in (result, true))
    silent = {probe for (probe, _), it in answers.items() if it.failed}
    assert not silent or (behaviour in SILENT and silent == {recorded.FAULTY}), (behaviour, silent)
    assert set(result.crashed) <= ({recorded.FAULTY} if behaviour in DIES else set())
    answered = {key: it for key, it in answers.items() if not it.failed}
    assert answered == {key: of_true.get(key) for key in answered}
    if result.outcome is Outcome.RAN:
        assert len(result.answers) == len(answers), "something was answered twice"
        assert {*answers, *((probe, "") for probe in result.crashed)} == of_true.keys()
        assert not result.unasked


@pytest.mark.parametrize("seed", range(4))
def test_a_disturbed_run_ends_complete_with_true_answers_alone(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    project = write_project(tmp_path, behaviours(dice))
    matrix = load_matrix(project / "matrix.yaml")
    cells = matrix.cells(read_lock(project / "matrix.lock"))
    order, *_ = cell_orders(cells, Expectations.load(project, ["conntrack"]))
    true = truth(order.cell, order.asks)  # all cells are asked the same
    with nothing_left(Place(project, project / "scratch")):
        for disturbed in (*[dice] * DISTURBED, None):
            run(project, *resumed(project), dice=disturbed)
    done = stored(project)
    missing = {cell.id for cell in done.missing_cells()}
    names = {cell.id: cell.name.partition(".")[0] for cell in done.cells}
    assert done.results
    for result in done.results:
        check(result, true, names[result.cell.id].removesuffix(ONCE))
    for cell in done.cells:
        outcomes = [result.outcome for result in done.attempts(cell.id)]
        assert Outcome.RAN not in outcomes[:-1], "what had an answer was run again"
        assert cell.id not in missing or names[cell.id] in FAULTS, (names[cell.id], outcomes)
    assert done.final(done.cells[0]).outcome is done.final(done.cells[1]).outcome is Outcome.RAN
