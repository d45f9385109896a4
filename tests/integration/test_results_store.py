# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The store at its limits: kill -9 in the middle of writes, and a year of nights."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from runner.model import CellResult
from runner.results.store import ResultStore
from tests.unit import results_samples as samples
from tests.unit.test_results_store import path, store_run, with_census

__all__ = ["path"]  # a fixture

KILLS = 50


def test_nothing_finished_is_lost_by_kill_9(path: Path) -> None:
    """One store, killed fifty times in the middle of writing, at every distance from the last commit."""
    store_run(path, samples.result(samples.CELLS[0]), run_id="before")
    added: dict[str, int] = {}
    for kill in range(KILLS):
        # from the moment in which a write begins to well after it ended: some hit it, some come between two
        run_id, after, delay_s = f"killed-{kill}", kill % 3, (kill // 3) * 0.001
        added[run_id] = _killed_writer(path, run_id, after, delay_s)
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", run_id
            assert db.execute("PRAGMA foreign_key_check").fetchall() == [], run_id
    partly = 0
    with ResultStore(path, read_only=True) as store:
        for run_id, number in added.items():
            run = store.load(run_id)
            assert number <= len(run.results) <= number + 1  # the one in flight is there whole, or not at all
            assert run.results == tuple(_written(at) for at in range(len(run.results)))
            assert run.finished is None
            partly += len(run.results) == number
        assert len(store.load("before").results) == 1
    assert partly > 0  # some were killed before their commit
    store_run(path, samples.result(samples.CELLS[0]), run_id="after")  # the last one's lock is gone


def _written(at: int) -> CellResult:
    return samples.result(samples.CELLS[at % 8], seed=at).model_copy(update={"console": ""})


def _killed_writer(path: Path, run_id: str, after: int, delay_s: float) -> int:
    """Kill a writer `delay_s` after it began to add its result number `after`; how many it said were added."""
    servant = multiprocessing.get_context("forkserver")  # forks fast, and from a process without threads
    servant.set_forkserver_preload([__name__])
    reading, writing = servant.Pipe(duplex=False)
    child = servant.Process(target=_write_for_ever, args=(path, run_id, writing))
    child.start()
    writing.close()
    said: list[str] = []
    while said.count("adding") <= after:
        said.append(reading.recv())
    time.sleep(delay_s)
    child.kill()
    child.join()
    with contextlib.suppress(EOFError):
        while True:
            said.append(reading.recv())
    return said.count("added")


def _write_for_ever(path: Path, run_id: str, pipe: Connection) -> None:
    with ResultStore(path) as store:
        store.begin(samples.run(run_id=run_id))
        for at in range(100_000):
            result = samples.result(samples.CELLS[at % 8], seed=at)
            pipe.send("adding")
            store.add(run_id, result)
            pipe.send("added")


def test_year_of_nightly_runs_fits(path: Path) -> None:
    """20 cells, 365 nights, within 500 MB; every night some fields of every observation differ."""
    nights, cells = 4, samples.CELLS
    sizes = []
    for night in range(nights):
        store_run(path, *(samples.result(cell, seed=night) for cell in cells), run_id=f"night-{night}")
        sizes.append(path.stat().st_size)
    per_cell_bytes = (sizes[-1] - sizes[0]) / (nights - 1) / len(cells)
    assert per_cell_bytes * 20 * 365 < 300e6


def test_a_year_of_censuses_fits(path: Path) -> None:
    """20 cells, 365 nights: what a night adds that answers as the one before did."""
    sizes = []
    for night in range(3):
        store_run(path, *(with_census(cell) for cell in samples.CELLS), run_id=f"night-{night}")
        sizes.append(path.stat().st_size)
    assert (sizes[2] - sizes[1]) / len(samples.CELLS) * 20 * 365 < 150e6


DIGEST = """
from tests.unit import agent_samples
from runner.probes import Expectations
print(Expectations.load(agent_samples.ROOT, ["conntrack", "traffic"]).digest)
"""


def test_what_is_expected_has_one_digest_in_every_process() -> None:
    made = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1]
    assert len(made[0]) > 60
