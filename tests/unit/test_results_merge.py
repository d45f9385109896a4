# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Stores are joined without loss or doubles, and made smaller without touching what stays."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model import Cell, CellResult, Outcome
from runner.reports.export import export
from runner.reports.markdown import availability_markdown
from runner.results.bisections import Bisection, load_bisections, write_bisection
from runner.results.evidence import console_path, run_folder
from runner.results.maintenance import Keep, merge, plan, prune
from runner.results.model import Run, judge_run
from runner.results.store import ResultStore
from tests.answers import seen_of, with_answers
from tests.unit import results_samples as samples

ARM = tuple(cell for cell in samples.CELLS if cell.arch == "arm64")
X86 = tuple(cell for cell in samples.CELLS if cell.arch == "x86_64")
DAY = timedelta(days=1)


def stored(path: Path, run: Run, *, finished: bool = True) -> Path:
    with ResultStore(path) as store:
        store.begin(run)
        for result in run.results:
            store.add(run.id, result)
        if finished and run.finished:
            store.finish(run.id, run.finished)
    return path


def few(cell: Cell) -> CellResult:
    """A result with enough answers for two shards to share some and differ in others."""
    result = samples.result(cell)
    return with_answers(result, claims=seen_of(result)[:12])


def shard(cells: tuple[Cell, ...], run_id: str = "nightly", **changes: object) -> Run:
    run = samples.run(*(few(cell) for cell in cells), cells=cells, run_id=run_id)
    return run.model_copy(update=changes)


def loaded(path: Path, run_id: str | None = None) -> Run:
    with ResultStore(path, read_only=True) as store:
        return store.load(run_id, consoles=True)


def merged(path: Path, *sources: Path) -> list[tuple[int, int, int, int]]:
    with ResultStore(path) as store:
        return [(it.runs, it.cells, it.results, it.known) for it in (merge(store, each) for each in sources)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_halves_are_the_whole(tmp_path: Path, order: tuple[int, int]) -> None:
    whole = loaded(stored(tmp_path / "whole" / "results.db", shard(samples.CELLS, slots=4)))
    halves = [
        stored(tmp_path / "x86" / "results.db", shard(X86, slots=2)),
        stored(tmp_path / "arm" / "results.db", shard(ARM, slots=2)),
    ]
    into = tmp_path / "all" / "results.db"
    assert merged(into, *(halves[at] for at in order)) == [(1, 4, 4, 0), (0, 4, 4, 0)]
    found = loaded(into)
    assert found.cells == whole.cells
    assert found.model_copy(update={"results": ()}) == whole.model_copy(update={"results": ()})
    assert [found.final(cell) for cell in found.cells] == [whole.final(cell) for cell in whole.cells]
    judged = [judge_run(run, samples.Judge()) for run in (found, whole)]
    assert export(judged[0]) == export(judged[1])
    assert availability_markdown(judged[0]) == availability_markdown(judged[1])
    for cell in samples.CELLS:
        assert console_path(into.parent, "nightly", cell.id).read_bytes() == samples.result(cell).console.encode()


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    into = stored(tmp_path / "results.db", shard(X86))
    other = stored(tmp_path / "arm" / "results.db", shard(ARM))
    merged(into, other)
    before = loaded(into)
    assert merged(into, other, other) == [(0, 0, 0, 4), (0, 0, 0, 4)]
    assert loaded(into) == before


@pytest.mark.parametrize(("later", "slots"), [(0 * DAY, 5), (1 * DAY, 3)])
def test_slots_of_machines_that_worked_at_the_same_time_add_up(tmp_path: Path, later: timedelta, slots: int) -> None:
    into = stored(tmp_path / "results.db", shard(X86, slots=2))
    start = samples.STARTED + later
    theirs = shard(ARM, slots=3, started=start, finished=start + timedelta(minutes=5))
    other = stored(tmp_path / "arm" / "results.db", theirs)
    for _ in range(2):
        merged(into, other)
        assert loaded(into).slots == slots


def test_runs_of_other_ids_stay_apart_and_in_the_order_of_time(tmp_path: Path) -> None:
    into = stored(tmp_path / "results.db", shard(X86, "monday"))
    sunday = shard(ARM, "sunday", started=samples.STARTED - DAY, finished=samples.STARTED - DAY)
    merged(into, stored(tmp_path / "arm" / "results.db", sunday))
    with ResultStore(into, read_only=True) as store:
        assert [info.id for info in store.runs()] == ["monday", "sunday"]
        assert store.load().id == "monday"  # the last one in time, not the last one that came in


def test_both_results_of_a_cell_that_two_shards_ran_are_kept(tmp_path: Path) -> None:
    into = stored(tmp_path / "results.db", shard(X86))
    lost = samples.result(X86[0], Outcome.LOST, "ssh dropped")
    twice = samples.run(lost, few(X86[0]), cells=X86[:1], run_id="nightly")
    assert merged(into, stored(tmp_path / "other" / "results.db", twice)) == [(0, 0, 1, 1)]
    assert len(loaded(into).attempts(X86[0].id)) == 2


def test_run_that_went_on_after_it_was_copied(tmp_path: Path) -> None:
    partial = samples.run(few(ARM[0]), cells=ARM, run_id="nightly")
    into = tmp_path / "results.db"
    merged(into, stored(tmp_path / "early" / "results.db", partial, finished=False))
    assert loaded(into).finished is None
    assert merged(into, stored(tmp_path / "late" / "results.db", shard(ARM))) == [(0, 0, 3, 1)]
    late = loaded(tmp_path / "late" / "results.db")
    assert loaded(into).model_copy(update={"sessions": late.sessions}) == late


def test_shard_that_was_killed_leaves_the_run_without_an_end(tmp_path: Path) -> None:
    into = stored(tmp_path / "results.db", shard(X86))
    killed = samples.run(few(ARM[0]), cells=ARM, run_id="nightly")
    merged(into, stored(tmp_path / "arm" / "results.db", killed, finished=False))
    found = loaded(into)
    assert found.finished is None
    assert len(found.cells) == 8
    assert [found.final(cell).outcome for cell in found.cells].count(Outcome.RAN) == 5


def test_what_is_no_shard_is_refused_and_nothing_written(tmp_path: Path) -> None:
    into = stored(tmp_path / "results.db", shard(X86))
    other = stored(tmp_path / "a" / "results.db", shard(ARM, matrix_sha256="e" * 64))
    repinned = ARM[0].model_copy(update={"image": X86[0].image})
    moved = stored(tmp_path / "b" / "results.db", shard((repinned,)))
    before = loaded(into)
    with pytest.raises(UserError, match="matrices differ"):
        merged(into, other)
    merged(into, stored(tmp_path / "c" / "results.db", shard(ARM)))
    with pytest.raises(UserError, match="pinned to other packages"):
        merged(into, moved)
    with pytest.raises(UserError, match="into itself"):
        merged(into, into)
    assert loaded(into).cells[::2] == before.cells


def nights(path: Path, number: int) -> Path:
    """Every night has an answer of its own, and some that all share."""
    for night in range(number):
        results: list[CellResult] = [samples.result(cell, seed=night) for cell in X86]
        run = samples.run(*results, cells=X86, run_id=f"night-{night}")
        stored(path, run.model_copy(update={"started": samples.STARTED + night * DAY}))
    return path


@pytest.mark.parametrize("keep", [Keep(runs=2), Keep(days=1)])
def test_pruning_takes_old_runs_with_all_that_is_theirs(tmp_path: Path, keep: Keep) -> None:
    path = nights(tmp_path / "results.db", 5)
    stays = loaded(path, "night-4")
    with ResultStore(path) as store:
        found = plan(store, keep, samples.STARTED + 4 * DAY)
        assert [info.id for info in found.going] == ["night-2", "night-1", "night-0"]
        assert found.evidence_bytes > 0
        before = path.stat().st_size
        prune(store, found)
        assert path.stat().st_size < before  # at once: the user is told how much it was
        assert [info.id for info in store.runs()] == ["night-4", "night-3"]
    assert loaded(path, "night-4") == stays
    assert sorted(folder.name for folder in (tmp_path / "runs").iterdir()) == ["night-3", "night-4"]
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    fresh = nights(tmp_path / "fresh" / "results.db", 2)
    assert path.stat().st_size <= 1.1 * fresh.stat().st_size  # no answer of a run that went is left


def test_plan_says_which_kernels_are_forgotten(tmp_path: Path) -> None:
    path = stored(tmp_path / "results.db", shard(samples.CELLS, "old", started=samples.STARTED - 90 * DAY))
    stored(path, shard(X86, "new"))
    with ResultStore(path, read_only=True) as store:
        found = plan(store, Keep(days=30), samples.STARTED)
    assert [info.id for info in found.going] == ["old"]
    assert found.lost_kernels == tuple(sorted(f"{cell.kernel.version} arm64" for cell in ARM))


def test_newest_run_always_stays(tmp_path: Path) -> None:
    path = nights(tmp_path / "results.db", 2)
    with ResultStore(path, read_only=True) as store:
        found = plan(store, Keep(days=3), samples.STARTED + 400 * DAY)
    assert [info.id for info in found.staying] == ["night-1"]


def test_pruning_that_was_killed_is_done_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nights(tmp_path / "results.db", 3)
    with ResultStore(path) as store:
        found = plan(store, Keep(runs=1), samples.STARTED)
        with monkeypatch.context() as patch:
            patch.setattr(ResultStore, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                prune(store, found)
        assert not run_folder(tmp_path, "night-0").exists()
        assert len(store.load("night-0").results) == 4  # its answers are all there
        prune(store, plan(store, Keep(runs=1), samples.STARTED))
        assert [info.id for info in store.runs()] == ["night-2"]


def a_bisection(bisection_id: str, started: datetime, *, ends: str = "") -> Bisection:
    """Found between two kernels that run `ends` asked."""
    side = {
        "version": "6.12.1", "release": "r", "arch": "x86_64", "source": "s", "suite": "trixie", "answer": "usable",
        "boots": 2, "agree": 2, "confirmed": True, "run": ends, "cell": "c",
    }  # fmt: skip
    change = {"last_good": side, "first_bad": side, "differs": "version"}
    found = {"changes": [change], "monotonic": True, "answers": {}, "unanswered": [], "wavering": [], "sampled": 0}
    return Bisection.model_validate(
        {
            "id": bisection_id, "key": "k", "started": started, "slots": 1, "samples": 0, "candidates": [],
            "question": {"target": "t:tc", "subject": "k", "type": "tc"}, "found": found if ends else None,
        }
    )  # fmt: skip


@pytest.mark.parametrize("keep", [Keep(runs=2), Keep(days=2)])
def test_bisects_are_not_counted_and_go_whole(tmp_path: Path, keep: Keep) -> None:
    path = nights(tmp_path / "results.db", 4)
    for name, day, ends in (
        ("bisect-old", 1, "bisect-old"),
        ("bisect-new", 3, "night-0"),
        ("bisect-unfinished", 3, ""),
    ):
        started = samples.STARTED + day * DAY + timedelta(hours=1)
        stored(path, shard(X86, name, started=started))
        with ResultStore(path) as store:
            write_bisection(store, a_bisection(name, started, ends=ends))
    with ResultStore(path) as store:
        found = plan(store, keep, samples.STARTED + 4 * DAY)
        assert {info.id for info in found.going} == {"bisect-old", "night-1"}
        prune(store, found)
        # night-0 stays with the bisection whose page points at it
        assert {info.id for info in store.runs()} == {
            "bisect-new",
            "bisect-unfinished",
            "night-0",
            "night-2",
            "night-3",
        }
        assert [bisection.id for bisection in load_bisections(store)] == ["bisect-unfinished", "bisect-new"]
    assert not run_folder(tmp_path, "bisect-old").exists()


def test_bisects_are_merged_with_their_runs(tmp_path: Path) -> None:
    """One that was killed here and came to its end there has its end here."""
    ours, theirs = tmp_path / "ours" / "results.db", tmp_path / "theirs" / "results.db"
    for path, ends in ((ours, ""), (theirs, "bisect-1")):
        stored(path, shard(X86, "bisect-1"))
        bisection = a_bisection("bisect-1", samples.STARTED, ends=ends)
        with ResultStore(path) as store:
            write_bisection(store, bisection.model_copy(update={"finished": samples.STARTED if ends else None}))
    stored(theirs, shard(X86, "bisect-2", started=samples.STARTED + DAY))
    with ResultStore(theirs) as store:
        write_bisection(store, a_bisection("bisect-2", samples.STARTED))
    for _ in range(2):
        merged(ours, theirs)
        with ResultStore(ours, read_only=True) as store:
            assert [(bisection.id, bool(bisection.found)) for bisection in load_bisections(store)] == [
                ("bisect-2", False),
                ("bisect-1", True),
            ]


@pytest.mark.parametrize("content", [b"probes: [conntrack]\n", b"", None])
def test_what_is_no_store_is_not_merged(tmp_path: Path, content: bytes | None) -> None:
    other = tmp_path / "matrix.yaml"
    if content is None:
        other.mkdir()
    else:
        other.write_bytes(content)
    with pytest.raises(UserError, match="is no store of results"):
        merged(tmp_path / "results.db", other)
