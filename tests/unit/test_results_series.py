# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Rows over all runs: judged once, kept, and never those of another answer or another expectation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.model import CellResult, Crash, Kept, Outcome, Row, Timings
from runner.probes import load_issues
from runner.probes.census.answers import taken
from runner.probes.claims.answers import Observation
from runner.probes.expectations import Expectations
from runner.probes.files import NO_KFUNCS, load_kfuncs
from runner.probes.verifier import steady
from runner.results.model import judge_run
from runner.results.packed import unbooted, written
from runner.results.rowcache import NAME
from runner.results.series import judged_run, judged_runs, measurements, side
from runner.results.store import ResultStore
from tests.answers import answers_of, seen_of, with_answers
from tests.samples import ROOT
from tests.unit import agent_samples
from tests.unit import results_samples as samples

KFUNC = "bpf_skb_ct_alloc"
REAL = agent_samples.result("6.12.117")


@pytest.fixture(scope="module")
def expectations() -> Expectations:
    loaded = agent_samples.expecting(agent_samples.claims(), load_kfuncs(ROOT))
    return replace(loaded, issues=load_issues(ROOT))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.db") as store:
        yield store


def keep(store: ResultStore, *results: CellResult) -> None:
    for night, result in enumerate(results, start=len(store.runs())):
        store.begin(samples.run(run_id=f"night-{night}", cells=(result.cell,)))
        store.add(f"night-{night}", result)


def changed(probe: str, **changes: object) -> CellResult:
    """6.12.117, which answered one claim otherwise."""
    seen = (each.model_copy(update=changes) if each.probe == probe else each for each in seen_of(REAL))
    return with_answers(REAL, claims=tuple(seen))


def field(probe: str, name: str, value: int) -> CellResult:
    (seen,) = (each for each in seen_of(REAL) if each.probe == probe)
    return changed(probe, fields={**seen.fields, name: value})


def expected(expectations: Expectations, result: CellResult) -> list[Row]:
    """As a judge that knows no cache has it; kept rows have no logs."""
    return [plain(row) for row in expectations.rows(result)]


def plain(row: Row) -> Row:
    return replace(row, log="")


NIGHTS = (
    REAL,
    REAL.model_copy(update={"host": "other", "timings": Timings(boot_s=3.0), "attempts": 2}),
    field("made-timeout-generic:xdp", "entry_timeout_s", 599),
    field("made-timeout-generic:xdp", "entry_timeout_s", 3),
    field("alloc-tcp:tc", "error", -22),
    changed("alloc-tcp:tc", load_errno=13, log="R1 type=scalar expected=ctx\n", fields={}),
    changed("alloc-tcp:tc", load_errno=22, log="call unknown#200200001: invalid func unknown#2002000001\n", fields={}),
    changed("alloc-tcp:tc", load_errno=13, log="R1 of bpf_other#71234 at 0xffff888012345678 is not it\n", fields={}),
    changed("alloc-tcp:tc", load_errno=13, log="R1 of bpf_other#71235 at 0xffff888012345679 is not it\n", fields={}),
    changed("alloc-tcp:tc", failed="no memory"),
    REAL.model_copy(update={"crashes": (Crash(probe="alloc-tcp:tc", cause="panic"),)}),
    with_answers(REAL, missing=(*taken(REAL).missing, "bpf_skb_ct_alloc")),
    REAL.model_copy(update={"config": {**REAL.config, "BPF_JIT": "n"}}),
    with_answers(REAL, census=taken(REAL).answers[:2]),
    with_answers(REAL, census=(), ended={}),
    with_answers(REAL, claims=seen_of(REAL)[::3]),
    agent_samples.result("6.1.192"),
    agent_samples.result("7.3.4"),
)


# 13 has a part of the names that the others teach; those of claims are always known
@pytest.mark.parametrize(("claimed", "known"), [(True, None), (True, len(NIGHTS) - 1), (False, 13)])
def test_runs_that_are_judged_together_have_the_rows_that_each_has_alone(
    store: ResultStore, expectations: Expectations, claimed: bool, known: int | None
) -> None:
    expectations = expectations if claimed else agent_samples.expecting((), NO_KFUNCS)
    keep(store, *NIGHTS)
    names = [f"night-{number}" for number in range(len(NIGHTS))]
    together = expectations.grown(NIGHTS)
    judged_before = None if known is None else judge_run(store.load(names[known]), expectations)
    found = list(judged_runs(store, expectations, names, judged_before))
    assert [judged.run.id for judged in found] == names
    for judged, result in zip(found, NIGHTS, strict=True):
        (cell,) = judged.cells
        assert [steadied(row) for row in cell.rows] == [steadied(row) for row in together.rows(result)]
        assert (cell.result.host, cell.result.timings) == (result.host, result.timings)


def steadied(row: Row) -> Row:
    return replace(row, log=steady(row.log))


def test_rows_over_all_runs_are_those_of_a_judge_that_remembers_nothing(
    store: ResultStore, expectations: Expectations
) -> None:
    keep(store, *NIGHTS)
    subjects = {row.subject for result in NIGHTS for row in expectations.rows(result) if not row.state}
    assert len(subjects) > 3
    nights = [expected(expectations, result) for result in NIGHTS]
    for _ in ("judged", "read"):
        for subject in (KFUNC, *sorted(subjects)[:3]):
            for measured, rows in zip(measurements(store, expectations, subject), nights, strict=True):
                assert [plain(row) for row in measured.states.values()] == [row for row in rows if row.state]
                mine = [row for row in rows if not row.state and row.subject == subject]
                assert [plain(row) for row in measured.verdicts] == mine


def test_equal_digests_are_of_equal_rows_and_circumstances_are_not_in_them(expectations: Expectations) -> None:
    digests = [written(result)[1] for result in NIGHTS]
    assert digests[0] == digests[1]
    assert digests[6] != digests[5]
    assert len(set(digests)) == len(NIGHTS) - 2  # an id and an address are the other pair
    test = Observation(probe="alloc-tcp:tc", failed="no test#1234")  # no log: what looks like an id is none
    other = test.model_copy(update={"failed": "no test#1235"})
    assert written(one(test))[1] != written(one(other))[1]


def one(seen: Observation) -> CellResult:
    return CellResult(cell=REAL.cell, outcome=Outcome.RAN, answers=answers_of((seen,)))


def test_an_edited_expectation_is_judged_by_and_the_old_one_too(store: ResultStore, expectations: Expectations) -> None:
    keep(store, REAL)
    before = measurements(store, expectations, KFUNC)
    edited = replace(expectations, known={**expectations.known, "claims": expectations.known["claims"][:0]})
    assert measurements(store, edited, KFUNC)[0].verdicts == ()
    assert measurements(store, expectations, KFUNC) == before


def test_kept_rows_are_read_without_judging(
    store: ResultStore, expectations: Expectations, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, REAL, agent_samples.result("7.3.4"))
    for night in range(2):
        judged_run(store, expectations, f"night-{night}")

    def never(*_: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr(ResultStore, "lines", never)
    assert [bool(it.states) for it in measurements(store, expectations)] == [True, True]


def test_a_reused_cell_has_the_rows_that_were_judged_before(
    store: ResultStore, expectations: Expectations, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, REAL)
    final = store.finals()[0]
    reused = unbooted(REAL).model_copy(update={"kept": (Kept(run=final.run, started=final.started),)})
    store.begin(samples.run(run_id="second", cells=(REAL.cell,)))
    store.repeat("second", reused, final.seq)
    assert judged_run(store, expectations, final.run) == judge_run(store.load(final.run), expectations)
    wanted = judge_run(store.load("second"), expectations)
    monkeypatch.setattr(type(expectations), "rows_of", None)
    found = judged_run(store, expectations, "second")
    assert [plain(row) for row in found.cells[0].rows] == [plain(row) for row in wanted.cells[0].rows]
    assert found.known_issues == wanted.known_issues


def test_a_cell_that_was_asked_a_part_stands_for_no_kernel(store: ResultStore, expectations: Expectations) -> None:
    keep(store, REAL)
    store.begin(samples.run(run_id="bisect-1", cells=(REAL.cell,)))
    store.add("bisect-1", with_answers(REAL, claims=seen_of(REAL)[:1]))
    assert [it.run for it in measurements(store, expectations)] == ["night-0"]
    assert side(store, expectations, "6.12.117").runs == {REAL.cell.id: "night-0"}


@pytest.mark.parametrize("damage", [b"no database" * 1000, b""])
def test_a_damaged_or_deleted_cache_costs_time_alone(
    store: ResultStore, expectations: Expectations, damage: bytes
) -> None:
    keep(store, REAL)
    before = measurements(store, expectations, KFUNC)
    path = store.path.with_name(NAME)
    for file in path.parent.glob(f"{NAME}-*"):
        file.unlink()
    path.write_bytes(damage)
    assert measurements(store, expectations, KFUNC) == before
    assert measurements(store, expectations, KFUNC) == before


def test_a_cache_that_cannot_be_written_costs_time_alone(store: ResultStore, expectations: Expectations) -> None:
    keep(store, REAL)
    store.path.with_name(NAME).mkdir()
    assert measurements(store, expectations)[0].states


def test_rows_that_another_process_deleted_are_judged_again(
    store: ResultStore, expectations: Expectations, tmp_path: Path
) -> None:
    keep(store, REAL)
    before = measurements(store, expectations)
    with closing(sqlite3.connect(tmp_path / NAME)) as db, db:
        db.execute("DELETE FROM chunk")
    assert measurements(store, expectations) == before
