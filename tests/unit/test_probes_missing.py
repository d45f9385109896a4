# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A call that libbpf could not resolve: why, from what real guests answered (and never "absent" without evidence)."""

from __future__ import annotations

from runner.model import Build, CellResult, ProgType, State, Verdict
from runner.probes.census.answers import taken
from runner.probes.claims.answers import Observation
from runner.probes.claims.judge import missing_words
from tests.answers import seen_of, with_answers
from tests.unit.agent_samples import result, states, verdicts

POISONED = "12: (85) call unknown#2002000004\ninvalid func unknown#2002000004\nprocessed 9 insns"
NO_FIELD = "3: (85) call unknown#195896080\ninvalid func unknown#195896080\n"


def answered(seen: CellResult) -> dict[str, tuple[Verdict | None, str]]:
    asked = {one.probe for one in seen_of(seen)}
    rows = verdicts(seen)
    return {probe: (rows[probe].verdict, rows[probe].cause) for probe in asked}


def test_a_kfunc_with_another_prototype_is_neither_absent_nor_broken() -> None:
    """The program's bpf_ct_set_timeout took a pointer where the kernel's takes a number."""
    seen = result("6.12.117", "x86_64-with-other-prototype")
    rows = answered(seen)
    for probe in ("set-timeout:tc", "set-timeout-found:tc", "change-timeout:xdp"):
        verdict, cause = rows[probe]
        assert verdict is Verdict.NO_ANSWER
        assert cause.startswith("signature differs: ")
    assert rows["alloc-tcp:tc"] == (Verdict.HOLDS, "")
    assert rows["nat-source:tc"] == (Verdict.HOLDS, "")
    found = {(one.subject, one.type): one for one in states(seen)}
    state = found["bpf_ct_set_timeout", ProgType.TC]
    assert state.state is State.REGISTERED
    assert state.cause.startswith("signature differs: ")


def test_a_module_without_btf_is_the_cause_wherever_its_kfuncs_are_called() -> None:
    """.BTF was removed from nf_conntrack.ko; nf_nat has its own."""
    seen = result("6.12.117", "x86_64-without-btf-of-nf_conntrack")
    cause = "module nf_conntrack has no BTF in this kernel"
    assert set(answered(seen).values()) == {(Verdict.NO_ANSWER, cause)}
    found = states(seen)
    assert State.ABSENT not in {one.state for one in found}
    assert {one.cause for one in found} == {cause}
    nat = next(one for one in found if one.subject == "bpf_ct_set_nat_info")
    assert (nat.state, nat.details["object"]) == (State.REGISTERED, "nf_nat")


def test_a_kernel_from_before_kfuncs_has_none_though_its_btf_has_functions_of_such_names() -> None:
    """Linux 5.10 has crash_kexec, and its verifier does not know what a call of it is."""
    log = "4: (85) call unknown#20432\nBPF_CALL uses reserved fields\n"
    seen = result("6.12.117")
    census = [one.model_copy(update={"load_errno": 22, "log": log}) for one in taken(seen).answers]
    ran = [one.model_copy(update={"load_errno": 22, "run_errno": None, "log": POISONED}) for one in seen_of(seen)]
    old = with_answers(seen, claims=ran, census=census, missing=("bpf_new_one",))
    why = "the kernel has no kfuncs: upstream's verifier accepts calls of them since 5.13"
    assert {(one.state, one.cause) for one in states(old)} == {(State.ABSENT, why)}
    assert set(answered(old).values()) == {(Verdict.NO_ANSWER, why)}


def test_a_kernel_that_was_not_asked_because_of_its_options_says_which() -> None:
    why = "the kernel is without CONFIG_DEBUG_INFO_BTF (kfuncs are found by the kernel's BTF)"
    seen = result("6.12.117")
    failed = [Observation(probe=one.probe, failed=why) for one in seen_of(seen)]
    facts = seen.facts.model_copy(update={"btf": ()})
    plain = seen.model_copy(update={"build": Build(lacks=("EXT4_FS", "DEBUG_INFO_BTF")), "facts": facts})
    old = with_answers(plain, claims=failed, census=(), ended={ProgType.TC: why, ProgType.XDP: why}, missing=())
    assert set(answered(old).values()) == {(Verdict.NO_ANSWER, why)}
    assert {(one.state, one.cause) for one in states(old)} == {(State.NO_ANSWER, why)}


def unresolved(kfunc: str, *, log: str = POISONED) -> Observation:
    return Observation(probe="set-timeout:tc", load_errno=22, log=log, unresolved=kfunc)


def judged(of: CellResult, kfunc: str) -> tuple[Verdict | None, str]:
    """Of set-timeout, when that kfunc of its program was not resolved."""
    row = verdicts(with_answers(of, claims=(unresolved(kfunc),)))["set-timeout:tc"]
    return row.verdict, row.cause


def test_what_the_kernel_really_lacks_is_named() -> None:
    seen = result("6.12.117")
    lacks = "the program needs a kfunc that this kernel does not have: bpf_of_tomorrow"
    assert judged(seen, "bpf_of_tomorrow") == (Verdict.BROKEN, lacks)
    assert missing_words(unresolved("", log=NO_FIELD)) == "the program reads a field that this kernel does not have"


def test_a_missing_module_does_not_hide_another_prototype() -> None:
    """Only what that module would have is explained by it."""
    reason = "modprobe: FATAL: Module nf_nat not found"
    full = result("6.12.117")
    seen = full.model_copy(
        update={"facts": full.facts.model_copy(update={"modules": {"nf_conntrack": "", "nf_nat": reason}})}
    )
    census = tuple(one for one in taken(seen).answers if one.kfunc != "bpf_ct_set_nat_info")
    seen = with_answers(seen, census=census, missing=("bpf_ct_set_nat_info",))
    assert judged(seen, "bpf_ct_set_nat_info") == (Verdict.NO_ANSWER, f"module nf_nat did not load: {reason}")
    verdict, cause = judged(seen, "bpf_ct_set_timeout")
    assert verdict is Verdict.NO_ANSWER
    assert cause == "signature differs: the kernel's bpf_ct_set_timeout has another prototype than the program's"


def test_without_a_census_nothing_is_known_about_prototypes() -> None:
    """Of a kfunc in no BTF, as far as is known, the kernel's word counts."""
    failed = tuple(one.model_copy(update={"object": "", "failed": "bug"}) for one in taken(result("6.12.117")).answers)
    for census in ((), failed):
        verdict, cause = judged(with_answers(result("6.12.117"), census=census), "bpf_ct_release")
        assert (verdict, cause.partition(":")[0]) == (
            Verdict.BROKEN,
            "the program needs a kfunc that this kernel does not have",
        )
