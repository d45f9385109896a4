"""A call that libbpf could not resolve: why, from what real guests answered (and never "absent" without evidence)."""

from __future__ import annotations

import pytest

from runner.model import CellResult, ProgType, State, Verdict
from runner.probes.census.answers import taken
from runner.probes.claims.judge import Evidence, missing_words, other_prototype
from tests.answers import seen_of, with_answers
from tests.unit.agent_samples import claims, result, states, verdicts

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


def without(seen: CellResult, kfunc: str) -> CellResult:
    census = tuple(one for one in taken(seen).answers if one.kfunc != kfunc)
    return with_answers(seen, census=census, missing=(*taken(seen).missing, kfunc))


def test_what_the_kernel_really_lacks_is_named() -> None:
    file = claims()[0]
    seen = without(result("6.12.117"), "bpf_ct_set_nat_info")
    assert other_prototype(Evidence.of(seen), file, POISONED) == ""
    assert missing_words(Evidence.of(seen), file, POISONED).endswith("does not have: bpf_ct_set_nat_info")
    assert (
        missing_words(Evidence.of(seen), file, NO_FIELD) == "the program reads a field that this kernel does not have"
    )


@pytest.mark.parametrize("log", ["", "R1 bad", NO_FIELD])
def test_other_refusals_say_nothing_about_prototypes(log: str) -> None:
    assert other_prototype(Evidence.of(result("6.12.117")), claims()[0], log) == ""


def test_without_a_census_nothing_is_known_about_prototypes() -> None:
    seen = result("6.12.117")
    assert other_prototype(Evidence.of(seen), claims()[0], POISONED) != ""
    assert other_prototype(Evidence.of(with_answers(seen, census=())), claims()[0], POISONED) == ""
    half = tuple(one for one in taken(seen).answers if one.kfunc != "bpf_ct_release")
    assert other_prototype(Evidence.of(with_answers(seen, census=half)), claims()[0], POISONED) == ""
    failed = tuple(one.model_copy(update={"object": "", "failed": "bug"}) for one in taken(seen).answers)
    assert other_prototype(Evidence.of(with_answers(seen, census=failed)), claims()[0], POISONED) == ""
