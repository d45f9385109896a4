# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection over real xdist workers and fake guests, into a real store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from runner.bisect.boots import BisectSetup, Boots, Journal, begun
from runner.bisect.search import Tell, search
from runner.bisect.target import find
from runner.engine.fleet import this_machine_alone
from runner.matrix import load_matrix
from runner.model import Outcome
from runner.project import Project
from runner.results.bisections import Reply, Why
from runner.results.store import ResultStore
from tests import fakes
from tests.samples import ROOT
from tests.unit.test_bisect_target import expectations


def test_what_does_not_boot_is_skipped_and_everything_is_kept(tmp_path: Path) -> None:
    behaviours = ("fine", "panic-at-boot", "kills-worker-once", "fine")
    cells = {f"k{at}": fakes.cell(behaviour, number=at) for at, behaviour in enumerate(behaviours)}
    keys, replies = list(cells), list[Reply]()
    target = find("lookup-not-gpl", expectations())
    matrix = load_matrix(ROOT / "matrix.yaml")
    with ResultStore(tmp_path / "results.db") as store:
        setup = BisectSetup(target, Project(matrix), store, False, lambda _: None, fakes.Told())
        bisection = Journal(store, begun("k", target.question), matrix.sha256).bisection
        boots = setup.boots(bisection, {}, this_machine_alone(2))
        fake = fakes.plan(tmp_path / "run", fleet=this_machine_alone(2))
        boots = Boots(setup, replace(fake, run=boots.plan.run))

        def ask(batch: Mapping[str, Why], tell: Tell) -> None:
            boots.boot({key: (cells[key], why) for key, why in batch.items()}, tell)

        tally = search(keys, replies, ask, slots=2, samples=8)
        assert [tally[at].answer for at in range(4)] == ["loads and runs", "", "loads and runs", "loads and runs"]
        assert tally.dead == [1]
        (panicked,) = (reply for reply in replies if reply.outcome is Outcome.BOOT_FAILED)
        assert "Kernel panic" in panicked.cause
        kept = store.load(bisection.id)
        assert {result.cell.id for result in kept.results} == {cell.id for cell in cells.values()}
        assert kept.finished


def test_a_sink_that_fails_ends_it(tmp_path: Path) -> None:
    class Full(fakes.Told):
        def result(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    target = find("lookup-not-gpl", expectations())
    matrix = load_matrix(ROOT / "matrix.yaml")
    with ResultStore(tmp_path / "results.db") as store:
        setup = BisectSetup(target, Project(matrix), store, False, lambda _: None, Full())
        bisection = Journal(store, begun("k", target.question), matrix.sha256).bisection
        run = setup.boots(bisection, {}, this_machine_alone(1)).plan.run
        boots = Boots(setup, replace(fakes.plan(tmp_path / "run", fleet=this_machine_alone(1)), run=run))
        with pytest.raises(OSError, match="No space left"):
            boots.boot({"k": (fakes.cell("fine"), "end")}, lambda _: None)  # type: ignore[dict-item]
