# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a narrow terminal, or a pipe, may not spoil."""

from __future__ import annotations

import pytest
from rich.console import Group, RenderableType
from rich.text import Text

from runner.cli.options import emit
from runner.reports.cell import probe_report
from runner.reports.drawing import Trimmed, entry, whole
from tests.answers import seen_of, with_answers
from tests.unit import results_samples as samples
from tests.unit.rendering import render

LONG = "R1=scalar(id=3,smin=0) " * 12 + "end"


def shown(what: RenderableType) -> list[str]:
    return render(what, 40).splitlines()


def test_words_that_wrap_stand_below_themselves() -> None:
    words = "registered: a pointer to struct bpf_dynptr is expected"
    assert shown(entry("f  on 6.1", [("before", words)], "runner cell show 6.12.117-x86_64 --probe long-name:tc")) == [
        "  f  on 6.1",
        "    before  registered: a pointer to",
        "            struct bpf_dynptr is",
        "            expected",
        "    runner cell show 6.12.117-x86_64 --probe long-name:tc",
    ]


def test_an_entry_without_facts_is_two_lines() -> None:
    assert shown(entry("f", [], "show f")) == ["  f", "    show f"]


def test_what_is_indented_is_not_cut() -> None:
    assert shown(Trimmed(Group(whole(LONG), Text("short   ")), indent=2)) == [f"  {LONG}", "  short"]


@pytest.mark.parametrize("columns", [None, "80"])
def test_the_verifiers_words_come_whole(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, and on a narrow terminal: evidence that ends in the middle of a line is none."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    result = samples.result(samples.CELLS[0])
    first = seen_of(result)[0].model_copy(update={"log": f"{LONG}\nprocessed 5 insns\n"})
    cell = samples.judged(
        with_answers(result, claims=(first, *seen_of(result)[1:])),
        cells=samples.CELLS[:1],
    ).cells[0]
    emit(probe_report(cell, first.probe), None)
    assert f"  {LONG}" in capsys.readouterr().out.splitlines()
