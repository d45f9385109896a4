# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A grid that would not fit a screen: short, and nothing that differs is left out."""

from __future__ import annotations

from runner.model import CellResult, ProgType, Row, State
from runner.reports.grid import LONG, Brief, Grid
from runner.results.availability import availability
from runner.results.model import JudgedRun, judge_run
from tests.unit import results_samples as samples
from tests.unit.rendering import render

MANY = [f"bpf_many_{at:02}" for at in range(LONG + 3)]


def states(result: CellResult) -> tuple[Row, ...]:
    """All usable but for the first, absent from the oldest kernel, and the second, which one cell refuses."""
    oldest, one = result.cell.kernel.version == "6.1.192", result.cell.id == "6.12.117-arm64"
    of = {MANY[0]: State.ABSENT if oldest else State.USABLE, MANY[1]: State.REGISTERED if one else State.USABLE}
    return tuple(
        samples.state_row(name, prog_type, of.get(name, State.USABLE), "why so" if one else "", "vmlinux")
        for name in MANY
        for prog_type in (ProgType.TC, ProgType.XDP)
    )


def shown(judged: JudgedRun) -> str:
    return render(Brief(Grid(availability(judged), "`--all` shows them")), 120)


def long_run() -> JudgedRun:
    run = samples.run(*(samples.result(cell) for cell in samples.CELLS))
    return judge_run(run, samples.Judge(samples.nothing, states))


def fields(text: str, start: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip().startswith(start)]


def test_a_grid_that_fits_is_shown_itself() -> None:
    whole = Grid(availability(samples.mixed_run()), "`--all` shows them")
    assert render(Brief(whole), 120) == render(whole, 120)


def test_what_differs_is_named_and_the_rest_is_counted() -> None:
    text = shown(long_run())
    assert len(text.splitlines()) < LONG
    pairs = 2 * len(MANY)
    assert fields(text, "others in vmlinux")[0][3:] == [
        f"{pairs - 2}✓", "2-", f"{pairs}✓", "/", f"{pairs - 2}✓", "2○", f"{pairs}✓", f"{pairs}✓",
    ]  # fmt: skip
    assert fields(text, "all ")[0][1:] == fields(text, "others in vmlinux")[0][3:]
    assert fields(text, f"{MANY[1]}  ") == [[MANY[1], "tc,", "xdp", "✓", "✓/○", "✓", "✓"]]
    assert f"-        ✓         ✓        ✓      tc, xdp  {MANY[0]}\n" in text
    assert f"and {len(MANY) - 2 - 3} more" in " ".join(text.split())
    assert "registered: why so" in text
    assert "several marks: x86_64/arm64" in text


def test_what_is_asked_beside_the_claims_was_asked() -> None:
    def features(_: CellResult) -> tuple[Row, ...]:
        return (Row("features", "features:bpf_map_type", "BPF_MAP_TYPE_HASH", state="available"),)

    run = samples.run(*(samples.result(cell) for cell in samples.CELLS))
    judged = judge_run(run, samples.Judge(samples.nothing, features))
    assert shown(judged) == "1 more feature was asked about: `--all` shows them\n"
