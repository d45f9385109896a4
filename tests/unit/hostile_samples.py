# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run in which the guests say in every text what would hurt most."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from runner.model import Verdict
from runner.probes.claims.answers import Observation
from runner.results.model import JudgedCell, JudgedRun
from tests.answers import seen_of, with_answers
from tests.unit import results_samples as samples

TEXT = (
    "\x1b]0;pwned\x07]]>\x00\x1b[31m<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1>"
    '<a href="javascript:window.pwned=1">x</a>{{ 7*7 }}${7*7}</pre></title></textarea></script>--></svg>'
    "\n::error::x\r\nnot ok 1 x # SKIP\u202e\u2028\ud800 =1+1"
)
KFUNC = "bpf_<script>window.pwned=1</script>\" onmouseover=\"window.pwned=1' x-init='window.pwned=1"


@cache
def hostile_run() -> JudgedRun:
    """Every verdict occurs; one kfunc has a name that no compiler makes."""
    run = samples.mixed_run()
    return run.model_copy(update={"cells": tuple(_hostile(cell) for cell in run.cells)})


def _hostile(cell: JudgedCell) -> JudgedCell:
    expected = [row for row in cell.rows if row.verdict]
    claims = [
        replace(row, verdict=verdict, observed=TEXT, cause=TEXT, expected=TEXT, log=TEXT if row.log else "")
        for row, verdict in zip(expected, [*Verdict] * len(expected), strict=False)
    ]
    states = [
        replace(row, cause=TEXT, log=TEXT, details={**row.details, "object": TEXT}) for row in cell.rows if row.state
    ]
    if states:
        states.append(replace(states[0], subject=KFUNC))
        claims.append(replace(claims[0], subject=KFUNC, probe=f"{TEXT}:tc"))
    seen = tuple(_observation(one) for one in seen_of(cell.result))
    facts = cell.result.facts.model_copy(update={"build": TEXT, "cmdline": TEXT, "modules": {TEXT: TEXT}})
    changes = {"console": TEXT, "cause": TEXT, "host": TEXT, "accel": TEXT, "facts": facts}
    result = with_answers(cell.result, claims=seen).model_copy(update=changes)
    return cell.model_copy(update={"rows": (*claims, *states), "result": result})


def _observation(seen: Observation) -> Observation:
    return seen.model_copy(update={"log": TEXT, "fields": {TEXT: 1}, "failed": TEXT})
