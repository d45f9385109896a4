"""What a bisection asks, and what it makes of the answers of real kernels."""

from __future__ import annotations

import pytest

from runner.bisect.questions import Asked, answer_words, find
from runner.errors import UserError
from runner.model import CensusObservation, Crash, Observation, Outcome, ProgType, State
from runner.model.version import KernelVersion
from runner.probes import asks_of, load_kfuncs, states
from runner.probes.claims.answers import Body as ClaimBody
from tests.unit import agent_samples as samples

KNOWN = load_kfuncs(samples.ROOT)
OLD, NEW = KernelVersion.parse("6.12.43"), KernelVersion.parse("6.12.117")


def asked(target: str) -> Asked:
    return find(target, samples.claims(), KNOWN)


def test_a_claim_is_asked_also_of_kernels_about_which_it_says_nothing() -> None:
    (ask,) = asked("nat-manip-2").asks(OLD, census=False)
    body = ClaimBody.model_validate(ask.body)
    assert (ask.probe, body.program, body.inputs["nat_manip"]) == ("nat-manip-2:tc", "tc_nat", 2)


def test_the_question_is_the_one_that_the_matrix_asks() -> None:
    (ask,) = asked("nat-manip-2:xdp").asks(NEW, census=False)
    assert ask in asks_of(samples.claims(), NEW)


def test_only_the_ends_of_a_change_tell_prototypes() -> None:
    one = asked("nat-manip-2:xdp")
    probes = [ask.probe for ask in one.asks(OLD, census=True)]
    assert probes[0] == "census:xdp"
    assert {"nat-manip-2:xdp", "nat-source:xdp", "alloc-tcp:xdp"} <= set(probes)
    assert not any(probe.endswith(":tc") for probe in probes)
    assert one.modules(census=False) == ("nf_conntrack", "nf_nat")
    assert "fou" in one.modules(census=True)


def test_a_census_never_makes_a_kfunc_look_unused() -> None:
    """Every kfunc that a run of the matrix sees at work is seen at work."""
    real = samples.result("6.12.117")
    for target in ("nat-manip-2:tc", "bpf_ct_release:tc"):
        probes = {ask.probe for ask in asked(target).asks(NEW, census=True)}
        few = real.model_copy(
            update={"observations": tuple(seen for seen in real.observations if seen.probe in probes)}
        )
        whole, part = (states(result, samples.claims(), KNOWN) for result in (real, few))
        used = {state.kfunc for state in whole if state.state is State.USABLE and state.prog_type is ProgType.TC}
        assert used == {it.kfunc for it in part if it.state is State.USABLE and it.prog_type is ProgType.TC}


def test_a_kfunc_is_asked_with_the_claims_that_show_it_at_work() -> None:
    one = asked("bpf_xdp_ct_alloc")
    assert one.question.target == "bpf_xdp_ct_alloc:xdp"
    assert {"census:xdp", "alloc-tcp:xdp"} <= {ask.probe for ask in one.asks(OLD, census=False)}
    assert asked("bpf_ct_release").prog_type is ProgType.TC


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ("nat-manip-2", {"6.1.192": "set_ret -EINVAL", "6.12.117": "set_ret -EINVAL", "6.18.15": ""}),
        (
            "alloc-opts-size-4",
            {
                "6.12.117": "error not written, acquired 0, outside 0",
                "6.18.15": "error -EINVAL, acquired 0, outside 4",
            },
        ),
        ("bpf_ct_set_nat_info:tc", {"6.12.117": "usable", "6.18.15": "registered"}),
        ("set-nat-info-found", {"6.18.15": "load refused: -EINVAL", "7.3.4": "load refused: -EINVAL"}),
    ],
)
def test_answers_of_real_kernels(target: str, answers: dict[str, str]) -> None:
    one = asked(target)
    assert {version: one.read(samples.result(version)).answer for version in answers} == answers


def test_the_evidence_of_a_kfunc_is_a_claim_or_else_its_census() -> None:
    real = samples.result("6.12.117")
    used, refused = (asked(target).observation(real) for target in ("bpf_skb_ct_alloc:tc", "bpf_skb_ct_alloc:xdp"))
    assert isinstance(used, Observation)
    assert used.load_errno == 0
    assert isinstance(refused, CensusObservation)
    assert refused.kfunc == "bpf_skb_ct_alloc"
    assert "STRUCT __sk_buff must point to" in refused.log


def test_what_is_no_answer() -> None:
    one, real = asked("nat-manip-2"), samples.result("6.12.117")
    assert one.read(real.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "panic"})).cause == (
        "boot failed: panic"
    )
    unready = real.facts.model_copy(update={"modules": {"nf_conntrack": "", "nf_nat": "no such file"}})
    failed = Observation(probe="nat-manip-2:tc", failed="no BTF of nf_nat")
    reading = one.read(real.model_copy(update={"facts": unready, "observations": (failed,)}))
    assert (reading.answer, reading.cause) == ("", "module nf_nat did not load: no such file")
    no_jit = samples.result("6.12.117", "x86_64-without-jit")
    assert one.read(no_jit).answer == ""
    assert asked("bpf_ct_set_nat_info:tc").read(no_jit).answer == ""


def test_a_crash_is_an_answer() -> None:
    crash = Crash(probe="nat-manip-2:tc", cause="Kernel panic")
    result = samples.result("6.12.117").model_copy(update={"crashes": (crash,)})
    assert asked("nat-manip-2").read(result).answer == "crashed the kernel"


def test_what_lies_in_a_range_of_the_claim_is_one_answer() -> None:
    claim = next(claim for claim in samples.claims()[0].claims if claim.id == "change-timeout")
    name, pattern = next((name, it) for name, it in claim.answer.fields.items() if not isinstance(it, int | str))
    fields = {**dict.fromkeys(claim.answer.fields, 0), name: pattern.min}
    low = Observation(probe="p", load_errno=0, run_errno=0, fields=fields)
    high = low.model_copy(update={"fields": fields | {name: pattern.max}})
    out = low.model_copy(update={"fields": fields | {name: pattern.max + 1}})
    assert answer_words(claim, low) == answer_words(claim, high) != answer_words(claim, out)


def test_another_reason_to_refuse_is_another_answer() -> None:
    claim = next(claim for claim in samples.claims()[0].claims if claim.id == "lookup-not-gpl")
    said = Observation(probe="p", load_errno=22, log="cannot call kernel function from non-GPL compatible program")
    other = said.model_copy(update={"log": "invalid argument"})
    assert answer_words(claim, said) == "load refused: -EINVAL"
    assert answer_words(claim, other) == "load refused: -EINVAL, for another reason"


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("nat-manp-2", "nat-manip-2"),
        ("bpf_ct_relese", "bpf_ct_release"),
        ("nat-manip-2:tcx", "nat-source:tc"),
        ("qqqqqqqq", "bpf/"),
    ],
)
def test_what_is_wrong_is_said(target: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(target)
    assert hint in caught.value.hint
