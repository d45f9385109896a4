# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The grid is true, and it can be read at any width, without colour, and without UTF-8."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from runner.model import CellResult, Outcome, ProgType, Row, State
from runner.reports.drawing import entry, section
from runner.reports.grid import Grid
from runner.reports.summary import run_report
from runner.results.availability import availability, places
from runner.results.model import JudgedRun, judge_run
from tests.unit import results_samples as samples


def render(judged: JudgedRun, width: int, *, every: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    Console(file=file, width=width).print(Grid(availability(judged, every=every), "`--all` shows them"))
    file.flush()
    return raw.getvalue().decode(encoding)


def row(text: str, kfunc: str, prog_type: str) -> list[str]:
    """The fields of one row, kernels joined over the tables."""
    heads = [(line, line.split("│")[0].replace(",", "").split()) for line in text.splitlines() if "│" in line]
    rows = [line for line, head in heads if head[:1] == [kfunc] and prog_type in head[1:]]
    return [part.strip() for line in rows for part in line.split("│")[1:]]


def test_states_stand_where_they_belong() -> None:
    text = render(samples.mixed_run(), 120)
    head = next(line for line in text.splitlines() if "6.1.192" in line).split()
    assert head == ["│", "6.1.192", "│", "6.12.117", "│", "6.18.15", "│", "7.3.4"]
    assert row(text, "bpf_ct_release", "tc") == ["✓", "✓", "✓", "? 3/? 4"]
    assert row(text, "bpf_ct_set_nat_info", "xdp") == ["✓/- 2", "✓", "✓", "? 3/? 4"]
    assert row(text, "bpf_skb_ct_alloc", "tc")[0] == "✓"
    assert row(text, "bpf_skb_ct_alloc", "xdp")[0] == "○ 1"


def test_a_kfunc_that_was_renamed_is_one_line_that_tells_its_name_by_kernel() -> None:
    names = ["bpf_obj_new", "bpf_obj_new_impl"]
    by_kernel = {"6.1": (), "6.12": names[1:], "6.18": names[1:], "7": names}

    def states(of: CellResult) -> tuple[Row, ...]:
        there = by_kernel[of.cell.name]
        rows = [
            samples.state_row(it, ProgType.TC, State.USABLE if it in there else State.ABSENT, "", "vmlinux")
            for it in names
        ]
        return tuple(replace(it, details={**it.details, "names": names}) for it in rows)

    run = samples.run(*map(samples.result, samples.CELLS))
    text = render(judge_run(run, samples.Judge(lambda of: (), states)), 120)
    assert row(text, "bpf_obj_new", "tc") == ["- 2", "✓ 1", "✓ 1", "✓"]
    assert row(text, "bpf_obj_new_impl", "tc") == []
    assert "usable: called <kfunc>_impl here" in text


def test_causes_are_told_once() -> None:
    text = render(samples.mixed_run(), 200)
    assert text.count("R1 is ctx expected STRUCT __sk_buff") == 1
    assert "bpf_ct_set_nat_info (tc, xdp) on 6.1.192 (arm64)\n" in text
    assert "every kfunc (tc, xdp) on 7.3.4 (arm64)\n" in text
    assert "boot failed: kernel panicked: VFS" in text
    assert "infrastructure failed: never finished" in text
    assert "bpf_skb_ct_alloc, bpf_skb_ct_lookup (xdp) on 6.1.192, 6.12.117, 6.18.15 (x86_64, arm64)\n" in text


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 120, 200])
def test_every_field_is_there_at_every_width(width: int) -> None:
    text = render(samples.mixed_run(), width)
    if width >= 60:
        assert max(map(len, text.splitlines())) <= width
    marks = [mark for kfunc in samples.KFUNCS for it in ("tc", "xdp") for mark in row(text, kfunc, it)]
    assert " ".join(marks).count("✓") == 3 * (2 * 11 - 4)
    assert " ".join(marks).count("?") == 2 * 2 * 11
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_one_table_for_eight_cells_at_80_columns() -> None:
    assert render(samples.clean_run(), 80).count("kfunc                  type") == 1
    assert render(samples.clean_run(), 50).count("kfunc                 type") == 2


def test_no_colour_in_a_pipe_and_marks_in_ascii() -> None:
    text = render(samples.mixed_run(), 100, encoding="ascii")
    assert "\x1b" not in text
    assert "bpf_skb_ct_alloc       xdp     | o 1     | o 1" in text
    assert "+ usable   o registered   x not allowed   - absent   ? no answer   several marks: x86_64/arm64" in text


def test_colour_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True, color_system="truecolor", _environ={}).print(
        Grid(availability(samples.mixed_run()))
    )
    assert "\x1b[32m✓" in out.getvalue()
    no_colour = io.StringIO()
    Console(file=no_colour, width=100, force_terminal=True, no_color=True, _environ={}).print(
        Grid(availability(samples.mixed_run()))
    )
    assert "[32m" not in no_colour.getvalue()


def test_other_kfuncs_are_counted_and_shown_when_asked() -> None:
    assert "bpf_dynptr_from_skb" not in render(samples.clean_run(), 120)
    assert "1 more kfunc was asked about: `--all` shows them" in render(samples.clean_run(), 120)
    text = render(samples.clean_run(), 120, every=True)
    assert row(text, "bpf_dynptr_from_skb", "xdp")[0].startswith("✗")
    # the cause names no kfunc, so that 200 of them share it
    assert "not allowed: calling kernel function <kfunc> is not allowed" in text


def test_kfunc_that_one_cell_was_not_asked_about_has_no_answer() -> None:
    def some_states(result: CellResult) -> tuple[Row, ...]:
        return samples.states(result)[: 2 if result.cell.id == "7.3.4-arm64" else None]

    run = samples.run(*(samples.result(cell) for cell in samples.CELLS))
    grid = availability(judge_run(run, samples.Judge(states=some_states)))
    last = grid.columns[-1]
    answers = [grid.state(it, last) for it in grid.topics if it.subject == "bpf_ct_release"]
    assert [(answer.state, answer.cause) for answer in answers] == [(State.NO_ANSWER, "not asked")] * 2


def test_run_in_which_nothing_ran_shows_question_marks_only() -> None:
    text = render(samples.judged(), 120)
    assert row(text, "bpf_ct_release", "xdp") == ["? 1"] * 4
    assert "every kfunc (tc, xdp) on every kernel" in text


def test_run_without_questions_says_so() -> None:
    run = samples.run(cells=samples.CELLS[:1])
    judged = judge_run(run, samples.Judge(samples.nothing, samples.nothing))
    assert render(judged, 80) == "Nothing was asked.\n"


def test_hostile_causes_do_not_reach_the_terminal() -> None:
    def hostile(_: CellResult) -> tuple[Row, ...]:
        cause = "\x1b]0;evil\x07\x1b[31m[bold]R1[/bold]\nsecond"
        return (samples.state_row(samples.KFUNCS[0], ProgType.TC, State.REGISTERED, cause, "vmlinux"),)

    run = samples.run(*(samples.result(cell) for cell in samples.CELLS))
    text = render(judge_run(run, samples.Judge(states=hostile)), 120)
    assert "\x1b" not in text
    assert "registered: [bold]R1[/bold] second\n" in text


def test_hostile_names_do_not_reach_the_terminal() -> None:
    evil = "bpf_x\x1b]0;evil\x07\x1b[31m\u202e"

    def states(result: CellResult) -> tuple[Row, ...]:
        old = result.cell.kernel.version.startswith("6.1.")
        state = State.ABSENT if old else State.REGISTERED
        return (samples.state_row(evil, ProgType.TC, state, "x", evil), samples.state_row("f", ProgType.TC, state))

    judged = judge_run(samples.run(*map(samples.result, samples.CELLS)), samples.Judge(states=states))
    for report in (run_report(judged, every=True), entry(evil, [], f"show {evil}"), section(evil, evil)):
        out = io.StringIO()
        Console(file=out, width=120).print(report, crop=False)
        assert "bpf_x" in out.getvalue()
        assert not {"\x1b", "\x07", "\u202e"} & {*out.getvalue()}


def test_columns_are_in_the_order_of_versions() -> None:
    shuffled = (samples.CELLS[7], samples.CELLS[2], samples.CELLS[0], samples.CELLS[3], samples.CELLS[1])
    grid = availability(samples.judged(*(samples.result(cell) for cell in shuffled), cells=shuffled))
    names = [column.cell.id for column in grid.columns]
    assert names == ["6.1.192-x86_64", "6.1.192-arm64", "6.12.117-x86_64", "6.12.117-arm64", "7.3.4-arm64"]
    assert places(grid, {"6.1.192-arm64", "7.3.4-arm64"}) == "6.1.192, 7.3.4 (arm64)"
    assert places(grid, set(names[:3])) == "6.1.192 (x86_64, arm64); 6.12.117 (x86_64)"
    assert places(grid, set(names)) == "every kernel"


def test_lost_cell_shows_its_own_cause() -> None:
    lost = samples.result(samples.CELLS[0], Outcome.LOST, "qemu was killed by signal 9")
    judged = samples.judged(lost, *(samples.result(cell) for cell in samples.CELLS[1:]))
    assert "no answer: lost: qemu was killed by signal 9" in render(judged, 120)
