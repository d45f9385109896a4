"""A run in which the guests say in every text what would hurt most."""

from __future__ import annotations

from functools import cache

from runner.model import Observation, Verdict
from runner.results.model import JudgedCell, JudgedRun
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
    words = {"observed": TEXT, "cause": TEXT, "expected": TEXT}
    claims = [
        claim.model_copy(update={"verdict": verdict, **words})
        for claim, verdict in zip(cell.claims, [*Verdict] * len(cell.claims), strict=False)
    ]
    states = [state.model_copy(update={"cause": TEXT, "log": TEXT, "object": TEXT}) for state in cell.states]
    if states:
        states.append(states[0].model_copy(update={"kfunc": KFUNC}))
        claims.append(claims[0].model_copy(update={"kfunc": KFUNC, "probe": f"{TEXT}:tc"}))
    seen = tuple(_observation(one) for one in cell.result.observations)
    facts = cell.result.facts.model_copy(update={"build": TEXT, "cmdline": TEXT, "modules": {TEXT: TEXT}})
    changes = {"observations": seen, "console": TEXT, "cause": TEXT, "host": TEXT, "accel": TEXT, "facts": facts}
    result = cell.result.model_copy(update=changes)
    return cell.model_copy(update={"claims": tuple(claims), "states": tuple(states), "result": result})


def _observation(seen: Observation) -> Observation:
    return seen.model_copy(update={"log": TEXT, "fields": {TEXT: 1}, "failed": TEXT})
