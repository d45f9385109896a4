# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cell is booted again, from the store; the guests are fakes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine import repeat
from runner.engine.execute import execute
from runner.engine.plan import OpenGuests
from runner.model import CellResult, Outcome
from runner.results.evidence import read_trace, write_trace
from runner.results.maintenance import merge
from runner.results.store import ResultStore
from tests import fakes
from tests.answers import seen_of, with_answers
from tests.integration.repro_fixture import (
    ID,
    PROBE,
    RUN,
    TRACE,
    VERSION,
    Guests,
    guests,
    project,
    runner,
    template,
)
from tests.unit import agent_samples

__all__ = ["guests", "project", "template"]  # fixtures


def with_field(value: int) -> Callable[[CellResult], CellResult]:
    def change(result: CellResult) -> CellResult:
        (seen,) = seen_of(result)
        return with_answers(result, claims=(seen.model_copy(update={"fields": {"found": value}}),))

    return change


def test_one_probe_is_asked_again_closely(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    (order,) = booted.orders
    assert ([ask.probe for ask in order.asks], order.trace, order.modules) == ([PROBE], True, ("nf_conntrack",))
    out = capsys.readouterr().out
    assert "The answer is the same as the stored one." in out
    assert "Verifier, every state\n  0: R1=ctx()" in out
    assert "The kernel said meanwhile\n  eth0: up" in out
    assert "\x1b" not in out
    assert "Note:" not in out


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (with_field(0), (1, "Not the same as stored")),
        (lambda result: with_answers(result, claims=()), (2, "no answer")),
        (
            lambda result: result.model_copy(update={"outcome": Outcome.LOST, "cause": "ssh dropped"}),
            (2, "says nothing about the kernel"),
        ),
        (
            lambda result: result.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "panic"}),
            (1, "then it ran, now it ended as boot failed"),
        ),
    ],
)
def test_another_answer_and_none_are_told_apart(
    project: Path,
    guests: Callable[..., Guests],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[CellResult], CellResult],
    ends: tuple[int, str],
) -> None:
    guests(change)
    assert runner(project, "repro", ID, "--probe", PROBE) == ends[0]
    assert ends[1] in capsys.readouterr().out


def test_without_a_probe_everything_is_asked_that_was(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--format", "json") == 0
    assert booted.orders[0].asks == agent_samples.transcript(VERSION).asks
    assert (booted.orders[0].trace, booted.orders[0].snapshot) == (False, True)
    document = json.loads(capsys.readouterr().out)
    assert (document["same"], document["changed"], document["notes"]) == (True, [], [])
    assert runner(project, "repro", ID, "--no-snapshot", "--format", "json") == 0
    assert not booted.orders[1].snapshot


def test_what_a_killed_repetition_left_goes_with_the_next_one(
    project: Path, guests: Callable[..., Guests], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    (cache / "scratch/cell-killed").mkdir(parents=True)
    monkeypatch.setenv("RUNNER_CACHE", str(cache))
    guests()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    assert list((cache / "scratch").iterdir()) == []


def test_a_probe_that_was_not_asked_is_a_mistake_with_a_proposal(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--probe", "insert-then-fond:tc") == 64
    assert f"did you mean {PROBE!r}?" in capsys.readouterr().err
    assert booted.orders == []


def test_a_run_that_did_not_keep_what_it_asked_says_so(
    project: Path, guests: Callable[..., Guests], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guests()
    monkeypatch.setattr(repeat, "compile_objects", lambda *_, **__: {"little": {}})
    with contextlib.closing(sqlite3.connect(project / "reports" / "results.db")) as db:
        db.execute("UPDATE cell SET asked = NULL")
        db.commit()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    assert "Note: the run did not store what it asked" in capsys.readouterr().out


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_the_trace_of_an_equal_answer_is_stored(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    guests(with_field(0))
    assert runner(project, "repro", ID, "--probe", PROBE) == 1
    assert read_trace(project / "reports", RUN, ID, PROBE) is None
    guests()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    assert read_trace(project / "reports", RUN, ID, PROBE) == TRACE
    capsys.readouterr()
    assert runner(project, "show", ID, "--probe", PROBE) == 0
    assert "0: R1=ctx()" in capsys.readouterr().out


def test_damaged_files_beside_the_store_are_as_if_not_there(project: Path) -> None:
    reports = project / "reports"
    write_trace(reports, RUN, ID, TRACE)
    for path in (reports / "runs" / RUN).rglob("*.json.gz"):
        path.write_bytes(b"\x1f\x8b\x08")
    assert read_trace(reports, RUN, ID, PROBE) is None


def test_what_was_asked_comes_along_when_stores_are_joined(project: Path, tmp_path: Path) -> None:
    with ResultStore(tmp_path / "other" / "results.db") as store:
        merge(store, project / "reports" / "results.db")
        merge(store, project / "reports" / "results.db")
        with ResultStore(project / "reports" / "results.db", read_only=True) as other:
            assert store.asked(RUN) == other.asked(RUN) is not None


# --- guests that stay open --------------------------------------------------------------------------------------------


def test_a_guest_is_open_before_the_questions_and_after_them(tmp_path: Path) -> None:
    seen: list[str] = []
    told = fakes.Told()
    guests = OpenGuests(
        before=lambda guest: seen.append(f"before {guest.access().ssh[0]}"),
        after=lambda guest: seen.append(f"after {guest.access().ssh[0]}"),
    )
    plan = fakes.plan(tmp_path, fakes.cell_order())
    assert execute(plan, [told], guests=guests).complete
    assert seen == ["before ssh", "after ssh"]
    assert [result.outcome for result in told.results] == [Outcome.RAN]


def test_an_interrupt_while_a_guest_is_open_ends_the_run(tmp_path: Path) -> None:
    def interrupted(guest: object) -> None:
        raise KeyboardInterrupt

    plan = fakes.plan(tmp_path, fakes.cell_order())
    assert not execute(plan, [fakes.Told()], guests=OpenGuests(before=interrupted)).complete
