# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Judging, on what real kernels answered, and on what can go wrong around them."""

from __future__ import annotations

from collections import Counter

import pytest

from runner.model import (
    Attach,
    CellResult,
    Crash,
    Facts,
    Outcome,
    ProgType,
    Row,
    State,
    Verdict,
)
from runner.probes.census.answers import taken
from runner.probes.claims.answers import Observation, statement_true
from tests.answers import answers_of, seen_of, with_answers
from tests.unit.agent_samples import GOOD_FACTS, cell, claims, result, states, transcript, verdicts

BOTH_ORDERS = ("s390x", "ppc64le")
KERNELS = [
    ("6.1.192", "x86_64"),
    ("6.1.192", "arm64"),
    ("6.12.117", "x86_64"),
    ("6.12.113", "ppc64le"),
    ("6.12.113", "riscv64"),
    ("6.18.15", "arm64"),
]
# nf_conntrack's BTF in these builds has its own nf_conn and nf_conn___init, nf_nat's and vmlinux' are others
MARKS_AND_NAT = {"mark-write", "mark-wide", "note-in-map", "nat-source", "nat-destination"}
MARKS_AND_NAT |= {f"nat-{what}" for what in ("both", "both-status", "port-0", "port-negative", "udp")}
IN_TRAFFIC = ("made-mark", "made-nat-source", "own-mark", "translated-destination", "translated-source")
MARKS_AND_NAT |= {f"{what}-{attach}" for what in IN_TRAFFIC for attach in Attach}
DUPLICATED_BTF = [("6.18.15", "x86_64", MARKS_AND_NAT)]
DUPLICATED_BTF += [("7.3.4", "x86_64", MARKS_AND_NAT | {"nat-manip-2", "nat-manip-3"})]


def claim_of(row: Row) -> str:
    return row.probe.rpartition(":")[0]


def broken(cell_result: CellResult) -> set[str]:
    return {claim_of(row) for row in verdicts(cell_result).values() if row.verdict is Verdict.BROKEN}


def count(cell_result: CellResult) -> Counter[Verdict]:
    return Counter(row.verdict for row in verdicts(cell_result).values() if row.verdict)


def state(cell_result: CellResult, kfunc: str, prog_type: ProgType) -> tuple[State, str]:
    found = [row for row in states(cell_result) if (row.subject, row.type) == (kfunc, prog_type)]
    assert len(found) == 1
    return State(found[0].state), found[0].cause


@pytest.mark.parametrize(("version", "variant"), [*KERNELS, ("6.18.15", "x86_64"), ("7.3.4", "x86_64")])
def test_real_transcripts_are_whole(version: str, variant: str) -> None:
    said = transcript(version, variant)
    assert said.noise == []
    assert said.ended
    assert said.unanswered(said.asks) == ()
    assert len(seen_of(result(version, variant))) >= 200
    assert len(taken(result(version, variant)).answers) == 22


@pytest.mark.parametrize(("version", "variant"), KERNELS)
def test_everything_holds_on_kernels_that_keep_their_word(version: str, variant: str) -> None:
    seen = count(result(version, variant))
    assert seen[Verdict.BROKEN] == seen[Verdict.NO_ANSWER] == 0
    assert seen[Verdict.HOLDS] >= 200


@pytest.mark.parametrize(("version", "variant", "ids"), DUPLICATED_BTF)
def test_builds_with_duplicated_btf(version: str, variant: str, ids: set[str]) -> None:
    assert broken(result(version, variant)) == ids
    seen, cause = state(result(version, variant), "bpf_ct_set_nat_info", ProgType.TC)
    assert seen is State.REGISTERED
    assert "STRUCT nf_conn___init but R1 has a pointer to STRUCT nf_conn___init" in cause


def test_states_of_a_real_kernel() -> None:
    seen = result("6.12.117")
    assert state(seen, "bpf_skb_ct_alloc", ProgType.TC) == (State.USABLE, "")
    assert state(seen, "bpf_skb_ct_alloc", ProgType.XDP)[0] is State.REGISTERED
    assert state(seen, "bpf_xdp_ct_lookup", ProgType.TC) == (
        State.REGISTERED,
        "an argument that no program can pass: R1 type=ctx expected=fp",
    )
    assert Counter(s.state for s in states(seen)) == {State.USABLE: 18, State.REGISTERED: 4}


def test_statements_and_expectations_are_two_things() -> None:
    """The page says that alloc may return -ENOENT. It never does: the statement is false, the expectation holds."""
    claim = next(claim for claim in claims()[0].claims if claim.id == "alloc-enoent")
    seen = next(one for one in seen_of(result("6.12.117")) if one.probe == "alloc-enoent:tc")
    assert statement_true(claim, seen) is False
    assert statement_true(claim, Observation(probe="x", failed="bug")) is None
    assert "alloc-enoent" not in broken(result("6.12.117"))


def test_without_jit_nothing_is_known() -> None:
    seen = result("6.12.117", "x86_64-without-jit")
    assert set(count(seen)) == {Verdict.NO_ANSWER, Verdict.NOT_APPLICABLE}
    assert {(s.state, s.cause) for s in states(seen)} == {(State.NO_ANSWER, "the BPF JIT is off")}


def test_a_kernel_that_has_no_jit_is_told_from_one_whose_jit_is_off() -> None:
    """Both say the same, and the same kfuncs are unknown; the configuration knows which it is."""
    seen = result("6.12.113", "s390x")
    for config, cause in (({"BPF_JIT": "n"}, "the kernel is built without a BPF JIT"), ({"BPF_JIT": "y"}, "is off")):
        altered = seen.model_copy(update={"config": config})
        assert states(altered)
        assert not [s for s in states(altered) if s.state is not State.NO_ANSWER or not s.cause.endswith(cause)]
        open_ = [one for one in verdicts(altered).values() if one.verdict is Verdict.NO_ANSWER]
        assert open_
        assert all(one.cause.endswith(cause) for one in open_)


def test_a_big_endian_guest_finds_the_kfuncs_that_a_little_endian_one_finds() -> None:
    """With prototypes and layouts: both BTFs were read right. Nothing else can be asked of Debian's s390x kernels."""
    big, little = (
        {a.kfunc: (a.object, a.prototype, a.layouts, a.tags) for a in taken(result("6.12.113", arch)).answers}
        for arch in BOTH_ORDERS
    )
    assert len(big) == 11
    assert big == little
    assert {layout.name for _, _, layouts, _ in big.values() for layout in layouts} == {"bpf_ct_opts", "bpf_sock_tuple"}
    assert set(taken(result("6.12.113", "s390x")).missing) >= set(taken(result("6.12.113", "ppc64le")).missing)


def test_a_module_that_does_not_load_is_not_an_absence() -> None:
    seen = result("7.3.4", "x86_64-without-nf_nat")
    what, cause = state(seen, "bpf_ct_set_nat_info", ProgType.XDP)
    assert what is State.NO_ANSWER
    assert cause.startswith("module nf_nat did not load: ")
    assert state(seen, "bpf_skb_ct_alloc", ProgType.TC)[0] is State.USABLE
    rows = verdicts(seen)
    assert rows["nat-source:tc"].verdict is Verdict.NO_ANSWER
    assert rows["set-nat-info-found:tc"].verdict is Verdict.NO_ANSWER, "refused, but not for the reason that is meant"
    assert rows["alloc-tcp:tc"].verdict is Verdict.HOLDS


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.RAN])
def test_a_cell_that_did_not_run_has_no_answers(outcome: Outcome) -> None:
    seen = CellResult(cell=cell("6.12.117"), outcome=outcome, cause="the power went")
    rows = verdicts(seen).values()
    assert len(rows) == sum(len(claim.types) for file in claims() for claim in file.claims)
    said = {(v.verdict, v.cause) for v in rows if v.verdict is not Verdict.NOT_APPLICABLE}
    assert said == {(Verdict.NO_ANSWER, f"{outcome}: the power went")}
    assert {(s.state, s.cause) for s in states(seen)} == {(State.NO_ANSWER, f"{outcome}: the power went")}


def test_absent_needs_everything_to_be_there() -> None:
    def what(facts: Facts, ended: str | None = "") -> tuple[State, str]:
        seen = CellResult(
            cell=cell("6.12.117"),
            outcome=Outcome.RAN,
            facts=facts,
            answers=answers_of(ended={} if ended is None else {ProgType.TC: ended}, missing=("bpf_ct_release",)),
        )
        return state(seen, "bpf_ct_release", ProgType.TC)

    assert what(GOOD_FACTS) == (State.ABSENT, "not in the kernel's BTF")
    assert what(GOOD_FACTS, "OSError: no BTF") == (State.NO_ANSWER, "OSError: no BTF")
    assert what(GOOD_FACTS, None) == (State.NO_ANSWER, "the census was not asked")
    assert what(GOOD_FACTS.model_copy(update={"btf": ()})) == (State.NO_ANSWER, "the kernel has no BTF")
    refused = GOOD_FACTS.model_copy(update={"btf": ("nf_nat", "vmlinux")})
    assert what(refused) == (State.NO_ANSWER, "module nf_conntrack has no BTF in this kernel")
    unloaded = GOOD_FACTS.model_copy(update={"modules": {"nf_conntrack": "no such device", "nf_nat": ""}})
    assert what(unloaded) == (State.NO_ANSWER, "module nf_conntrack did not load: no such device")
    assert what(Facts(btf=GOOD_FACTS.btf)) == (State.NO_ANSWER, "module nf_conntrack was not loaded")


def with_observation(observation: Observation, facts: Facts = GOOD_FACTS, **more: object) -> CellResult:
    base = CellResult(cell=cell("6.12.117"), outcome=Outcome.RAN, facts=facts, answers=answers_of((observation,)))
    return base.model_copy(update=more)


def verdict_of(seen: CellResult, probe: str) -> tuple[Verdict, str]:
    row = verdicts(seen)[probe]
    assert row.verdict
    return row.verdict, row.cause


NOT_GPL = "cannot call kernel function from non-GPL compatible program\nprocessed 0 insns"
NOT_ALLOWED = "calling kernel function bpf_skb_ct_alloc is not allowed\nprocessed 9 insns"
NO_JIT = "JIT is required for calling kernel function\nprocessed 0 insns"
POISONED = "12: (85) call unknown#2002000004\ninvalid func unknown#2002000004\nprocessed 9 insns"


@pytest.mark.parametrize(
    ("observation", "verdict", "cause"),
    [
        (Observation(probe="nat-source:tc", failed="BtfError: no"), Verdict.NO_ANSWER, "BtfError: no"),
        (Observation(probe="nat-source:tc"), Verdict.NO_ANSWER, "not given to the kernel"),
        (Observation(probe="nat-source:tc", load_errno=12, log=""), Verdict.NO_ANSWER, "loading failed: -ENOMEM"),
        (Observation(probe="nat-source:tc", load_errno=1, log=""), Verdict.NO_ANSWER, "loading failed: -EPERM"),
        (Observation(probe="nat-source:tc", load_errno=0), Verdict.NO_ANSWER, "loaded and not run"),
        (Observation(probe="nat-source:tc", load_errno=0, run_errno=524), Verdict.NO_ANSWER, "TEST_RUN: -ENOTSUPP"),
        (Observation(probe="nat-source:tc", load_errno=22, log=POISONED), Verdict.BROKEN, "does not have"),
        (Observation(probe="set-nat-info-found:tc", load_errno=22, log=POISONED), Verdict.BROKEN, "does not have"),
        (Observation(probe="nat-source:tc", load_errno=0, run_errno=0, fields={"set_ret": 0}), Verdict.BROKEN, ""),
        (Observation(probe="alloc-not-gpl:tc", load_errno=22, log=NOT_GPL), Verdict.HOLDS, ""),
        (Observation(probe="alloc-not-in-kprobe:tc", load_errno=22, log=NOT_GPL), Verdict.NO_ANSWER, "not GPL"),
        (Observation(probe="alloc-not-in-kprobe:tc", load_errno=13, log=NOT_ALLOWED), Verdict.HOLDS, ""),
        (Observation(probe="alloc-not-in-kprobe:tc", load_errno=0), Verdict.BROKEN, ""),
        (Observation(probe="alloc-not-in-kprobe:tc", load_errno=524, log=NO_JIT), Verdict.NO_ANSWER, "JIT is off"),
    ],
)
def test_what_counts_as_an_answer(observation: Observation, verdict: Verdict, cause: str) -> None:
    seen, why = verdict_of(with_observation(observation), observation.probe)
    assert seen is verdict
    assert cause in why


def test_a_kernel_that_cannot_call_kfuncs_does_not_lack_one() -> None:
    seen = with_observation(Observation(probe="nat-source:tc", load_errno=22, log=POISONED), config={"BPF_JIT": "n"})
    assert verdict_of(seen, "nat-source:tc") == (Verdict.NO_ANSWER, "the kernel is built without a BPF JIT")


def test_a_crash_is_the_kernels_fault() -> None:
    crashes = (Crash(probe="nat-source:tc", oops="BUG: unable to handle"), Crash(probe="census:tc"))
    seen = with_observation(Observation(probe="x"), crashes=crashes, cause="Oops")
    verdict = verdicts(seen)["nat-source:tc"]
    assert (verdict.verdict, verdict.crashed, verdict.observed) == (Verdict.BROKEN, True, "crashed the kernel")
    assert state(seen, "bpf_ct_release", ProgType.TC) == (State.NO_ANSWER, "the census crashed the kernel")


def test_claims_about_other_kernels_do_not_apply() -> None:
    seen = verdicts(result("6.18.15", "arm64")).values()
    away = {claim_of(row): row.cause for row in seen if row.verdict is Verdict.NOT_APPLICABLE}
    old_tags = {"keep-in-map-old-tag", "note-in-map-old-tag"}
    assert away.keys() == {"nat-manip-2", "nat-manip-3"} | old_tags
    assert away["nat-manip-2"].startswith("says nothing about 6.18.15: since 6.1.191")


def test_usable_is_never_lost_to_a_failed_census() -> None:
    full = result("6.12.117")
    seen = with_answers(full, census=(), ended={})
    assert state(seen, "bpf_skb_ct_alloc", ProgType.TC) == (State.USABLE, "")
    assert state(seen, "bpf_skb_ct_alloc", ProgType.XDP)[0] is State.NO_ANSWER


def test_a_kernel_that_has_it_built_in_has_one_cause_for_what_its_config_leaves_out() -> None:
    """NF_CONNTRACK=y and NF_NAT=n: there are no modules, and BTF of vmlinux alone."""
    seen = result("7.3.4", "x86_64-without-nf_nat")
    facts = seen.facts.model_copy(update={"btf": ("vmlinux",), "modules": {"nf_conntrack": "", "nf_nat": "not found"}})
    config = {"NF_CONNTRACK": "y", "NF_NAT": "n", "DEBUG_INFO_BTF": "y"}
    built_in = seen.model_copy(update={"facts": facts, "config": config})
    judged = [row for row in verdicts(built_in).values() if row.verdict is Verdict.NO_ANSWER]
    assert judged
    assert {row.cause for row in judged} == {"CONFIG_NF_NAT is not set"}
