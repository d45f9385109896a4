"""What a narrow terminal, or a pipe, may not spoil."""

from __future__ import annotations

import pytest
from rich.console import Group, RenderableType
from rich.text import Text

from runner.cli.options import emit
from runner.reports.cell import probe_report
from runner.reports.drawing import Hanging, Trimmed, whole
from tests.answers import seen_of, with_answers
from tests.unit import results_samples as samples
from tests.unit.rendering import render

LONG = "R1=scalar(id=3,smin=0) " * 12 + "end"


def shown(what: RenderableType) -> list[str]:
    return render(what, 40).splitlines()


def test_words_that_wrap_stand_below_themselves() -> None:
    assert shown(Hanging("    before   ", "registered: a pointer to struct bpf_dynptr is expected")) == [
        "    before   registered: a pointer to",
        "             struct bpf_dynptr is",
        "             expected",
    ]


def test_a_lead_without_words_is_a_line() -> None:
    assert shown(Hanging("    before   ", "")) == ["    before"]


def test_words_beside_a_lead_that_takes_all_the_room_begin_at_the_margin() -> None:
    assert shown(Hanging("x" * 30 + " ", "one two three four")) == ["x" * 30 + " one two", "three four"]


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
