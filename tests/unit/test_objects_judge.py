# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel said of an object, held against what is expected of it."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from pydantic import JsonValue

from runner.model import Answer, CellResult, Facts, Outcome, Row
from runner.model.answers import Crash
from runner.probes.objects.judge import rows_of
from runner.probes.objects.written import ObjectSettings, UserObject
from tests.samples import cell, pin

REFUSED = {
    "errno": 13,
    "words": "libbpf: prog 'bad': BPF program load failed\n",
    "log": "R1 invalid mem access 'scalar'\n",
}
STATS = (
    "stack depth 8+16+0\n"
    "processed 15 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 1 mark_read 0\n"
)
LOADED: dict[str, JsonValue] = {
    "errno": 0, "type": "sched_cls", "log": STATS, "prog_bytes": 144, "jited_bytes": 94, "prog_insns": 17,
    "attach_type": "cgroup_inet_ingress", "duration_us": 67,
}  # fmt: skip


def user_object(**settings: Any) -> UserObject:
    return UserObject(
        "lb",
        ObjectSettings.model_validate(settings),
        ("good", "bad"),
        {"x86_64": "0" * 64},
        {"bpf_x": {"fou": "NET_FOU"}},
        file_name="lb.bpf.o",
    )


def result(version: str = "6.1.192", facts: Facts | None = None, **items: dict[str, Any]) -> CellResult:
    answers = [
        Answer(kind="objects", probe="lb", item=name.replace("together", "@together"), body=body)
        for name, body in items.items()
    ]
    return CellResult(
        cell=cell(pin(version)),
        outcome=Outcome.RAN,
        answers=(*answers, Answer(kind="objects", probe="lb")),
        facts=facts or Facts(btf=("vmlinux", "fou"), modules={"fou": ""}),
    )


def rows(seen: CellResult, mine: UserObject | None = None) -> dict[str, Row]:
    return {row.subject.partition("/")[2]: row for row in rows_of(seen, mine or user_object())}


def test_without_an_expectation_everything_is_to_load() -> None:
    found = rows(result(good=LOADED, bad=REFUSED))
    assert (found["good"].state, found["good"].verdict, found["good"].type) == ("loads", "holds", "tc")
    assert (found["bad"].state, found["bad"].verdict) == ("refused", "broken")
    assert found["bad"].observed == "R1 invalid mem access 'scalar'"


def test_an_expected_refusal_holds_only_for_its_cause_and_its_kernels() -> None:
    mine = user_object(expect=[{"programs": ["b*"], "until": ["6.10"], "answer": {"cause": "refused"}, "why": "old"}])
    assert rows(result(bad=REFUSED), mine)["bad"].verdict == "holds"
    assert rows(result("6.12.1", bad=REFUSED), mine)["bad"].verdict == "broken"
    other = {**REFUSED, "log": "unknown func bpf_y#7\n"}
    assert rows(result(bad=other), mine)["bad"].verdict == "broken"


def test_what_loads_against_its_expectation_is_told() -> None:
    mine = user_object(expect=[{"programs": ["good"], "why": "needs 6.10"}])
    row = rows(result(good=LOADED), mine)["good"]
    assert (row.state, row.verdict) == ("loads", "broken")
    assert "needs 6.10" in row.cause


def test_the_whole_is_not_judged_where_a_part_is_expected_to_fail() -> None:
    mine = user_object(expect=[{"programs": ["bad"], "why": "old"}])
    assert rows(result(good=LOADED, bad=REFUSED, together=REFUSED), mine)["@together"].verdict == "not applicable"
    assert rows(result(good=LOADED, bad=REFUSED, together=REFUSED))["@together"].verdict == "broken"


def test_what_loads_and_does_not_attach_is_refused() -> None:
    words = "libbpf: prog 'good': failed to attach: -EBUSY\n"
    row = rows(result(good={**LOADED, "attach": {"errno": 16, "words": words}}))["good"]
    assert (row.state, row.verdict, row.details["cause"]) == ("refused", "broken", "attach")
    assert "failed to attach" in row.cause
    attached, alone = {"errno": 0, "words": ""}, dict[str, JsonValue]()
    for answer, said in ((attached, "yes"), (alone, "no")):
        row = rows(result(good={**LOADED, "attach": answer}))["good"]
        assert (row.state, row.details["attached"]) == ("loads", said)


def test_a_log_is_whole_where_that_was_asked_for() -> None:
    whole = "line\n" * 9 + str(REFUSED["log"])
    packed = base64.b64encode(zlib.compress(whole.encode())).decode()
    assert rows(result(bad={**REFUSED, "log": "line [...]", "whole_log": packed}))["bad"].log == whole
    assert rows(result(bad={**REFUSED, "whole_log": "eHl6"}))["bad"].log == REFUSED["log"]


def test_a_limit_makes_a_claim_of_a_number() -> None:
    row = rows(result(good=LOADED), user_object(limits={"insns": 14}))["good"]
    assert (row.state, row.verdict, row.cause) == ("loads", "broken", "insns 15, and the limit is 14")
    assert rows(result(good=LOADED), user_object(limits={"insns": 15}))["good"].verdict == "holds"


def test_growth_is_held_against_the_last_answer() -> None:
    mine = user_object(limits={"growth": "25%"})
    row = rows(result(good={**LOADED, "earlier": 10}), mine)["good"]
    assert (row.state, row.verdict) == ("loads", "broken")
    assert row.cause == "insns 15, 50% more than the 10 of the last answer, and the limit is 25%"
    for earlier in (12, 15, 20):
        assert rows(result(good={**LOADED, "earlier": earlier}), mine)["good"].verdict == "holds"
    assert rows(result(good=LOADED), mine)["good"].verdict == "holds"
    assert rows(result(good={**LOADED, "earlier": 10}))["good"].verdict == "holds"


def test_our_own_failure_is_no_answer() -> None:
    assert (
        rows(CellResult(cell=cell(pin("6.1.192")), outcome=Outcome.LOST, cause="gone"))["good"].verdict == "no answer"
    )
    no_memory = {"errno": 12, "words": "", "log": ""}
    assert rows(result(good=no_memory))["good"].state == "no answer"
    log = "BPF map 'big' is referenced but wasn't created\nprocessed 3 insns\n"
    row = rows(result(good={"errno": 22, "words": "", "log": log, "map_errno": 12}))["good"]
    assert (row.state, row.cause) == ("no answer", "map big: loading failed: -ENOMEM")
    assert rows(result(good={"errno": 22, "words": "", "log": log, "map_errno": 22}))["good"].state == "refused"
    extern = {
        "errno": 22,
        "words": "libbpf: extern (func ksym) 'bpf_x': not found in kernel or module BTFs\n",
        "log": "",
    }
    unloaded = Facts(btf=("vmlinux",), modules={"fou": "Module fou not found"})
    row = rows(result(facts=unloaded, good=extern))["good"]
    assert (row.verdict, row.cause) == ("no answer", "module fou did not load: Module fou not found")
    loaded = rows(result(facts=Facts(btf=("vmlinux", "fou"), modules={"fou": ""}), good=extern))["good"]
    assert (loaded.verdict, loaded.details["modules"]) == ("broken", "fou")


def test_another_prototype_is_told_from_a_missing_kfunc() -> None:
    log = "kfunc 'bpf_x' is referenced but wasn't resolved\nprocessed 1 insns\n"
    missing = rows(result(good={**REFUSED, "log": log, "held_by": ""}))["good"]
    other = rows(result(good={**REFUSED, "log": log, "held_by": "fou"}))["good"]
    assert (missing.answer, other.answer) == ("extern bpf_x", "extern bpf_x")
    assert "wasn't resolved" in missing.cause
    assert "bpf_x is in fou with another prototype" in other.cause


def test_a_question_without_an_answer_keeps_its_type() -> None:
    seen = result(good=LOADED)
    silent = Answer(kind="objects", probe="lb", item="bad", failed="the guest sent no output")
    whole = Answer(kind="objects", probe="lb", body={"programs": {"good": "sched_cls", "bad": "xdp"}})
    seen = seen.model_copy(update={"answers": (seen.answers[0], silent, whole)})
    assert (rows(seen)["bad"].type, rows(seen)["bad"].state) == ("xdp", "no answer")


def test_a_program_that_takes_the_kernel_down_is_blamed_alone() -> None:
    seen = result(good=LOADED).model_copy(update={"crashes": (Crash(probe="lb:bad", cause="oops"),)})
    found = rows(seen)
    assert found["good"].verdict == "holds"
    assert (found["bad"].verdict, found["bad"].crashed, found["bad"].cause) == ("broken", True, "oops")


def test_the_whole_is_refused_in_the_words_of_the_part_that_lacks_the_same() -> None:
    libbpf = {
        "errno": 22,
        "words": "libbpf: extern (func ksym) 'bpf_y': not found in kernel or module BTFs\n",
        "log": "",
    }
    verifier = {"errno": 22, "words": "", "log": "kfunc 'bpf_y' is referenced but wasn't resolved\n"}
    found = rows(result(good=LOADED, bad=verifier, together={**libbpf, "culprit": ""}))
    assert (
        found["@together"].cause
        == found["bad"].cause
        == "extern bpf_y: kfunc 'bpf_y' is referenced but wasn't resolved"
    )
    assert "not found in kernel" in rows(result(bad=REFUSED, together=libbpf))["@together"].cause


NO_KFUNC: dict[str, Any] = {"errno": 22, "words": "", "log": "kfunc 'bpf_x' is referenced but wasn't resolved\n"}


@pytest.mark.parametrize(
    ("good", "bad", "verdicts"),
    [
        (LOADED, NO_KFUNC, ("holds", "not applicable")),
        (NO_KFUNC, LOADED, ("not applicable", "holds")),
        (LOADED, LOADED, ("holds", "holds")),
        (NO_KFUNC, NO_KFUNC, ("broken", "broken")),
        (NO_KFUNC, {"errno": None}, ("no answer", "no answer")),
    ],
)
def test_of_programs_in_place_of_each_other_one_is_to_load(
    good: dict[str, Any], bad: dict[str, Any], verdicts: tuple[str, str]
) -> None:
    found = rows(result(good=good, bad=bad), user_object(one_of=[["good", "bad"]]))
    assert (found["good"].verdict, found["bad"].verdict) == verdicts
    if verdicts == ("holds", "not applicable"):
        assert found["bad"].cause.endswith("(good loads in its place)")


@pytest.mark.parametrize(
    ("config", "facts", "verdict"),
    [
        ({}, Facts(), "no answer"),  # of a kernel that has no BTF
        ({"DEBUG_INFO_BTF": "n"}, Facts(), "broken"),
        ({"NET_FOU": "m"}, Facts(btf=("vmlinux",)), "no answer"),  # nobody tried to load it
        ({"NET_FOU": "m"}, Facts(btf=("vmlinux",), modules={"fou": ""}), "no answer"),  # it has no BTF
        ({"NET_FOU": "m", "DEBUG_INFO_BTF_MODULES": "n"}, Facts(btf=("vmlinux",), modules={"fou": ""}), "broken"),
        ({"NET_FOU": "n"}, Facts(btf=("vmlinux",), modules={"fou": "not found"}), "broken"),
        ({"NET_FOU": "y"}, Facts(btf=("vmlinux",), modules={"fou": ""}), "broken"),
    ],
)
def test_a_kfunc_is_missing_only_where_what_holds_it_was_there(
    config: dict[str, str], facts: Facts, verdict: str
) -> None:
    seen = result(facts=facts, good=NO_KFUNC).model_copy(update={"config": config})
    assert rows(seen)["good"].verdict == verdict


def test_a_kernel_that_binds_no_program_to_a_device_is_told() -> None:
    row = rows(result(good={"errno": 22, "words": "", "log": "", "supported": False, "bound": True}))["good"]
    assert (row.answer, row.cause) == ("type", "type: the kernel does not bind such a program to a device")


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [("*", ["bad", "good"]), ("map:*", ["map:m"]), ("m*", []), ("@together", ["@together"])],
)
def test_a_pattern_means_programs_unless_it_says_what_else(pattern: str, covers: list[str]) -> None:
    mine = user_object(expect=[{"programs": [pattern], "why": "x"}])
    assert [name for name in ("bad", "good", "map:m", "@together") if mine.expected(name, None)] == covers
