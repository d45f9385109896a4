# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a bisection asks, and what it makes of the answers of real kernels."""

from __future__ import annotations

from functools import cache

import pytest

from runner.bisect.target import Target, find
from runner.errors import UserError
from runner.model import Crash, Outcome
from runner.model.version import KernelVersion
from runner.probes import Expectations
from tests.samples import ROOT
from tests.unit import agent_samples as samples

OLD, NEW = KernelVersion.parse("6.12.43"), KernelVersion.parse("6.12.117")


@cache
def expectations() -> Expectations:
    return Expectations.load(ROOT, ("conntrack",))


def target(word: str) -> Target:
    return find(word, expectations())


def test_a_probe_is_asked_also_of_kernels_about_which_its_claim_says_nothing() -> None:
    (ask,) = target("nat-manip-2").asks(OLD, fully=False)
    assert (ask.probe, ask.body["program"]) == ("nat-manip-2:tc", "tc_nat")


def test_the_question_is_the_one_that_the_matrix_asks() -> None:
    (ask,) = target("nat-manip-2:xdp").asks(NEW, fully=False)
    assert ask in expectations().asks(NEW)


@pytest.mark.parametrize(
    ("word", "subject"), [("nat-manip-2:xdp", "bpf_ct_set_nat_info"), ("bpf_xdp_ct_alloc", "bpf_xdp_ct_alloc")]
)
def test_ends_of_a_change_and_states_are_asked_what_tells_something_of_their_subject(word: str, subject: str) -> None:
    probes = {ask.probe for ask in target(word).asks(NEW, fully=True)}
    claimed = {it.probe for it in expectations().said() if (it.subject, it.type) == (subject, "xdp")}
    assert claimed & {ask.probe for ask in expectations().asks(NEW)} <= probes <= claimed | {"census:xdp"}
    assert "census:xdp" in probes


def test_a_state_is_no_answer_where_a_probe_of_its_subject_was_not_asked() -> None:
    real = samples.result("6.12.117")
    less = tuple(answer for answer in real.answers if answer.probe != "nat-source:tc")
    said = target("bpf_ct_set_nat_info:tc").read(real.model_copy(update={"answers": less}))
    assert (said.answer, said.cause) == ("", "nat-source:tc was not asked")


def test_of_a_subject_the_type_is_the_one_of_its_name_or_of_its_probes() -> None:
    assert target("bpf_xdp_ct_alloc").question.target == "bpf_xdp_ct_alloc:xdp"
    assert target("bpf_ct_release").question.target == "bpf_ct_release:tc"


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("nat-manip-2", {"6.1.192": "set_ret -EINVAL", "6.12.117": "set_ret -EINVAL", "6.18.15": ""}),
        (
            "alloc-opts-size-4",
            {"6.12.117": "error not written, acquired 0, outside 0", "6.18.15": "error -EINVAL, acquired 0, outside 4"},
        ),
        ("bpf_ct_set_nat_info:tc", {"6.12.117": "usable", "6.18.15": "registered"}),
        ("set-nat-info-found", {"6.18.15": "load refused: -EINVAL", "7.3.4": "load refused: -EINVAL"}),
    ],
)
def test_answers_of_real_kernels(word: str, answers: dict[str, str]) -> None:
    one = target(word)
    assert {version: one.read(samples.result(version)).answer for version in answers} == answers


def test_evidence_and_declaration() -> None:
    real = samples.result("6.12.117")
    refused = target("bpf_skb_ct_alloc:xdp")
    row = refused.row(real)
    assert row is not None
    assert "STRUCT __sk_buff must point to" in row.log
    assert refused.declared(real)[0].startswith("struct nf_conn___init *bpf_skb_ct_alloc(")
    assert target("nat-manip-2").evidence(real)["set_ret"] == "-22 (-EINVAL)"
    assert target("alloc-opts-size-4").evidence(real)["error"] == "not written"


def test_what_is_no_answer() -> None:
    one, real = target("nat-manip-2"), samples.result("6.12.117")
    assert one.read(real.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "panic"})).cause == (
        "boot failed: panic"
    )
    no_jit = samples.result("6.12.117", "x86_64-without-jit")
    assert one.read(no_jit).answer == ""
    assert target("bpf_ct_set_nat_info:tc").read(no_jit).answer == ""


def test_a_crash_is_an_answer() -> None:
    crash = Crash(probe="nat-manip-2:tc", cause="Kernel panic")
    result = samples.result("6.12.117").model_copy(update={"crashes": (crash,)})
    assert target("nat-manip-2").read(result).answer == "crashed the kernel"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("nat-manp-2", "nat-manip-2"),
        ("bpf_ct_relese", "bpf_ct_release"),
        ("nat-manip-2:tcx", "nat-manip-2:tc"),
        ("qqqqqqqq", "bpf/"),
    ],
)
def test_what_is_wrong_is_said(word: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        target(word)
    assert hint in caught.value.hint
