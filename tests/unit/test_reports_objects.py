# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The grid of users' objects: in their order, with what was expected told apart, and every cause said once."""

from __future__ import annotations

from typing import Any

from runner.model import Outcome
from runner.probes.objects.judge import rows_of
from runner.reports.summary import run_report, totals
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.rendering import render
from tests.unit.test_objects_judge import LOADED, REFUSED, result, user_object

MAP = {"errno": 0}
MAPLESS = {"errno": 22, "words": "libbpf: map 'arena': failed to create: -EINVAL\n", "log": ""}


def judged(**settings: object) -> JudgedRun:
    """On 6.1 two are refused, on 6.12 one is, 7.3 never came up."""
    parts: dict[str, Any] = {"good": LOADED, "bad": REFUSED, "together": REFUSED, "map:arena": MAPLESS, "map:m": MAP}
    old = result("6.1.192", **parts)
    new = result("6.12.117", **parts | {"map:arena": MAP})
    lost = result("7.3.4").model_copy(update={"outcome": Outcome.LOST, "cause": "gone", "answers": ()})
    mine = user_object(**settings)
    run = samples.judged(old, new, lost, cells=(old.cell, new.cell, lost.cell))
    return samples.with_rows(run, [tuple(rows_of(it, mine)) for it in (old, new, lost)])


def test_programs_stand_in_the_objects_order_then_maps_then_the_whole() -> None:
    lines = render(run_report(judged())).splitlines()
    title = next(at for at, line in enumerate(lines) if line.startswith("object lb (sha256 00000000)"))
    assert [line.partition("│")[0].split() for line in lines[title + 1 : title + 6]] == [
        ["good", "tc"], ["bad"], ["map", "arena"], ["map", "m"], ["together"],
    ]  # fmt: skip
    assert [it.strip() for it in lines[title + 1].split("│")[1:]] == ["✓", "✓", "? 3"]


def test_causes_are_numbered_below_and_not_repeated() -> None:
    text = render(run_report(judged()))
    assert "1 ✗  refused: R1 invalid mem access 'scalar'" in text
    assert "map arena" in text
    assert "as expected" not in text
    assert text.count("R1 invalid mem access") == 1
    assert "\nBroken\n" not in text
    assert "6.1.192-x86_64  ran" not in text
    assert "7.3.4-x86_64  lost" in text
    assert "the kernel's words: runner cell show 6.1.192-x86_64 --probe lb/bad" in text


def test_what_is_expected_is_told_apart() -> None:
    text = render(run_report(judged(expect=[{"programs": ["bad"], "why": "needs 6.13"}], limits={"insns": 3})))
    assert "○  refused: R1 invalid mem access 'scalar' (expected: needs 6.13)" in text
    assert "!  loads: insns 15, and the limit is 3" in text


def test_programs_maps_and_objects_are_counted_apart() -> None:
    text = render(run_report(judged()))
    assert "3 objects: 2 broken, 1 no answer" in text
    assert "4 maps: 3 hold, 1 broken" in text
    assert sum(sum(it.values()) for it in totals(judged()).verdicts.values()) == sum(
        totals(judged()).all_verdicts.values()
    )
