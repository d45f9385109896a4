# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel did with calls at the edge: which of it is a finding."""

from __future__ import annotations

from typing import Any

import pytest

from runner.model import NO_ANSWER, Answer, CellResult, Crash, ProgType, Row, Splat, Verdict
from runner.probes.boundaries import KIND, BoundariesEntry
from runner.probes.boundaries.judge import DIED, GREW, REFUSED, SPLAT, SURVIVED, UNDERIVED, UNREACHED, WROTE
from runner.probes.files import ProbeFile
from tests.samples import ROOT
from tests.unit import results_samples as samples

PROBE = "boundaries:tc"
LOG = "1: (85) call bpf_x#7\nR1 must be a pointer\nprocessed 2 insns"
ONCE = {"ret": 0, "wrote": []}
SWEEP = {"right": True, "calls": {"right": [0, ""], "flags -1": [0, ""], "skb NULL": [22, LOG]}}


def answer(item: str, body: dict[str, Any] | None = None, failed: str = "") -> Answer:
    return Answer.model_validate(
        {"kind": "boundaries", "probe": PROBE, "item": item, "body": body or {}, "failed": failed}
    )


def run(item: str = "bpf_x right", grew: dict[str, int] | None = None, **changed: Any) -> Answer:
    return answer(item, {"runs": {"zeros": {**ONCE, **changed}, "ones": ONCE}, "grew": grew or {}})


def rows(*answers: Answer, sweep: dict[str, Any] = SWEEP, **changed: Any) -> dict[str, Row]:
    result: CellResult = samples.result(samples.CELLS[0])
    result = result.model_copy(update={"answers": (answer("bpf_x", sweep), *answers), **changed})
    return {row.subject: row for row in KIND.judge(result, KIND.load(ROOT, []), ())}


def test_what_is_refused_and_what_survives_is_no_finding() -> None:
    found = rows(run(), run("bpf_x flags -1"))
    assert {subject: row.state for subject, row in found.items()} == {
        "bpf_x right": SURVIVED, "bpf_x flags -1": SURVIVED, "bpf_x skb NULL": REFUSED,
    }  # fmt: skip
    assert found["bpf_x skb NULL"].cause == "R1 must be a pointer"
    assert not any(row.verdict for row in found.values())
    assert found["bpf_x right"].answer == "zeros: 0, ones: 0"


@pytest.mark.parametrize(
    ("answers", "changed", "state", "cause"),
    [
        ((run(wrote=[["bpf_x opts", 0], ["bpf_x opts", 3]]),), {}, WROTE, "2 bytes from 0 behind what it was given"),
        ((run(grew={"nf_conn": 256}),), {}, GREW, "256 objects of nf_conn more"),
        ((), {"crashes": (Crash(probe=f"{PROBE}:bpf_x right", cause="Oops", oops=""),)}, DIED, "Oops"),
        (
            (run(),),
            {"splats": (Splat(kind="WARNING", text="WARNING: at x", probe=f"{PROBE}:bpf_x right"),)},
            SPLAT,
            "x",
        ),
    ],
)
def test_findings_are_broken(answers: tuple[Answer, ...], changed: dict[str, Any], state: str, cause: str) -> None:
    row = rows(*answers, **changed)["bpf_x right"]
    assert (row.state, row.verdict) == (state, Verdict.BROKEN)
    assert cause in row.cause


def test_what_was_accepted_and_not_run_has_no_answer() -> None:
    assert rows()["bpf_x right"].state == NO_ANSWER
    assert rows(answer("bpf_x right", failed="ENOMEM"))["bpf_x right"].cause == "ENOMEM"
    assert rows(answer("bpf_x right", {"runs": 3}))["bpf_x right"].state == NO_ANSWER
    assert rows(sweep={"right": False, "why": LOG})["bpf_x"].state == UNDERIVED
    assert rows(sweep={"right": True, "calls": {"right": [12, ""]}})["bpf_x right"].state == NO_ANSWER


def test_it_is_asked_only_when_the_matrix_says_so() -> None:
    types = (ProgType("tc"), ProgType("xdp"))
    assert not [*KIND.asks(KIND.load(ROOT, []), None, types)]
    written = KIND.load(ROOT, [ProbeFile("entry-0", BoundariesEntry(boundaries=("bpf_ct_*",)))])
    asks = [*KIND.asks(written, None, types)]
    assert [ask.probe for ask in asks] == ["boundaries:tc", "boundaries:xdp"]
    assert all(ask.careful and ask.items and ask.body["among"] == ["bpf_ct_*"] for ask in asks)
    assert "nf_conntrack" in {*KIND.modules(written)}


def test_a_call_that_is_asked_about_alone_has_a_row() -> None:
    result: CellResult = samples.result(samples.CELLS[0])
    crash = Crash(probe=f"{PROBE}:bpf_x from NULL", cause="Oops", oops="")
    result = result.model_copy(update={"answers": (run("bpf_x flags -1"),), "crashes": (crash,)})
    found = {row.probe: row.state for row in KIND.judge(result, KIND.load(ROOT, []), ())}
    assert found == {f"{PROBE}/bpf_x flags -1": SURVIVED, f"{PROBE}/bpf_x from NULL": DIED}


def test_a_call_that_was_never_made_did_not_survive() -> None:
    body: dict[str, Any] = {
        "runs": {"zeros": {"ret": None, "wrote": []}, "ones": {"ret": None, "wrote": []}},
        "grew": {},
    }
    assert rows(answer("bpf_x right", body))["bpf_x right"].state == UNREACHED
