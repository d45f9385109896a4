# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel did with calls at the edge: which of it is a finding."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from runner.model import NO_ANSWER, Answer, Ask, CellResult, Crash, ProgType, Row, Splat, Verdict
from runner.probes.boundaries import (
    DIED,
    GREW,
    KIND,
    LEAKED,
    NOT_RUN,
    REFUSED,
    SPLAT,
    SURVIVED,
    UNDERIVED,
    UNREACHED,
    WROTE,
    BoundariesEntry,
)
from runner.probes.boundaries.program import source
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
    return answer(item, {"runs": {"zeros": {**ONCE, **changed}, "ones": ONCE}, "grew": grew or {}, "calls": 1024})


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
        (
            (run(grew={"refs:task_struct.usage.refs,the+running+task": 1024}),),
            {},
            LEAKED,
            "task_struct.usage.refs of the running task says 1024 more after 1024 calls",
        ),
        (
            (run(grew={"refs:cgroup.self.refcnt,bpf_cgroup_from_id's": 1024}),),
            {},
            LEAKED,
            "cgroup.self.refcnt of bpf_cgroup_from_id's says 1024 more",
        ),
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


def test_calls_that_were_not_asked_about_are_said() -> None:
    row = rows(sweep={**SWEEP, "pairs": [60, 203]})["bpf_x others"]
    assert (row.state, row.cause) == (
        UNDERIVED, "of 203 calls with two arguments at the edge, 60 were asked about",
    )  # fmt: skip
    assert "bpf_x others" not in rows(sweep={**SWEEP, "pairs": [60, 60]})


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
        "calls": 1024,
    }
    assert rows(answer("bpf_x right", body))["bpf_x right"].state == UNREACHED


PROGRAM = {
    "areas": [[4, "bpf_y opts"]],
    "slots": [8, 16, 8],
    "body": [
        ["call", "bpf_get_current_task_btf", [], 0],
        [
            "if",
            0,
            [
                ["call", "bpf_y", [["context", 0], ["area", 0], 4, ["stack", 1], 1 << 63, ["value", 0], ["text"]], 2],
                ["note", 2],
            ],
        ],
    ],
}
PROTOTYPE = (
    "struct nf_conn *bpf_y(struct __sk_buff *skb, struct bpf_y_opts *opts, u32 opts__sz, struct bpf_dynptr *p,"
    " u64 flags, struct task_struct *t, const char *name__str)"
)
SOURCED = {
    "right": True,
    "calls": {"opts of 4 bytes": [0, ""], "right": [0, ""]},
    "accepted": {"opts of 4 bytes": [2, PROGRAM]},
    "prototypes": {"bpf_y": PROTOTYPE},
}


def test_a_finding_carries_its_program_as_c() -> None:
    wrote = {"runs": {"zeros": {"ret": 0, "wrote": [["bpf_y opts", 0]]}}, "grew": {}, "calls": 1024}
    alike = answer("bpf_y right", {**wrote, "contents": {"bpf_y opts": "00ff0000"}})
    result: CellResult = samples.result(samples.CELLS[0])
    answers = (answer("bpf_y", SOURCED), answer("bpf_y opts of 4 bytes", wrote), alike)
    result = result.model_copy(update={"answers": answers})
    (row,) = (row for row in KIND.judge(result, KIND.load(ROOT, []), ()) if "4 bytes" in row.subject)
    program = str(row.details["program"])
    for line in (
        "__auto_type v0 = bpf_get_current_task_btf();",
        "__auto_type v2 = bpf_y(context, (void *)(memory + 1024), 4, (void *)s1, 0x8000000000000000,",
        "[1025] = 0xff",
        "__u64 s1[2];",
        "extern struct nf_conn___kernel *bpf_y(struct __sk_buff___kernel *skb,",
        'SEC("tc")',
    ):
        assert line in program


@pytest.mark.parametrize("broken", [{}, {"areas": 3}, {"areas": [], "slots": [], "body": [["call"]]}, {"body": [[]]}])
def test_a_program_that_is_none_is_not_shown(broken: dict[str, Any]) -> None:
    assert not source(broken, {}, {}, "tc", "x")


def test_another_guest_is_told_what_was_accepted_and_is_still_to_be_run() -> None:
    (ask,) = KIND.asks(
        KIND.load(ROOT, [ProbeFile("entry-0", BoundariesEntry(boundaries=("bpf_y",)))]), None, (ProgType("tc"),)
    )
    calls = {"right": [0, PROGRAM], "opts NULL": [2, PROGRAM], "opts of 4 bytes": [2, PROGRAM]}
    answers = (answer("bpf_y", {**SOURCED, "accepted": calls}), answer("bpf_y right"), answer("bpf_y opts NULL"))

    def known(asked: Ask) -> list[str]:
        body: Any = KIND.resumed(asked, answers).body
        return [*body["known"]["bpf_y"]]

    assert known(ask) == ["right", "opts of 4 bytes"]
    alone = ask.model_copy(update={"only": "bpf_y opts NULL"})
    assert known(alone) == ["right", "opts NULL"]
    assert KIND.resumed(ask, ()) == ask
    died = ask.model_copy(update={"skip": ("bpf_y", "bpf_y right", "bpf_y opts of 4 bytes", "bpf_y opts NULL")})
    assert KIND.resumed(died, answers).body["died"] == {"bpf_y": 1}, "the one that is skipped and has no answer"


@pytest.mark.parametrize(
    ("refused", "state"), [([22, LOG], REFUSED), ([-1, "there is no such call"], UNDERIVED), ([12, ""], NO_ANSWER)]
)
def test_a_call_that_is_asked_about_alone_may_be_refused(refused: list[Any], state: str) -> None:
    result: CellResult = samples.result(samples.CELLS[0])
    result = result.model_copy(update={"answers": (answer("bpf_x flags -1", {"refused": refused}),)})
    assert [row.state for row in KIND.judge(result, KIND.load(ROOT, []), ())] == [state]


def test_a_type_that_cannot_be_run_is_said() -> None:
    whole = answer("", {"not_run": "ENOTSUPP"})
    row = rows(whole)["bpf_x right"]
    assert (row.state, row.cause) == (NOT_RUN, "ENOTSUPP")


def test_of_a_kfunc_that_took_down_enough_guests_the_rest_is_not_run() -> None:
    found = rows(answer("", {"left_out": ["bpf_x"]}), run())
    assert found["bpf_x right"].state == SURVIVED
    assert found["bpf_x flags -1"].state == NOT_RUN


def test_a_type_of_which_no_program_loads_is_said_and_is_missed_of_tc_and_xdp_alone() -> None:
    result: CellResult = samples.result(samples.CELLS[0])
    failed = answer("", failed="the kernel does not know this program type")
    (row,) = KIND.judge(result.model_copy(update={"answers": (failed,)}), KIND.load(ROOT, []), ())
    assert (row.state, row.cause) == (NO_ANSWER, "the kernel does not know this program type")
    assert KIND.is_due(row)
    assert not KIND.is_due(dataclasses.replace(row, type="netfilter"))
