# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is a change, for better or worse, and what is none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

import pytest
from rich.console import Console

from runner.model import Outcome, State, Verdict
from runner.reports.changes import changes_document, changes_report
from runner.results.diff import Difference, Subject, Trend, difference, pairs
from runner.results.model import JudgedCell, JudgedRun, Side, of_run
from tests.unit import results_samples as samples

CELL = samples.CELLS[0].id


def changed(**changes: object) -> JudgedRun:
    """A clean run with one verdict changed."""
    return samples.with_claim(samples.clean_run(), CELL, 3, **changes)


def side(cells: Sequence[JudgedCell], name: str = "A", *, is_run: bool = True) -> Side:
    return Side(name, tuple(cells), {CELL: "one"} if name == "A" else {}, is_run)


def diff(before: JudgedRun, after: JudgedRun) -> Difference:
    return difference(side(before.cells), side(after.cells, "B"))


def with_state(of: State, cause: str = "") -> JudgedRun:
    run = samples.clean_run()
    cells = list(run.cells)
    cells[0] = samples.with_state(cells[0], state=of, cause=cause)
    return run.model_copy(update={"cells": tuple(cells)})


def test_two_equal_runs_differ_in_nothing() -> None:
    found = diff(samples.clean_run(), samples.clean_run())
    assert (found.nothing, found.compared) == (True, 8)


BROKEN = {"verdict": Verdict.BROKEN, "observed": "error 0"}
NO_ANSWER = {"verdict": Verdict.NO_ANSWER, "observed": "", "cause": "module did not load"}
CRASHED = {"verdict": Verdict.BROKEN, "observed": "crashed the kernel", "crashed": True}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ({}, BROKEN, Trend.WORSE),
        (BROKEN, {}, Trend.BETTER),
        (BROKEN, CRASHED, Trend.WORSE),
        ({}, BROKEN | {"known_issue": "duplicated-btf"}, Trend.OTHERWISE),
        ({}, NO_ANSWER, Trend.UNANSWERED),
        (NO_ANSWER, BROKEN, Trend.ANSWERED),  # not known to be worse than it was
        (NO_ANSWER, NO_ANSWER | {"cause": "otherwise"}, None),
        (BROKEN, BROKEN | {"observed": "error 13"}, Trend.OTHERWISE),
        ({}, {"verdict": Verdict.NOT_APPLICABLE}, Trend.OTHERWISE),
        ({"observed": "timeout 119"}, {"observed": "timeout 120"}, None),  # within what the claim allows
        ({"observed": 'load refused: "R1 is bad"'}, {"observed": 'load refused: "args#0 is bad"'}, Trend.TEXT),
    ],
)
def test_claims(before: dict[str, object], after: dict[str, object], kind: Trend | None) -> None:
    found = diff(changed(**before), changed(**after))
    assert [change.kind for change in found.changes] == ([] if kind is None else [kind])
    if kind:
        assert found.changes[0].key.subject is Subject.VERDICT
        assert found.changes[0].probe == samples.clean_run().cells[0].rows[3].probe


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (State.USABLE, State.REGISTERED, Trend.WORSE),
        (State.NOT_ALLOWED, State.ABSENT, Trend.OTHERWISE),
        (State.ABSENT, State.USABLE, Trend.BETTER),
        (State.USABLE, State.NO_ANSWER, Trend.UNANSWERED),
        (State.NO_ANSWER, State.ABSENT, Trend.ANSWERED),
        (State.USABLE, State.USABLE, None),
    ],
)
def test_states(before: State, after: State, kind: Trend | None) -> None:
    found = diff(with_state(before), with_state(after))
    assert [change.kind for change in found.changes] == ([] if kind is None else [kind])


def test_what_is_broken_is_told_before_its_state() -> None:
    """Of a row that is held against an expectation and has a state, too."""

    def both(verdict: Verdict, state: str) -> JudgedRun:
        return changed(verdict=verdict, state=state)

    (change,) = diff(both(Verdict.HOLDS, State.USABLE), both(Verdict.BROKEN, State.NO_ANSWER)).changes
    assert (change.kind, change.key.subject) == (Trend.WORSE, Subject.VERDICT)


def test_other_words_for_the_same_refusal_are_text() -> None:
    found = diff(with_state(State.REGISTERED, "R1 is bad"), with_state(State.REGISTERED, "args#0 is bad"))
    assert [change.kind for change in found.changes] == [Trend.TEXT]
    assert not found.worse


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.BOOT_FAILED, Trend.WORSE), (Outcome.LOST, Trend.UNANSWERED), (Outcome.INFRA_FAILED, Trend.UNANSWERED)],
)
def test_cell_that_did_not_run_says_so_once(outcome: Outcome, kind: Trend) -> None:
    after = samples.judged(
        samples.result(samples.CELLS[0], outcome, "why"), *(samples.result(cell) for cell in samples.CELLS[1:])
    )
    (change,) = diff(samples.clean_run(), after).changes
    assert (change.kind, change.key.subject, change.after) == (kind, Subject.CELL, f"{outcome}: why")
    (back,) = diff(after, samples.clean_run()).changes
    assert back.kind is (Trend.BETTER if outcome is Outcome.BOOT_FAILED else Trend.ANSWERED)


def test_new_build_of_a_kernel_is_compared_with_the_one_before() -> None:
    run = changed(**BROKEN)
    cell = run.cells[0].result.cell
    newer = cell.model_copy(update={"id": "6.1.193-x86_64"})
    moved = run.cells[0].model_copy(update={"result": run.cells[0].result.model_copy(update={"cell": newer})})
    found = difference(of_run(samples.clean_run()), side((moved, *run.cells[1:])))
    (change,) = found.changes
    assert (change.old_cell, change.key.cell) == ("6.1.192-x86_64", "6.1.193-x86_64")
    assert (found.gone, found.new) == ((), ())


def test_cells_without_a_partner_are_named() -> None:
    whole = samples.clean_run()
    found = difference(side(whole.cells[:5]), side(whole.cells[3:]))
    assert (found.compared, len(found.gone), len(found.new)) == (2, 3, 3)


def test_kernels_are_compared_by_architecture_and_cells_with_each_other() -> None:
    cells = samples.clean_run().cells
    kernel = partial(side, is_run=False)
    assert [(old.id, new.id) for old, new in pairs(kernel(cells[:2]), kernel(cells[2:4]))] == [
        ("6.1.192-x86_64", "6.12.117-x86_64"),
        ("6.1.192-arm64", "6.12.117-arm64"),
    ]
    assert len(list(pairs(kernel(cells[:1]), kernel(cells[1:2])))) == 1


def attempt(run: JudgedRun) -> JudgedCell:
    return run.cells[0]


@pytest.mark.parametrize(
    ("first", "last", "worse", "confirmed", "once"),
    [(BROKEN, BROKEN, 1, True, 0), (BROKEN, {}, 0, False, 1), ({}, BROKEN, 1, False, 0)],
)
def test_fresh_boot_confirms_or_clears(
    first: dict[str, object], last: dict[str, object], worse: int, confirmed: bool, once: int
) -> None:
    found = difference(of_run(samples.clean_run()), of_run(changed(**last)), {CELL: [attempt(changed(**first))]})
    assert len(found.worse) == worse
    assert all(found.confirmed(change) == confirmed for change in found.worse)
    assert len(found.once) == once


def text(of: Difference, **more: bool) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, color_system=None).print(changes_report(of, **more))
    return stream.getvalue()


def test_report_groups_what_is_the_same_and_gives_the_commands() -> None:
    before, after = samples.clean_run(), samples.clean_run()
    for cell in samples.CELLS[:3]:
        after = samples.with_claim(after, cell.id, 3, **BROKEN)
    said = text(diff(before, after))
    assert "A -> B: 8 cells compared; 3 worse" in said
    assert said.count("before  holds: error -EINVAL") == 1
    assert "on 6.1.192-x86_64, 6.1.192-arm64, 6.12.117-x86_64" in said
    assert "runner cell show 6.1.192-x86_64 --probe" in said
    assert "seen in one boot" in said


def test_guests_cannot_write_to_the_terminal() -> None:
    hostile = "\x1b[2Jerror\x1b]0;gone\x07 [red]0[/red]"
    said = text(diff(samples.clean_run(), changed(verdict=Verdict.BROKEN, observed=hostile)))
    assert "\x1b" not in said
    assert "broken: error [red]0[/red]" in said


def test_document_names_both_sides_of_each_change() -> None:
    document = changes_document(diff(samples.clean_run(), with_state(State.ABSENT)))
    changes = document["changes"]
    assert isinstance(changes, list)
    (change,) = changes
    assert (change["kfunc"], change["prog_type"], change["kind"]) == ("bpf_skb_ct_lookup", "tc", "worse")
    assert change["run"] == {"before": "one", "after": ""}
    assert document["counts"] == {kind: int(kind is Trend.WORSE) for kind in Trend}
